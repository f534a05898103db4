//! `clusvcadm`: see `ricci::cli::clusvcadm`.

fn main() -> std::process::ExitCode {
    ricci::cli::clusvcadm::main()
}

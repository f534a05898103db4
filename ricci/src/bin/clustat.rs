//! `clustat`: see `ricci::cli::clustat`.

fn main() -> std::process::ExitCode {
    ricci::cli::clustat::main()
}

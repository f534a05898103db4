//! `ccs`: see `ricci::cli::ccs`.

fn main() -> std::process::ExitCode {
    ricci::cli::ccs::main()
}

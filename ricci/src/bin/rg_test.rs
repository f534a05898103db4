//! `rg_test`: see `ricci::cli::rg_test`.

fn main() -> std::process::ExitCode {
    ricci::cli::rg_test::main()
}

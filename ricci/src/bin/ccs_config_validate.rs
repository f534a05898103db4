//! `ccs_config_validate`: see `ricci::cli::validate`.

fn main() -> std::process::ExitCode {
    ricci::cli::validate::main()
}

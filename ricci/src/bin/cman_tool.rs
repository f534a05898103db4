//! `cman_tool`: see `ricci::cli::cman_tool`.

fn main() -> std::process::ExitCode {
    ricci::cli::cman_tool::main()
}

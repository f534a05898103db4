//! `fence_tool`: see `ricci::cli::fence_tool`.

fn main() -> std::process::ExitCode {
    ricci::cli::fence_tool::main()
}

//! `fence_check`: see `ricci::cli::fence_check`.

fn main() -> std::process::ExitCode {
    ricci::cli::fence_check::main()
}

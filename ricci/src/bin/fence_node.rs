//! `fence_node`: see `ricci::cli::fence_node`.

fn main() -> std::process::ExitCode {
    ricci::cli::fence_node::main()
}

//! `fence_ack_manual`: see `ricci::cli::fence_ack`.

fn main() -> std::process::ExitCode {
    ricci::cli::fence_ack::main()
}

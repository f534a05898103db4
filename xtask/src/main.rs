//! Every chore of the project behind one command: `cargo xtask <chore>`.
fn main() {}

//! Makes cargo rebuild luci when a migration is added; `sqlx::migrate!` alone does not.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}

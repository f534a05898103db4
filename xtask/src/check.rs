//! What needs no root and no network: format, lints, documentation, house rules.

use anyhow::Result;

use crate::{packages, run, tidy};

pub(crate) fn everything() -> Result<()> {
    packages::install(packages::BUILD)?;
    for (name, step) in steps() {
        println!("== {name}");
        step()?;
    }
    Ok(())
}

type Step = (&'static str, fn() -> Result<()>);

/// The steps by name, so that `test` can count them.
pub(crate) fn steps() -> [Step; 4] {
    [
        ("format", || run::cargo(&["fmt", "--all", "--check"])),
        ("house rules", tidy::everything),
        ("lints", || run::cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])),
        ("documentation", || run::cargo(&["doc", "--workspace", "--no-deps", "--locked"])),
    ]
}

//! axe-core, which the test of the pages judges them with. It is under the Mozilla Public License, so it is fetched by npm
//! when it is needed and never part of this tree.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{packages, run};

const PACKAGE: &str = "axe-core@4.14.1";
const ARCHIVE: &str = "axe-core-4.14.1.tgz";
const SHA256: &str = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745";

/// Fetches it into `target/axe-core`, unless it is there.
pub(crate) fn fetch() -> Result<()> {
    let folder = run::root().join("target/axe-core");
    if folder.join("package/axe.min.js").exists() {
        return Ok(());
    }
    // npm need not come from Debian.
    if Command::new("npm").arg("--version").output().is_err() {
        packages::install(packages::NPM)?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let place = folder.to_string_lossy().into_owned();
    run::program("npm", &["pack", "--silent", "--pack-destination", &place, PACKAGE])?;
    let archive = folder.join(ARCHIVE);
    let sum = Command::new("sha256sum").arg(&archive).output().context("sha256sum could not be started")?;
    if !String::from_utf8_lossy(&sum.stdout).starts_with(SHA256) {
        fs::remove_file(&archive)?;
        bail!("{PACKAGE} is not what it was when its sum was written down; nothing of it is used");
    }
    run::program("tar", &["-xzf", &archive.to_string_lossy(), "-C", &place, "package/axe.min.js"])
}

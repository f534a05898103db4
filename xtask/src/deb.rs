//! Debian packages of what goes on a node (`ricci`) and of the console (`luci`), by cargo-deb; what goes into them stands in the
//! Cargo.toml of each.

use anyhow::Result;

use crate::{packages, run};

/// Version of cargo-deb that is installed when there is none.
const CARGO_DEB: &str = "3.8.0";

pub(crate) fn everything() -> Result<()> {
    packages::install(packages::BUILD)?;
    if run::output("cargo", &["deb", "--version"]).is_err() {
        run::cargo(&["install", "cargo-deb", "--version", CARGO_DEB, "--locked"])?;
    }
    for package in ["ricci", "luci"] {
        run::cargo(&["deb", "--package", package, "--profile", "dist", "--locked"])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use crate::run::root;

    /// Names of the files in a folder, with `cut` taken off both ends.
    fn names(folder: &Path, cut: (&str, &str)) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
        let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
        entries.map(name).filter_map(|name| Some(name.strip_prefix(cut.0)?.strip_suffix(cut.1)?.to_owned())).collect()
    }

    #[test]
    fn every_program_manual_and_completion_is_in_a_package() {
        let root = root();
        let read = |package: &str| fs::read_to_string(root.join(package).join("Cargo.toml")).expect("a manifest");
        let (node, console) = (read("ricci"), read("luci"));
        let mut programs = names(&root.join("ricci/src/bin"), ("", ".rs"));
        // Records what corosync does, for tests.
        assert!(programs.remove("cpg_trace"));
        assert!(programs.contains("clustat") && !programs.contains("luci"), "{programs:?}");
        for program in &programs {
            assert!(node.contains(&format!("\"target/release/{program}\"")), "{program} is in no package");
        }
        assert!(console.contains("\"target/release/luci\""));
        let places = [
            ("docs/man", "", ".8"),
            ("packaging/completions/bash", "", ""),
            ("packaging/completions/fish", "", ".fish"),
        ];
        for (folder, before, after) in places.into_iter().chain([("packaging/completions/zsh", "_", "")]) {
            for name in names(&root.join(folder), (before, after)) {
                let manifest = if name == "luci" { &console } else { &node };
                let asset = format!("\"../{folder}/{before}{name}{after}\"");
                assert!(manifest.contains(&asset), "{asset} is in no package");
            }
        }
    }
}

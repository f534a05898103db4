//! House rules that a machine can check. What it refuses is named with the place and the mend.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{run, stories};

/// Crate, the crates of ours it may use, and crates it must never use.
const TABLE: &[(&str, &[&str], &[&str])] = &[
    ("shared", &[], &["tokio", "axum", "sqlx", "reqwest", "rustix", "time", "uuid"]),
    ("engine", &["shared"], &["tokio", "axum", "sqlx", "reqwest", "rustix", "time", "uuid"]),
    ("pam", &[], &["axum", "sqlx", "askama", "reqwest", "rustls"]),
    ("ricci", &["shared", "engine", "pam"], &["sqlx", "askama"]),
    ("luci", &["shared", "engine", "pam"], &["ricci"]),
];

pub(crate) fn everything() -> Result<()> {
    let mut complaints = Vec::new();
    check_dependencies(&mut complaints)?;
    let mut sources = Vec::new();
    for folder in ["shared", "engine", "pam", "ricci", "luci", "tests", "xtask"] {
        collect(Path::new(folder), "rs", &mut sources)?;
    }
    for path in &sources {
        let text = fs::read_to_string(path)?;
        check_module_doc(path, &text, &mut complaints);
        check_leftovers(path, &text, &mut complaints);
        check_purity(path, &text, &mut complaints);
    }
    check_scenarios(&mut complaints)?;
    check_explained_mutants(&mut complaints)?;
    println!("{}", stories::check(&mut complaints)?);
    list_large(&sources)?;
    if complaints.is_empty() {
        return Ok(());
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    bail!("{} house rules are broken", complaints.len())
}

fn check_dependencies(complaints: &mut Vec<String>) -> Result<()> {
    let output = Command::new(run::cargo_path())
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .context("cargo metadata could not be started")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata said nothing readable")?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let ours: Vec<String> = packages.iter().filter_map(|p| p["name"].as_str().map(str::to_owned)).collect();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, may, never)) = TABLE.iter().find(|(crate_name, _, _)| *crate_name == name) else { continue };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            // A test may use what it likes.
            if dependency["kind"].as_str() == Some("dev") {
                continue;
            }
            let foreign_room = ours.iter().any(|own| own == other) && !may.contains(&other);
            if foreign_room || never.contains(&other) {
                complaints.push(format!("{name} must not depend on {other} (docs/architecture.md, table of rooms)"));
            }
        }
    }
    Ok(())
}

pub(crate) fn collect(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target" && name != "fixtures") {
                collect(&path, ending, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

fn check_module_doc(path: &Path, text: &str, complaints: &mut Vec<String>) {
    let documented = text.lines().take(8).any(|line| line.starts_with("//!"));
    if !documented {
        complaints.push(format!("{}: a module begins with //! and says what it is for", path.display()));
    }
}

fn check_leftovers(path: &Path, text: &str, complaints: &mut Vec<String>) {
    // Written apart, so that this file does not complain about itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("#[ign", "ore")];
    for (number, line) in text.lines().enumerate() {
        if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
            complaints.push(format!("{}:{}: {mark} is left over", path.display(), number + 1));
        }
    }
}

/// The pure rooms: no clock, no file, no socket, no thread, no chance, no hash order.
fn check_purity(path: &Path, text: &str, complaints: &mut Vec<String>) {
    let pure = path.starts_with("engine/src") || path.starts_with("shared/src");
    if !pure {
        return;
    }
    let banned = [
        "Instant::now",
        "SystemTime",
        "std::fs",
        "TcpStream",
        "UdpSocket",
        "UnixStream",
        "std::thread",
        "HashMap",
        "HashSet",
        "std::process",
    ];
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
        if let Some(word) = banned.iter().find(|word| line.contains(**word)) {
            complaints.push(format!("{}:{}: {word} has no place in a pure room", path.display(), number + 1));
        }
    }
}

fn check_scenarios(complaints: &mut Vec<String>) -> Result<()> {
    let mut scenarios = Vec::new();
    collect(Path::new("tests/scenarios"), "txt", &mut scenarios)?;
    for path in scenarios {
        let text = fs::read_to_string(&path)?;
        if !text.starts_with("# ") {
            complaints.push(format!("{}: a scenario begins with its story in one sentence", path.display()));
        }
    }
    Ok(())
}

/// An explanation of a line that is gone explains nothing.
fn check_explained_mutants(complaints: &mut Vec<String>) -> Result<()> {
    const LIST: &str = "docs/mutants.md";
    let text = fs::read_to_string(LIST)?;
    for (number, row) in text.lines().enumerate().filter(|(_, row)| row.starts_with("| `engine/")) {
        // The bar within a cell is written with a backslash.
        let cells: Vec<String> =
            row.split(" | ").map(|cell| cell.trim_matches(['|', '`', ' ']).replace("\\|", "|")).collect();
        let [file, _, line, ..] = &cells[..] else {
            complaints.push(format!("{LIST}:{}: file, change, line and why are separated by bars", number + 1));
            continue;
        };
        if !fs::read_to_string(file).is_ok_and(|source| source.contains(line.as_str())) {
            complaints.push(format!("{LIST}:{}: {file} has no line {line}", number + 1));
        }
    }
    Ok(())
}

/// Places to look at; nothing fails.
fn list_large(sources: &[PathBuf]) -> Result<()> {
    for path in sources {
        let lines = fs::read_to_string(path)?.lines().count();
        if lines > 800 {
            println!("a place to look: {} has {lines} lines", path.display());
        }
    }
    Ok(())
}

//! Starting other programs. Output goes straight to the terminal unless it has to be counted.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs a program and fails with its command line if it fails.
pub(crate) fn program(name: &str, words: &[&str]) -> Result<()> {
    let status = Command::new(name).args(words).status().with_context(|| format!("{name} could not be started"))?;
    if !status.success() {
        bail!("{name} {} ended with {status}", words.join(" "));
    }
    Ok(())
}

/// Runs the cargo that runs this.
pub(crate) fn cargo(words: &[&str]) -> Result<()> {
    program(&cargo_path(), words)
}

pub(crate) fn cargo_path() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Goes on as a program of ours from the debug build, so that signals reach it; returns only if that fails.
pub(crate) fn become_built(name: &str, words: &[&str]) -> Result<()> {
    let error = Command::new(target().join("debug").join(name)).args(words).exec();
    Err(error).with_context(|| format!("{name} could not be started"))
}

/// Runs a program of ours from the release build.
pub(crate) fn released(name: &str, words: &[&str]) -> Result<()> {
    program(&target().join("release").join(name).to_string_lossy(), words)
}

/// What a program prints to standard output; its complaints go to the terminal.
pub(crate) fn output(name: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(name)
        .args(words)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{name} could not be started"))?;
    if !output.status.success() {
        bail!("{name} {} ended with {}", words.join(" "), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program, shows every line of its standard output, and hands it on. Returns whether it succeeded.
pub(crate) fn watched(program: &mut Command, mut line: impl FnMut(&str)) -> Result<bool> {
    let complaint = format!("{} could not be started", program.get_program().to_string_lossy());
    let mut child = program.stdout(Stdio::piped()).spawn().context(complaint)?;
    let output = child.stdout.take().context("standard output is piped")?;
    for text in BufReader::new(output).lines() {
        let text = text.unwrap_or_else(|error| format!("(a line that is not UTF-8: {error})"));
        println!("{text}");
        line(&text);
    }
    Ok(child.wait()?.success())
}

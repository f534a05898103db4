//! Network namespaces without names: made, held as files, entered by threads.
//!
//! A namespace lives as long as a process or an open file holds it; nothing is mounted in /run/netns, so nothing stays
//! behind when the holders die. Tools (`ip`, `nft`) are run from a thread that entered the namespace.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Leaves namespaces of the calling thread for new ones.
#[expect(
    deprecated,
    reason = "the successor is unsafe only for the shared file table, which is never among the flags here"
)]
pub(crate) fn unshare(flags: UnshareFlags) -> Result<()> {
    assert!(!flags.contains(UnshareFlags::FILES), "the file table stays shared");
    rustix::thread::unshare(flags).with_context(|| format!("cannot make namespaces {flags:?}"))
}

/// Makes a network namespace with its loopback up.
pub(crate) fn create() -> Result<File> {
    let file = std::thread::spawn(|| -> Result<File> {
        unshare(UnshareFlags::NEWNET)?;
        File::open("/proc/thread-self/ns/net").context("cannot open the new network namespace")
    })
    .join()
    .map_err(|_| anyhow!("the thread that makes a network namespace panicked"))??;
    ip(&file, &["link set lo up".into()])?;
    Ok(file)
}

/// Puts the calling thread into a network namespace for good.
pub(crate) fn enter(namespace: impl AsFd) -> Result<()> {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .context("cannot enter a network namespace")
}

/// Runs `work` on a thread inside a network namespace.
pub(crate) fn inside<R: Send>(namespace: &File, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                enter(namespace)?;
                work()
            })
            .join()
            .map_err(|_| anyhow!("a thread inside a network namespace panicked"))?
    })
}

/// Runs lines of ip(8) inside a namespace, in one process.
pub(crate) fn ip(namespace: &File, lines: &[String]) -> Result<()> {
    inside(namespace, || ip_here(lines))
}

/// Runs lines of ip(8) where the calling thread is.
pub(crate) fn ip_here(lines: &[String]) -> Result<()> {
    feed("ip", &["-batch", "-"], &(lines.join("\n") + "\n"))
}

/// Runs lines of ip(8) inside a namespace, those that it refuses without effect.
pub(crate) fn ip_as_far_as_possible(namespace: &File, lines: &[String]) {
    let _ = inside(namespace, || feed("ip", &["-force", "-batch", "-"], &(lines.join("\n") + "\n")));
}

/// Loads a ruleset inside a namespace; it takes effect as a whole.
pub(crate) fn nft(namespace: &File, ruleset: &str) -> Result<()> {
    inside(namespace, || feed("nft", &["-f", "-"], ruleset))
}

fn feed(program: &str, args: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(args)
        .env("PATH", crate::run::SYSTEM_PATH)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let mut stdin = child.stdin.take().context("the child has no input")?;
    // A program that refuses the first line closes its input; its own words below say more than a broken pipe.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{program} refused:\n{input}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

//! What runs in the processes of the `lab` binary: the keeper, the makers and the pid 1 of hosts, the way into a host.
//!
//! `main` hands every first argument that begins with two underscores to [`dispatch`]; nobody types these by hand.
//! Each is a new process of the same binary, since namespaces are best entered by a process with a single thread.

mod bmc;
mod enter;
mod init;
mod keeper;
mod power;
mod stage;
mod switch;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::protocol::{Reply, Request, ask};

pub(crate) use enter::TIMED_OUT;
pub(crate) use init::{BOOT_ID, KEPT};

/// This very binary, also when the file was replaced by a newer build meanwhile.
pub(crate) const SELF: &str = "/proc/self/exe";

/// Runs a hidden subcommand; gives the exit code, or `None` if `words` is not one.
pub fn dispatch(words: &[String]) -> Option<i32> {
    let (verb, rest) = words.split_first()?;
    let done = match (verb.as_str(), rest) {
        ("__keeper", [folder, kind]) => keeper::main(Path::new(folder), kind == "owned"),
        ("__host", [folder, host]) => number(host).and_then(|host| stage::main(Path::new(folder), host)),
        ("__init", [folder, host]) => number(host).and_then(|host| init::main(Path::new(folder), host)),
        ("__enter", rest) => enter::main(rest),
        ("__run", rest) => enter::run(rest),
        ("__bmc", [folder, host]) => number(host).and_then(|host| bmc::exec(Path::new(folder), host)),
        ("__chassis", [folder, host, words @ ..]) => {
            number(host).and_then(|host| chassis(Path::new(folder), host, words))
        }
        _ if verb.starts_with("__") => Err(anyhow::anyhow!("unknown inner command {words:?}")),
        _ => return None,
    };
    Some(done.unwrap_or_else(|e| {
        note(&format!("lab {verb}: {e:#}"));
        enter::CANNOT_RUN
    }))
}

fn number(text: &str) -> Result<usize> {
    text.parse().with_context(|| format!("not a host number: {text}"))
}

/// What a BMC's emulator calls: `get power`, `set power "0"`, …; prints the answer it expects.
fn chassis(folder: &Path, host: usize, words: &[String]) -> Result<i32> {
    match ask(folder, &Request::Chassis { host, words: words.to_vec() })? {
        Reply::Text(text) => {
            std::io::stdout().write_all(text.as_bytes())?;
            Ok(0)
        }
        other => bail!("unexpected reply {other:?}"),
    }
}

/// A line in the log of the process, which is its standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

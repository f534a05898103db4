//! Runs a program to its end with a deadline: no shell, a clean environment, a process group of its own that is killed
//! as a whole when time is up or nobody waits any more. Output is bounded. Waits for the exit and not for the end of
//! the output: agents leave children behind that keep it open.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::pipe::drain;

/// What is kept of each output; the longest metadata of Debian's agents has 60 KiB.
const OUTPUT_MAX: usize = 512 * 1024;
const CHUNK: usize = 16 * 1024;

/// What to run.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [&'a str],
    pub(super) environment: &'a [(&'a str, OsString)],
    pub(super) stdin: &'a [u8],
    pub(super) wait: Duration,
}

/// A program that came to its end.
#[derive(Debug)]
pub(super) struct Ended {
    /// `None`: killed by a signal.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) duration: Duration,
}

/// Why there is no end to tell of.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProcessError {
    #[error("cannot start {program}", program = program.display())]
    Start {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot wait for {program}", program = program.display())]
    Wait {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{program} did not end within {seconds} seconds and was killed", program = program.display())]
    TooSlow { program: PathBuf, seconds: u64 },
}

impl Run<'_> {
    /// Runs it.
    pub(super) async fn end(self) -> Result<Ended, ProcessError> {
        let begun = Instant::now();
        let program = || self.program.to_owned();
        let mut child = self.start().map_err(|source| ProcessError::Start { program: program(), source })?;
        let group = Group::of(&child);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let outcome = timeout(self.wait, talk(&mut child, self.stdin, &mut stdout, &mut stderr)).await;
        let status = match outcome {
            Ok(Ok(status)) => status,
            Ok(Err(source)) => return Err(ProcessError::Wait { program: program(), source }),
            Err(_) => return Err(ProcessError::TooSlow { program: program(), seconds: self.wait.as_secs() }),
        };
        group.keep();
        Ok(Ended {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            duration: begun.elapsed(),
        })
    }

    fn start(&self) -> io::Result<Child> {
        Command::new(self.program)
            .args(self.arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Feeds and reads the child until it exits. A child left behind may hold the output open then; what came so far counts.
async fn talk(child: &mut Child, input: &[u8], stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) -> io::Result<ExitStatus> {
    let (stdin, mut out, mut err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input is judged by its exit, not by this.
            let _ = stdin.write_all(input).await;
        }
    };
    let status = {
        let read = async { tokio::join!(feed, keep_first(&mut out, stdout), keep_first(&mut err, stderr)) };
        tokio::pin!(read);
        let mut wait = Box::pin(child.wait());
        tokio::select! {
            status = &mut wait => status,
            _ = &mut read => wait.await,
        }
    }?;
    let mut chunk = vec![0; CHUNK];
    if let Some(out) = &out {
        drain(out, &mut chunk, |bytes| keep(bytes, stdout));
    }
    if let Some(err) = &err {
        drain(err, &mut chunk, |bytes| keep(bytes, stderr));
    }
    Ok(status)
}

/// Reads to the end, keeps the first bytes.
async fn keep_first(reader: &mut Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(reader) = reader else { return };
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = reader.read(&mut chunk).await {
        keep(&chunk[..length], kept);
    }
}

fn keep(bytes: &[u8], kept: &mut Vec<u8>) {
    let free = OUTPUT_MAX.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(free)]);
}

/// Kills the process group when dropped, that is also when the one who waits goes away.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// It ended by itself.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It may have ended in this moment; its id is not free before the child is reaped.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell<'a>(arguments: &'a [&'a str], wait: Duration) -> Run<'a> {
        Run { program: Path::new("/bin/sh"), arguments, environment: &[], stdin: b"hello", wait }
    }

    #[tokio::test]
    async fn input_output_and_code_come_through() {
        let ended = shell(&["-c", "cat; echo oops >&2; exit 3"], Duration::from_secs(10)).end().await.unwrap();
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(3), "hello", "oops\n"));
    }

    #[tokio::test]
    async fn a_child_left_behind_does_not_delay_the_answer() {
        let begun = Instant::now();
        let ended = shell(&["-c", "sleep 5 & echo done"], Duration::from_secs(4)).end().await.unwrap();
        assert_eq!(ended.stdout, "done\n");
        assert!(begun.elapsed() < Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
        let error = shell(&["-c", &script], Duration::from_millis(500)).end().await.unwrap_err();
        assert!(matches!(error, ProcessError::TooSlow { .. }));
        let child = std::fs::read_to_string(&pid_file).unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        // Gone, or a zombie that its new parent has not reaped yet; the kernel may need a moment for it.
        let begun = Instant::now();
        while !stat().is_empty() && !stat().contains(") Z ") {
            assert!(begun.elapsed() < Duration::from_secs(10), "{}", stat());
            tokio::task::yield_now().await;
        }
    }
}

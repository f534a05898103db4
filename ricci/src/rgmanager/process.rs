//! Runs one foreign program to its end: own process group, deadline on the whole group, bounded output, no zombie.
//!
//! Used by `agents` and `fence`, which know what to run and what an exit code means; this knows neither. It waits
//! for the exit of the program, never for the end of its output, because agents leave processes behind that still
//! hold it.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use super::output::Collector;

/// Between SIGTERM and SIGKILL. Long enough for an agent's trap to remove its lock file, short enough not to count
/// beside any declared timeout.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// How often it is looked whether a process that was sent SIGTERM has ended. Only on the way of a timeout.
const TERM_POLL: Duration = Duration::from_millis(10);

/// How long the exit of a killed process is waited for. One that hangs in the kernel (a dead NFS server, a lost
/// disk) takes longer; the run then ends without it, and the runtime reaps it when it goes.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// Between two attempts to run a program that is being replaced, and their number.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
const BUSY_TRIES: u32 = 20;

/// What to run.
#[derive(Debug)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
    /// All of the environment; nothing is inherited.
    pub environment: Vec<(String, String)>,
    /// Written to standard input, which is `/dev/null` otherwise.
    pub stdin: Option<Vec<u8>>,
    /// `None`: it may take as long as it likes.
    pub timeout: Option<Duration>,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub how: How,
    /// The end of standard output and standard error, as they came.
    pub output: String,
    pub duration: Duration,
}

#[derive(Debug)]
pub enum How {
    Exited(i32),
    /// Somebody else killed it.
    Signalled(i32),
    /// Killed because its time was over.
    TimedOut,
    /// Killed because the caller wanted it.
    Aborted,
    NotStarted(std::io::Error),
}

/// Runs it to its end. Cancelling `abort` kills the whole process group.
pub async fn run(program: Program, abort: CancellationToken) -> Ended {
    let begun = Instant::now();
    let (mut child, collector) = match spawn_soon(&program).await {
        Ok(started) => started,
        Err(error) => {
            return Ended { how: How::NotStarted(error), output: String::new(), duration: begun.elapsed() };
        }
    };
    if let (Some(stdin), Some(text)) = (child.stdin.take(), program.stdin) {
        tokio::spawn(feed(stdin, text));
    }
    let how = tokio::select! {
        status = child.wait() => exit(status),
        () = deadline(program.timeout) => {
            kill_group(&mut child).await;
            How::TimedOut
        }
        () = abort.cancelled() => {
            kill_group(&mut child).await;
            How::Aborted
        }
    };
    let output = collector.finish().await;
    Ended { how, output, duration: begun.elapsed() }
}

/// A program that somebody has open for writing is being replaced just now, which takes a moment.
async fn spawn_soon(program: &Program) -> std::io::Result<(Child, Collector)> {
    for _ in 0..BUSY_TRIES {
        match spawn(program) {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => tokio::time::sleep(BUSY_PAUSE).await,
            other => return other,
        }
    }
    spawn(program)
}

fn spawn(program: &Program) -> std::io::Result<(Child, Collector)> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .process_group(0)
        .stdin(if program.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let child = command.spawn()?;
    // The command holds our copies of the writing end.
    drop(command);
    Ok((child, Collector::start(reader)?))
}

/// A program that does not read its input is not an error: it answers with its exit code.
async fn feed(mut stdin: ChildStdin, text: Vec<u8>) {
    if let Err(error) = stdin.write_all(&text).await
        && error.kind() != ErrorKind::BrokenPipe
    {
        tracing::debug!("input of a child was not taken: {error}");
    }
}

async fn deadline(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

fn exit(status: std::io::Result<std::process::ExitStatus>) -> How {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => How::Exited(code),
            (None, Some(signal)) => How::Signalled(signal),
            (None, None) => How::NotStarted(std::io::Error::other("ended with neither code nor signal")),
        },
        Err(error) => How::NotStarted(error),
    }
}

/// SIGTERM, a short grace, SIGKILL to the whole group, reap.
async fn kill_group(child: &mut Child) {
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else {
        // Reaped already.
        return;
    };
    signal_group(pid, Signal::TERM);
    let grace_ends = Instant::now() + TERM_GRACE;
    while !has_ended(pid) && Instant::now() < grace_ends {
        tokio::time::sleep(TERM_POLL).await;
    }
    // The leader is still unreaped here, so that its number cannot have gone to another group; whatever of the
    // group survived the leader gets this.
    signal_group(pid, Signal::KILL);
    if tokio::time::timeout(KILL_WAIT, child.wait()).await.is_err() {
        tracing::warn!("process {pid} does not die: it hangs in the kernel; going on without it");
    }
}

fn signal_group(pid: Pid, signal: Signal) {
    if let Err(error) = rustix::process::kill_process_group(pid, signal)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!("cannot signal process group {pid}: {error}");
    }
}

/// Looks without reaping.
fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // An error means that there is no such child any more.
    !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None))
}

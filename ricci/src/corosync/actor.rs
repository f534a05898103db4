//! The one thread that owns the connections to corosync's cpg and quorum services for the daemon's whole life.
//!
//! Commands come in over a bounded queue with a wake-up descriptor, events go out over a bounded channel whose
//! back-pressure stops the reading from corosync (which then keeps our messages). The thread decides nothing: it
//! retries a multicast that corosync is too busy for, in order, and ends when we left or when corosync is gone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::mpsc;

use super::event::{Event, LeftReason, Member};
use super::ffi::{CallError, Cpg, Quorum};

/// Longest payload. Corosync sends up to 1 047 552 bytes as one unit; anything longer it cuts up itself, in a
/// blocking loop of requests that would hold our thread.
pub const MAX_MESSAGE_BYTES: usize = 1_000_000;
/// Messages accepted and not yet handed to corosync. Far above what an engine sends in one step.
const QUEUE_MESSAGES: usize = 1024;
/// Bytes accepted and not yet handed to corosync, so that long messages cannot fill the memory.
const QUEUE_BYTES: usize = 64 << 20;
/// Events told and not yet taken. One more blocks the thread, and corosync then queues for us.
const EVENTS: usize = 1024;
/// `cpg_dispatch` keeps a buffer of 1 MiB on its stack; a thread's default of 2 MiB is too close to it.
const STACK_BYTES: usize = 4 << 20;
/// Pause before asking a busy corosync again. Flow control and ring changes last some milliseconds.
const RETRY: Duration = Duration::from_millis(3);
/// How long joining may be refused as "busy": while a ring is being formed corosync accepts nothing.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);
/// Events taken from one connection before the others get their turn.
const BATCH: usize = 64;

/// Why the group could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Corosync is not there, or refused the group. The caller may try again when corosync runs.
    #[error("cannot join the group {group:?}: is corosync running on this node?")]
    Join {
        group: String,
        #[source]
        source: CallError,
    },
    /// The operating system gave us no thread or descriptor.
    #[error("cannot start the thread for corosync")]
    Thread(#[source] io::Error),
    /// The thread broke while starting.
    #[error("the thread for corosync ended while starting")]
    Ended,
}

/// Why a message was not taken. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MulticastError {
    #[error("the message has {bytes} bytes, {MAX_MESSAGE_BYTES} are the most that can be sent")]
    TooLong { bytes: usize },
    /// Corosync takes messages more slowly than we send; take events, then try again.
    #[error("too many messages are waiting for corosync")]
    QueueFull,
    /// We left, or corosync is gone; the event stream says which.
    #[error("there is no connection to corosync any longer")]
    Gone,
}

/// How the thread ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// We left the group as asked, or nobody holds a handle or reads the events any longer.
    Left,
    /// As the last event said.
    Lost { reason: String },
}

enum Command {
    Multicast(Vec<u8>),
    Leave,
}

/// What the handles and the thread share.
struct Line {
    wake: OwnedFd,
    bytes_waiting: AtomicUsize,
    /// Nobody holds a handle any longer.
    abandoned: AtomicBool,
}

impl Line {
    fn ring(&self) {
        // The counter of an eventfd cannot overflow by ones in our lifetime, so that there is nothing to handle.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// What all clones of a handle hold.
struct Shared {
    commands: SyncSender<Command>,
    line: Arc<Line>,
    thread: Mutex<Option<JoinHandle<Outcome>>>,
    local: Member,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.line.abandoned.store(true, Ordering::Release);
        self.line.ring();
    }
}

/// Our end of the membership in the group. Clones are the same membership; with the last of them the membership
/// ends at once, like that of a process that died.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Ourselves as the other members see us.
    pub fn local(&self) -> Member {
        self.shared.local
    }

    /// Accepts a message for sending, after all accepted before it. Never blocks. It has arrived when it comes
    /// back as [`Event::Delivered`]; if the connection is lost before, nobody can know whether others got it.
    pub fn multicast(&self, payload: Vec<u8>) -> Result<(), MulticastError> {
        let bytes = payload.len();
        if bytes > MAX_MESSAGE_BYTES {
            return Err(MulticastError::TooLong { bytes });
        }
        let bytes_waiting = &self.shared.line.bytes_waiting;
        if bytes_waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES {
            bytes_waiting.fetch_sub(bytes, Ordering::Relaxed);
            return Err(MulticastError::QueueFull);
        }
        self.send(Command::Multicast(payload)).inspect_err(|_| {
            bytes_waiting.fetch_sub(bytes, Ordering::Relaxed);
        })
    }

    /// Leaves the group after all accepted messages were sent. The events go on until the one that says that we
    /// left; then the stream ends.
    pub fn leave(&self) -> Result<(), MulticastError> {
        self.send(Command::Leave)
    }

    /// Waits for the thread's end (blocking) and says how it came. `None` if a clone has asked before.
    pub fn join(&self) -> Option<Outcome> {
        let thread = self.shared.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()?;
        Some(thread.join().unwrap_or_else(|_| Outcome::Lost { reason: "the thread for corosync broke".into() }))
    }

    fn send(&self, command: Command) -> Result<(), MulticastError> {
        self.shared.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => MulticastError::QueueFull,
            TrySendError::Disconnected(_) => MulticastError::Gone,
        })?;
        self.shared.line.ring();
        Ok(())
    }
}

/// The door to corosync for a program that takes part in a group.
pub struct Corosync;

impl Corosync {
    /// Connects, joins `group` and starts telling. Blocks until corosync has accepted the join, at most some
    /// seconds. One process can be in one group only once. The stream ends after [`Event::Lost`], or after the event that says that we left ourselves.
    pub fn spawn(group: &str) -> Result<(Handle, mpsc::Receiver<Event>), SpawnError> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| SpawnError::Thread(errno.into()))?;
        let line = Arc::new(Line { wake, bytes_waiting: AtomicUsize::new(0), abandoned: AtomicBool::new(false) });
        let (commands, commands_in) = sync_channel(QUEUE_MESSAGES);
        let (events_out, events) = mpsc::channel(EVENTS);
        let (started, start) = std::sync::mpsc::channel();
        let thread = {
            let (group, line) = (group.to_owned(), Arc::clone(&line));
            let run = move || run(group, &line, &commands_in, &events_out, &started);
            std::thread::Builder::new()
                .name("corosync".into())
                .stack_size(STACK_BYTES)
                .spawn(run)
                .map_err(SpawnError::Thread)?
        };
        let local = start
            .recv()
            .map_err(|_| SpawnError::Ended)?
            .map_err(|source| SpawnError::Join { group: group.to_owned(), source })?;
        let shared = Shared { commands, line, thread: Mutex::new(Some(thread)), local };
        Ok((Handle { shared: Arc::new(shared) }, events))
    }
}

/// The thread from start to end. A panic is told like a lost corosync, so that nobody waits for events for ever.
fn run(
    group: String,
    line: &Line,
    commands: &Receiver<Command>,
    events: &mpsc::Sender<Event>,
    started: &std::sync::mpsc::Sender<Result<Member, CallError>>,
) -> Outcome {
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut session = match Session::open(group, line, commands, events) {
            Ok(session) => session,
            Err(error) => {
                let _ = started.send(Err(error));
                return Ok(());
            }
        };
        if started.send(Ok(session.local)).is_err() {
            return Ok(());
        }
        session.serve()
    }));
    let reason = match ended {
        Ok(Ok(())) => return Outcome::Left,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the thread for corosync broke".to_owned(),
    };
    let _ = events.blocking_send(Event::Lost { reason: reason.clone() });
    Outcome::Lost { reason }
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    Continue,
    Stop,
}

struct Session<'a> {
    cpg: Cpg,
    quorum: Quorum,
    group: String,
    local: Member,
    line: &'a Line,
    commands: &'a Receiver<Command>,
    events: &'a mpsc::Sender<Event>,
    /// The command that corosync was too busy for; those behind it wait, so that the order stays.
    head: Option<Command>,
}

impl<'a> Session<'a> {
    fn open(
        group: String,
        line: &'a Line,
        commands: &'a Receiver<Command>,
        events: &'a mpsc::Sender<Event>,
    ) -> Result<Self, CallError> {
        let cpg = patiently(Cpg::open)?;
        let quorum = patiently(Quorum::open)?;
        let node = cpg.local_node()?;
        patiently(|| cpg.join(&group))?;
        patiently(|| quorum.track())?;
        let local = Member { node, pid: std::process::id() };
        Ok(Self { cpg, quorum, group, local, line, commands, events, head: None })
    }

    fn serve(&mut self) -> Result<(), CallError> {
        loop {
            let hung_up = self.wait()?;
            if self.take_quorum()? == Flow::Stop || self.take_cpg(hung_up)? == Flow::Stop {
                return Ok(());
            }
            self.take_commands()?;
            if self.line.abandoned.load(Ordering::Acquire) {
                return Ok(());
            }
        }
    }

    /// Sleeps until there is something to do; true if corosync closed its end.
    fn wait(&self) -> Result<bool, CallError> {
        let readable = PollFlags::IN;
        let (cpg, quorum, wake) = (self.cpg.fd(), self.quorum.fd(), self.line.wake.as_fd());
        let mut fds = [
            PollFd::from_borrowed_fd(cpg, readable),
            PollFd::from_borrowed_fd(quorum, readable),
            PollFd::from_borrowed_fd(wake, readable),
        ];
        let timeout = self.head.as_ref().map(|_| Timespec { tv_sec: 0, tv_nsec: i64::from(RETRY.subsec_nanos()) });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // Only a descriptor that is no longer valid or no memory can be meant; both end the connection.
            Err(_) => {
                return Err(CallError { call: "poll", code: 2 });
            }
        }
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        Ok(fds[0].revents().intersects(gone) || fds[1].revents().intersects(gone))
    }

    fn take_quorum(&mut self) -> Result<Flow, CallError> {
        for event in self.quorum.dispatch()? {
            if self.events.blocking_send(event).is_err() {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Continue)
    }

    /// Passes on what cpg tells. A hung-up connection still gives out what was queued before its end.
    fn take_cpg(&mut self, hung_up: bool) -> Result<Flow, CallError> {
        for _ in 0..BATCH {
            let Some(event) = self.cpg.dispatch()? else {
                return if hung_up { Err(CallError { call: "cpg_dispatch", code: 2 }) } else { Ok(Flow::Continue) };
            };
            let we_left = matches!(&event, Event::MembershipChanged { left, .. }
                if left.contains(&(self.local, LeftReason::Leave)));
            if self.events.blocking_send(event).is_err() || we_left {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Continue)
    }

    fn take_commands(&mut self) -> Result<(), CallError> {
        // Resets the wake-up before looking, so that a command that comes in between wakes us again.
        let _ = rustix::io::read(&self.line.wake, &mut [0_u8; 8]);
        loop {
            let command = match self.head.take() {
                Some(command) => command,
                None => match self.commands.try_recv() {
                    Ok(command) => command,
                    Err(_) => return Ok(()),
                },
            };
            let done = match &command {
                Command::Multicast(payload) => self.cpg.multicast(payload),
                Command::Leave => self.cpg.leave(&self.group),
            };
            match done {
                Ok(()) => {}
                Err(error) if error.is_try_again() => {
                    self.head = Some(command);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            if let Command::Multicast(payload) = &command {
                self.line.bytes_waiting.fetch_sub(payload.len(), Ordering::Relaxed);
            }
        }
    }
}

/// Repeats a call that corosync is too busy for, for a bounded time.
fn patiently<T>(mut call: impl FnMut() -> Result<T, CallError>) -> Result<T, CallError> {
    let deadline = Instant::now() + JOIN_PATIENCE;
    loop {
        match call() {
            Err(error) if error.is_try_again() && Instant::now() < deadline => std::thread::sleep(RETRY),
            other => return other,
        }
    }
}

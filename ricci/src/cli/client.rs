//! Questions to `rgmanager` over its control socket, blocking, each with a deadline.
//!
//! Used by every command. A daemon that is stopped, hung, or too busy to accept costs its caller the deadline and
//! nothing else. Tells what went wrong as data; the command says it in its own words.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use shared::socket::{Ask, LINE_MAX_BYTES, Reply, SOCKET_PATH};

/// Names another control socket than [`SOCKET_PATH`].
pub const SOCKET_VARIABLE: &str = "RGMANAGER_SOCKET";

/// For the word whether a request is accepted: it is given when all members have heard of it, and while a member is
/// being lost that takes as long as the ring needs to form again.
pub const ACCEPT_LIMIT: Duration = Duration::from_secs(30);

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "rgmanager is not running on this node (nobody listens at {}); systemctl start rgmanager starts it",
        path.display()
    )]
    NotRunning { path: PathBuf },
    #[error("no permission to use {}; try again as root", path.display())]
    NoPermission { path: PathBuf },
    /// The daemon lives but is silent.
    #[error(
        "rgmanager did not answer within {:.1} seconds; 'systemctl status rgmanager' shows whether it lives",
        waited.as_secs_f64()
    )]
    Late { waited: Duration },
    /// It hung up in the middle.
    #[error("the connection to rgmanager broke")]
    Broken {
        #[source]
        source: io::Error,
    },
    #[error("rgmanager answered something this command cannot read (are both of the same release?)")]
    Unreadable {
        #[source]
        source: serde_json::Error,
    },
    #[error("rgmanager's answer is longer than {LINE_MAX_BYTES} bytes")]
    TooLong,
}

/// Where the control socket is.
pub fn socket_path() -> PathBuf {
    std::env::var_os(SOCKET_VARIABLE).map_or_else(|| PathBuf::from(SOCKET_PATH), PathBuf::from)
}

/// A connection. Any number of questions, one after another.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    /// What came after the last line that was handed out.
    pending: Vec<u8>,
}

impl Client {
    /// Connects within `limit`. A hung daemon whose queue is full makes connecting wait, hence the limit.
    pub fn connect(path: &Path, limit: Duration) -> Result<Self, AskError> {
        let begun = Instant::now();
        let connected = connect_within(path, limit);
        let stream = connected.map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => AskError::NoPermission { path: path.to_owned() },
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Late { waited: begun.elapsed() },
            _ => AskError::NotRunning { path: path.to_owned() },
        })?;
        Ok(Self { stream, pending: Vec::new() })
    }

    /// Asks and waits for the one answer, at most for `limit`.
    pub fn ask(&mut self, ask: &Ask, limit: Duration) -> Result<Reply, AskError> {
        let begun = Instant::now();
        let mut line = serde_json::to_vec(ask).map_err(|source| AskError::Unreadable { source })?;
        line.push(b'\n');
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Late { waited: begun.elapsed() },
            _ => AskError::Broken { source },
        };
        self.stream.set_write_timeout(Some(at_least_a_moment(limit))).map_err(failed)?;
        self.stream.write_all(&line).map_err(failed)?;
        self.next_reply(limit.saturating_sub(begun.elapsed()))
    }

    /// Waits for one more answer, of a question that has many ([`Ask::Watch`]).
    pub fn next_reply(&mut self, limit: Duration) -> Result<Reply, AskError> {
        let begun = Instant::now();
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Late { waited: begun.elapsed() },
            _ => AskError::Broken { source },
        };
        let answer = self.read_line(begun, limit, &failed)?;
        serde_json::from_slice(&answer).map_err(|source| AskError::Unreadable { source })
    }

    fn read_line(
        &mut self,
        begun: Instant,
        limit: Duration,
        failed: &impl Fn(io::Error) -> AskError,
    ) -> Result<Vec<u8>, AskError> {
        let mut searched = 0;
        let mut block = vec![0; 64 * 1024];
        loop {
            if let Some(end) = self.pending[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(searched + end + 1);
                return Ok(std::mem::replace(&mut self.pending, rest));
            }
            searched = self.pending.len();
            if searched > LINE_MAX_BYTES {
                return Err(AskError::TooLong);
            }
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(AskError::Late { waited: begun.elapsed() });
            }
            self.stream.set_read_timeout(Some(at_least_a_moment(left))).map_err(failed)?;
            match self.stream.read(&mut block) {
                Ok(0) => return Err(AskError::Broken { source: io::ErrorKind::UnexpectedEof.into() }),
                Ok(count) => self.pending.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// One question over a connection of its own; connecting and the answer share the limit.
pub fn ask_once(ask: &Ask, limit: Duration) -> Result<Reply, AskError> {
    let begun = Instant::now();
    let mut client = Client::connect(&socket_path(), limit)?;
    client.ask(ask, limit.saturating_sub(begun.elapsed()))
}

/// The kernel obeys a send timeout while connecting; `UnixStream` by itself offers no way to say so.
fn connect_within(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(at_least_a_moment(limit)))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// A socket timeout of zero means "for ever".
fn at_least_a_moment(limit: Duration) -> Duration {
    limit.max(Duration::from_millis(1))
}

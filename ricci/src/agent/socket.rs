//! Asks rgmanager over its control socket. Each question is a connection of its own with a deadline, so that a daemon
//! that hangs costs exactly one answer; only `watch` keeps its connection.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt as _;
use shared::socket::{Ask, LINE_MAX_BYTES, Reply};
use shared::status::{StreamItem, StreamPosition};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    #[error("rgmanager does not listen at {path}", path = path.display())]
    NotRunning {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("rgmanager on this node did not answer within {seconds:.1} seconds; it may hang, see its log")]
    TooSlow { seconds: f32 },
    #[error("{0}")]
    Told(String),
    #[error("rgmanager answers this only to root; run ricci as root")]
    Denied,
    #[error("the connection to rgmanager broke")]
    Broken(#[source] io::Error),
    #[error("rgmanager closed the connection without an answer")]
    Closed,
    #[error("rgmanager sent something that is not an answer to the question: {0}")]
    Unexpected(String),
}

/// Where rgmanager listens.
#[derive(Debug, Clone)]
pub(super) struct Rgmanager {
    path: PathBuf,
}

impl Rgmanager {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// One question, one answer. `Reply::Error` and `Reply::PermissionDenied` come back as errors.
    pub(super) async fn ask(&self, ask: &Ask, wait: Duration) -> Result<Reply, SocketError> {
        within(wait, async {
            let mut connection = self.connect(ask).await?;
            connection.reply().await
        })
        .await
    }

    /// Whether something listens there.
    pub(super) async fn listens(&self, wait: Duration) -> bool {
        matches!(timeout(wait, UnixStream::connect(&self.path)).await, Ok(Ok(_)))
    }

    /// Opens the stream of changes.
    pub(super) async fn watch(&self, since: Option<StreamPosition>, wait: Duration) -> Result<Watch, SocketError> {
        let ask = Ask::Watch { since };
        let connection = within(wait, self.connect(&ask)).await?;
        Ok(Watch { connection })
    }

    async fn connect(&self, ask: &Ask) -> Result<Connection, SocketError> {
        let stream = UnixStream::connect(&self.path).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                SocketError::NotRunning { path: self.path.clone(), source }
            }
            _ => SocketError::Broken(source),
        })?;
        let (read, mut write) = stream.into_split();
        let mut line = serde_json::to_vec(ask).map_err(|error| SocketError::Broken(error.into()))?;
        line.push(b'\n');
        write.write_all(&line).await.map_err(SocketError::Broken)?;
        Ok(Connection { lines: FramedRead::new(read, LinesCodec::new_with_max_length(LINE_MAX_BYTES)), _write: write })
    }
}

/// The open stream of changes.
pub(super) struct Watch {
    connection: Connection,
}

impl Watch {
    /// The next item, which must come within `wait`. Waiting again after `TooSlow` loses nothing.
    pub(super) async fn next(&mut self, wait: Duration) -> Result<StreamItem, SocketError> {
        within(wait, self.item()).await
    }

    async fn item(&mut self) -> Result<StreamItem, SocketError> {
        match self.connection.reply().await? {
            Reply::Stream { stream } => Ok(stream),
            other => Err(unexpected(&other)),
        }
    }
}

struct Connection {
    lines: FramedRead<tokio::net::unix::OwnedReadHalf, LinesCodec>,
    /// Kept open: rgmanager takes a closed writing side for the end of the conversation.
    _write: tokio::net::unix::OwnedWriteHalf,
}

impl Connection {
    async fn reply(&mut self) -> Result<Reply, SocketError> {
        let line = match self.lines.next().await {
            None => return Err(SocketError::Closed),
            Some(Err(LinesCodecError::Io(source))) => return Err(SocketError::Broken(source)),
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                return Err(SocketError::Unexpected(format!("a line longer than {LINE_MAX_BYTES} bytes")));
            }
            Some(Ok(line)) => line,
        };
        match serde_json::from_str(&line) {
            Ok(Reply::Error { text }) => Err(SocketError::Told(text)),
            Ok(Reply::PermissionDenied) => Err(SocketError::Denied),
            Ok(reply) => Ok(reply),
            Err(error) => Err(SocketError::Unexpected(error.to_string())),
        }
    }
}

/// An answer of the wrong kind; named, not shown: it may hold a configuration.
pub(super) fn unexpected(reply: &Reply) -> SocketError {
    let kind = match reply {
        Reply::Status { .. } => "status",
        Reply::Stream { .. } => "stream",
        Reply::Answer { .. } => "answer",
        Reply::Outcome { .. } => "outcome",
        Reply::Conf { .. } => "conf",
        Reply::PutConf { .. } => "put-conf",
        Reply::Explanation { .. } => "explanation",
        Reply::Explanations { .. } => "explanations",
        Reply::Prediction { .. } => "prediction",
        Reply::Fence { .. } => "fence",
        Reply::Done => "done",
        Reply::Error { .. } => "error",
        Reply::PermissionDenied => "permission-denied",
    };
    SocketError::Unexpected(format!("a reply of kind {kind}"))
}

async fn within<T>(wait: Duration, work: impl Future<Output = Result<T, SocketError>>) -> Result<T, SocketError> {
    timeout(wait, work).await.unwrap_or(Err(SocketError::TooSlow { seconds: wait.as_secs_f32() }))
}

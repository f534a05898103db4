//! The control socket: one line of JSON per question and answer (`shared::socket`), for the commands and for ricci.
//!
//! What is only to be looked at (status, stream) is answered from the feed, without the driver: `clustat` answers
//! while a fence agent hangs. Everything else goes to the driver as a [`Question`] over one bounded queue, with a
//! way back. Decides nothing but who may ask; a client that reads or writes too slowly is dropped, none waits for
//! another.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shared::ids::{ConfDigest, ConfVersion, NodeName, RequestId, ServiceName};
use shared::socket::{Ask, FenceOperation, LINE_MAX_BYTES, PutConf, Reply};
use shared::status::{Answer, FenceAttempt, Outcome, Request, StreamPosition};
use shared::why::{Assumption, Explanation, Prediction};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::publish::{Batch, Feed};

/// Connections at the same time. ricci holds a few; each command one for a moment.
const CONNECTIONS_MAX: usize = 256;
/// Of these, at most so many of users other than root, so that they cannot lock root out.
const CONNECTIONS_OF_USERS_MAX: usize = 64;
/// Longest line of a user who may only look: a question for the status is short.
const LINE_OF_USERS_MAX_BYTES: usize = 4096;
/// From the first byte of a question to its end. A local client has no reason to pause.
const LINE_DEADLINE: Duration = Duration::from_secs(30);
/// For taking one answer or item. A reader that is stopped for longer gets everything anew when it comes back.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// For the driver to say accepted or refused. Its loop never waits, so that this ends only if it is gone or stuck.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// Silence after which a stream shows that it lives.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Pause after a connection could not be taken, which means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Asked of the driver. Each is answered once; an answer dropped means that the daemon ends.
#[derive(Debug)]
pub enum Question {
    Request {
        request: Request,
        reply: oneshot::Sender<Answer>,
    },
    /// Answered when the request has ended, or at once if it has.
    Await {
        id: RequestId,
        reply: oneshot::Sender<Outcome>,
    },
    Conf {
        reply: oneshot::Sender<Option<ConfInForce>>,
    },
    PutConf {
        text: String,
        origin: String,
        despite_agents: bool,
        reply: oneshot::Sender<PutConf>,
    },
    Explain {
        service: ServiceName,
        reply: oneshot::Sender<Option<Explanation>>,
    },
    /// The names of all services; `None` before this node is a member.
    Services {
        reply: oneshot::Sender<Option<Vec<ServiceName>>>,
    },
    Predict {
        assumption: Assumption,
        reply: oneshot::Sender<Prediction>,
    },
    FenceNode {
        node: NodeName,
        operation: FenceOperation,
        reply: oneshot::Sender<Result<Vec<FenceAttempt>, String>>,
    },
    /// Answered when nothing runs here any more and the group is left.
    Leave {
        reply: oneshot::Sender<()>,
    },
}

/// The cluster.conf in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfInForce {
    pub version: ConfVersion,
    pub digest: ConfDigest,
    pub text: String,
}

/// Takes the socket. One that a killed daemon left is replaced; one on which a daemon still answers is not.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let text = format!("another rgmanager already answers on {}", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // Everybody may look, as with clustat of old; what changes something is for root alone and checked below.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Serves until `stop`; answers on their way are still given then.
pub async fn serve(listener: UnixListener, feed: Feed, questions: mpsc::Sender<Question>, stop: CancellationToken) {
    let house =
        Arc::new(House { feed, questions, stop: stop.clone(), all: AtomicUsize::new(0), users: AtomicUsize::new(0) });
    let mut clients = JoinSet::new();
    loop {
        let taken = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = clients.join_next() => continue,
            taken = listener.accept() => taken,
        };
        match taken {
            Ok((stream, _)) => {
                clients.spawn(Arc::clone(&house).serve_client(stream));
            }
            Err(error) => {
                tracing::warn!("control socket: cannot take a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // The last answers (that the node has left) get a moment to go out.
    let all_gone = async { while clients.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(1), all_gone).await.is_err() {
        clients.shutdown().await;
    }
}

struct House {
    feed: Feed,
    questions: mpsc::Sender<Question>,
    stop: CancellationToken,
    all: AtomicUsize,
    users: AtomicUsize,
}

/// A place among the connections, given back when dropped.
struct Place<'a> {
    counters: Vec<&'a AtomicUsize>,
}

impl<'a> Place<'a> {
    fn take(counters: Vec<(&'a AtomicUsize, usize)>) -> Option<Self> {
        let mut full = false;
        for (counter, max) in &counters {
            full |= counter.fetch_add(1, Ordering::Relaxed) >= *max;
        }
        // Dropped again when full, which gives back what was just counted.
        let place = Self { counters: counters.into_iter().map(|(counter, _)| counter).collect() };
        (!full).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        for counter in &self.counters {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by the client")]
    Closed,
    #[error("a question longer than {0} bytes")]
    TooLong(usize),
    #[error("too slow")]
    TooSlow,
    #[error("the connection broke")]
    Broken(#[from] io::Error),
}

struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    may_change: bool,
}

impl House {
    async fn serve_client(self: Arc<Self>, stream: UnixStream) {
        let may_change = stream.peer_cred().is_ok_and(|peer| may_change(peer.uid()));
        let (reader, writer) = stream.into_split();
        let mut client = Client { reader: BufReader::new(reader), writer, may_change };
        let mut limits = vec![(&self.all, CONNECTIONS_MAX)];
        if !may_change {
            limits.push((&self.users, CONNECTIONS_OF_USERS_MAX));
        }
        let ended = match Place::take(limits) {
            Some(_place) => self.converse(&mut client).await,
            None => {
                let text = "too many connections to rgmanager; try again in a moment".to_owned();
                client.say(&Reply::Error { text }).await
            }
        };
        match ended {
            Ok(()) | Err(End::Closed) => {}
            Err(End::TooLong(_)) => {
                let text = format!("{}; the connection is closed", End::TooLong(client.line_max()));
                // It may be gone already.
                let _ = client.say(&Reply::Error { text }).await;
            }
            Err(end) => tracing::debug!("control socket: {end}"),
        }
    }

    async fn converse(&self, client: &mut Client) -> Result<(), End> {
        loop {
            let line = tokio::select! {
                line = client.read_line() => line?,
                () = self.stop.cancelled() => return Ok(()),
            };
            let ask = match serde_json::from_slice::<Ask>(&line) {
                Ok(ask) => ask,
                Err(error) => {
                    client.say(&Reply::Error { text: format!("the question cannot be read: {error}") }).await?;
                    continue;
                }
            };
            if !client.may_change && needs_root(&ask) {
                client.say(&Reply::PermissionDenied).await?;
                continue;
            }
            if let Ask::Watch { since } = &ask {
                return self.stream(client, since.as_ref()).await;
            }
            if ask == Ask::Status {
                let answer = self.feed.status_answer().map_err(io::Error::from)?;
                client.write(&answer).await?;
                continue;
            }
            let reply = self.answer(client, ask).await?;
            client.say(&reply).await?;
        }
    }

    async fn answer(&self, client: &mut Client, ask: Ask) -> Result<Reply, End> {
        let (soon, late) = (Some(ANSWER_DEADLINE), None);
        match ask {
            Ask::Status | Ask::Watch { .. } => unreachable!("answered by the feed"),
            Ask::Request { request } => {
                let answer = self.ask(client, soon, |reply| Question::Request { request, reply }).await?;
                Ok(or_ended(answer.map(|answer| Reply::Answer { answer })))
            }
            Ask::Await { id } => {
                let outcome = self.ask(client, late, |reply| Question::Await { id, reply }).await?;
                Ok(or_ended(outcome.map(|outcome| Reply::Outcome { outcome })))
            }
            Ask::Conf => Ok(match self.ask(client, soon, |reply| Question::Conf { reply }).await? {
                Some(Some(ConfInForce { version, digest, text })) => Reply::Conf { version, digest, text },
                Some(None) => Reply::Error { text: "this node has not learnt the configuration in force yet".into() },
                None => or_ended(None),
            }),
            Ask::PutConf { text, origin, despite_agents } => {
                let question = |reply| Question::PutConf { text, origin, despite_agents, reply };
                let result = self.ask(client, soon, question).await?;
                Ok(or_ended(result.map(|result| Reply::PutConf { result })))
            }
            Ask::Explain { service } => {
                let asked = service.clone();
                let explained = self.ask(client, soon, |reply| Question::Explain { service, reply }).await?;
                Ok(match explained {
                    Some(Some(explanation)) => Reply::Explanation { explanation: Box::new(explanation) },
                    Some(None) => {
                        Reply::Error { text: format!("there is no {asked} here, or this node is not a member yet") }
                    }
                    None => or_ended(None),
                })
            }
            Ask::ExplainNode { node } => Ok(match self.explain_node(client, &node).await? {
                Some(Some(explanations)) => Reply::Explanations { explanations },
                Some(None) => Reply::Error { text: "this node is not a member yet".into() },
                None => or_ended(None),
            }),
            Ask::Predict { assumption } => {
                let predicted = self.ask(client, soon, |reply| Question::Predict { assumption, reply }).await?;
                Ok(or_ended(predicted.map(|prediction| Reply::Prediction { prediction: Box::new(prediction) })))
            }
            Ask::FenceNode { node, operation } => {
                let result = self.ask(client, late, |reply| Question::FenceNode { node, operation, reply }).await?;
                Ok(match result {
                    Some(Ok(attempts)) => Reply::Fence { attempts },
                    Some(Err(text)) => Reply::Error { text },
                    None => or_ended(None),
                })
            }
            Ask::Leave => {
                let left = self.ask(client, late, |reply| Question::Leave { reply }).await?;
                // The daemon ends after it has left; the answer lost on the way is the same news.
                Ok(left.map_or(Reply::Done, |()| Reply::Done))
            }
        }
    }

    /// Service after service: all in one question would keep the loop of a large cluster from its work.
    async fn explain_node(
        &self,
        client: &mut Client,
        node: &NodeName,
    ) -> Result<Option<Option<Vec<Explanation>>>, End> {
        let soon = Some(ANSWER_DEADLINE);
        let services = match self.ask(client, soon, |reply| Question::Services { reply }).await? {
            Some(Some(services)) => services,
            Some(None) => return Ok(Some(None)),
            None => return Ok(None),
        };
        let mut explanations = Vec::with_capacity(services.len());
        for service in services {
            match self.ask(client, soon, |reply| Question::Explain { service, reply }).await? {
                Some(Some(mut explanation)) => {
                    explanation.nodes.retain(|one| one.node == *node);
                    explanations.push(explanation);
                }
                // Removed meanwhile.
                Some(None) => {}
                None => return Ok(None),
            }
        }
        Ok(Some(Some(explanations)))
    }

    /// Puts a question to the driver; `None` if there is no answer. Ends early if the client goes away.
    async fn ask<T>(
        &self,
        client: &mut Client,
        deadline: Option<Duration>,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<Option<T>, End> {
        let (reply, answer) = oneshot::channel();
        let question = question(reply);
        let asked = async {
            self.questions.send(question).await.ok()?;
            answer.await.ok()
        };
        let bounded = async {
            match deadline {
                Some(deadline) => tokio::time::timeout(deadline, asked).await.unwrap_or(None),
                None => asked.await,
            }
        };
        tokio::select! {
            biased;
            answer = bounded => Ok(answer),
            end = client.closed() => Err(end),
        }
    }

    async fn stream(&self, client: &mut Client, since: Option<&StreamPosition>) -> Result<(), End> {
        let mut newest = self.feed.follow();
        let mut batch = self.feed.resume(since);
        loop {
            let Batch { items, sequence } = batch;
            for item in &items {
                client.write(format!("{{\"reply\":\"stream\",\"stream\":{item}}}\n").as_bytes()).await?;
            }
            // Fails only when the feed is gone, and the feed belongs to this house.
            let newer = async { newest.wait_for(|newest| *newest > sequence).await.is_ok() };
            let silent = tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                end = client.closed() => return Err(end),
                _ = newer => false,
                () = tokio::time::sleep(ALIVE_INTERVAL) => true,
            };
            if silent {
                client.say(&Reply::Stream { stream: self.feed.alive(sequence) }).await?;
            }
            batch = self.feed.after(sequence);
        }
    }
}

fn or_ended(reply: Option<Reply>) -> Reply {
    reply.unwrap_or_else(|| Reply::Error {
        text: "rgmanager did not answer: it is ending or stuck; see its log, then try again".into(),
    })
}

/// Root, and the user as whom the daemon itself runs (in tests).
fn may_change(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Whether a question changes something or shows secrets (cluster.conf holds passwords of fence devices).
fn needs_root(ask: &Ask) -> bool {
    match ask {
        Ask::Status | Ask::Watch { .. } | Ask::Await { .. } | Ask::Explain { .. } => false,
        // A prediction changes nothing, nor do the reasons of all services, but they keep the loop at work.
        Ask::Predict { .. }
        | Ask::ExplainNode { .. }
        | Ask::Request { .. }
        | Ask::Conf
        | Ask::PutConf { .. }
        | Ask::FenceNode { .. }
        | Ask::Leave => true,
    }
}

impl Client {
    fn line_max(&self) -> usize {
        if self.may_change { LINE_MAX_BYTES } else { LINE_OF_USERS_MAX_BYTES }
    }

    /// One line without its end. Waits for its first byte as long as it takes.
    async fn read_line(&mut self) -> Result<Vec<u8>, End> {
        if self.reader.fill_buf().await?.is_empty() {
            return Err(End::Closed);
        }
        tokio::time::timeout(LINE_DEADLINE, self.read_rest()).await.unwrap_or(Err(End::TooSlow))
    }

    async fn read_rest(&mut self) -> Result<Vec<u8>, End> {
        let max = self.line_max();
        let mut line = Vec::new();
        loop {
            let there = self.reader.fill_buf().await?;
            if there.is_empty() {
                return Err(End::Closed);
            }
            let end = there.iter().position(|byte| *byte == b'\n');
            let count = end.unwrap_or(there.len());
            if line.len() + count > max {
                return Err(End::TooLong(max));
            }
            line.extend_from_slice(&there[..count]);
            self.reader.consume(count + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(line);
            }
        }
    }

    /// Resolves when the client has gone. A client that has asked its next question already counts as present.
    async fn closed(&mut self) -> End {
        match self.reader.fill_buf().await {
            Ok([]) => End::Closed,
            Ok(_) => std::future::pending().await,
            Err(error) => End::Broken(error),
        }
    }

    async fn say(&mut self, reply: &Reply) -> Result<(), End> {
        let mut line = serde_json::to_vec(reply).map_err(io::Error::from)?;
        line.push(b'\n');
        self.write(&line).await
    }

    async fn write(&mut self, line: &[u8]) -> Result<(), End> {
        match tokio::time::timeout(WRITE_DEADLINE, self.writer.write_all(line)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(End::TooSlow),
        }
    }
}

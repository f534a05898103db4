//! The control socket over a real socket, with a stand-in for the driver that answers questions.

use std::path::PathBuf;
use std::time::Duration;

use ricci::rgmanager::control::{self, ConfInForce, Question};
use ricci::rgmanager::publish::Feed;
use shared::ids::{ConfDigest, ConfVersion, NodeId, RequestId, ServiceName, Time};
use shared::socket::{Ask, Reply};
use shared::status::{
    Answer, ClusterStatus, Command, Fact, FactKind, FactSeverity, Phase, Quorum, Reason, Request, StreamItem,
    StreamPosition, Subject,
};
use shared::text::ServiceState;
use shared::why::{Explanation, NodeExplanation, Verdict};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Stage {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    feed: Feed,
    questions: mpsc::Receiver<Question>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("run/rgmanager.sk");
        let listener = control::bind(&socket).unwrap();
        let feed = Feed::new("life".into(), status());
        let (ask, questions) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let server = tokio::spawn(control::serve(listener, feed.clone(), ask, stop.clone()));
        Self { _directory: directory, socket, feed, questions, stop, server }
    }

    async fn client(&self) -> Client {
        Client { stream: BufReader::new(UnixStream::connect(&self.socket).await.unwrap()) }
    }

    fn happen(&self, text: &str) {
        let (subject, severity, kind) = (Subject::Cluster, FactSeverity::Info, FactKind::ClusterFormed);
        self.feed.tell(Fact { at: Time(1), subject, severity, kind, text: text.into(), reason: None });
        self.feed.publish(status());
    }
}

struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    async fn send(&mut self, ask: &Ask) {
        self.send_line(&serde_json::to_string(ask).unwrap()).await;
    }

    async fn send_line(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn reply(&mut self) -> Reply {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(120), self.stream.read_line(&mut line)).await;
        assert!(read.expect("no reply").unwrap() > 0, "closed");
        serde_json::from_str(&line).unwrap()
    }

    async fn item(&mut self) -> StreamItem {
        match self.reply().await {
            Reply::Stream { stream } => stream,
            other => panic!("not an item: {other:?}"),
        }
    }
}

fn status() -> ClusterStatus {
    ClusterStatus {
        cluster: "c".into(),
        at: Time(1),
        local: NodeId(1),
        phase: Phase::Member,
        conf: None,
        quorum: Quorum::default(),
        coordinator: None,
        locked: false,
        nodes: Vec::new(),
        services: Vec::new(),
        waits_for_fencing_of: Vec::new(),
    }
}

fn texts(item: &StreamItem) -> (u64, Vec<String>) {
    let (StreamItem::Whole { position, facts, .. } | StreamItem::Change { position, facts, .. }) = item else {
        panic!("no facts in {item:?}");
    };
    (position.sequence, facts.iter().map(|fact| fact.text.clone()).collect())
}

#[tokio::test]
async fn the_status_is_answered_while_the_driver_answers_nothing() {
    let stage = Stage::new();
    let mut busy = stage.client().await;
    busy.send(&Ask::Await { id: RequestId::from("1") }).await;
    let mut client = stage.client().await;
    client.send(&Ask::Status).await;
    assert!(matches!(client.reply().await, Reply::Status { status } if status.cluster == "c"));
}

#[tokio::test]
async fn a_request_reaches_the_driver_and_its_answer_the_client() {
    let mut stage = Stage::new();
    let mut client = stage.client().await;
    let request = Request { id: RequestId::from("1"), command: Command::Lock, origin: "root@n1".into() };
    client.send(&Ask::Request { request: request.clone() }).await;
    let Some(Question::Request { request: asked, reply }) = stage.questions.recv().await else { panic!() };
    assert_eq!(asked, request);
    reply.send(Answer::Accepted).unwrap();
    assert_eq!(client.reply().await, Reply::Answer { answer: Answer::Accepted });
    client.send(&Ask::Conf).await;
    let Some(Question::Conf { reply }) = stage.questions.recv().await else { panic!() };
    let (version, digest) = (ConfVersion(3), ConfDigest::from("d"));
    reply.send(Some(ConfInForce { version, digest: digest.clone(), text: "<x/>".into() })).unwrap();
    assert_eq!(client.reply().await, Reply::Conf { version, digest, text: "<x/>".into() });
}

#[tokio::test]
async fn a_node_is_explained_service_by_service_and_no_other_node_with_it() {
    let mut stage = Stage::new();
    let mut client = stage.client().await;
    client.send(&Ask::ExplainNode { node: "n2".into() }).await;
    let Some(Question::Services { reply }) = stage.questions.recv().await else { panic!() };
    reply.send(Some(vec![ServiceName::parse("web"), ServiceName::parse("gone")])).unwrap();
    let Some(Question::Explain { service, reply }) = stage.questions.recv().await else { panic!() };
    assert_eq!(service.as_str(), "service:web");
    let on = |node: &str| NodeExplanation { node: node.into(), verdict: Verdict::MayNot, tests: Vec::new() };
    let explanation = Explanation {
        service,
        state: ServiceState::Stopped,
        owner: None,
        reason: Reason::Autostart,
        tests: Vec::new(),
        nodes: vec![on("n1"), on("n2")],
    };
    reply.send(Some(explanation.clone())).unwrap();
    let Some(Question::Explain { reply, .. }) = stage.questions.recv().await else { panic!() };
    reply.send(None).unwrap();
    let explanations = vec![Explanation { nodes: vec![on("n2")], ..explanation }];
    assert_eq!(client.reply().await, Reply::Explanations { explanations });
}

#[tokio::test]
async fn a_node_that_is_not_a_member_yet_says_so_and_not_that_there_are_no_services() {
    let mut stage = Stage::new();
    let mut client = stage.client().await;
    client.send(&Ask::ExplainNode { node: "n2".into() }).await;
    let Some(Question::Services { reply }) = stage.questions.recv().await else { panic!() };
    reply.send(None).unwrap();
    let said = client.reply().await;
    assert!(matches!(&said, Reply::Error { text } if text.contains("not a member yet")), "{said:?}");
}

#[tokio::test]
async fn a_question_that_is_none_is_refused_with_words_and_the_next_one_answered() {
    let stage = Stage::new();
    let mut client = stage.client().await;
    for garbage in ["{}", "\u{1}\u{2}", "[1,2", "{\"ask\":\"format-disk\"}"] {
        client.send_line(garbage).await;
        assert!(matches!(client.reply().await, Reply::Error { .. }), "{garbage}");
    }
    client.send(&Ask::Status).await;
    assert!(matches!(client.reply().await, Reply::Status { .. }));
}

#[tokio::test]
async fn a_line_without_end_is_cut_off_at_the_bound() {
    let stage = Stage::new();
    let mut client = stage.client().await;
    let block = vec![b'x'; 1 << 20];
    let mut sent = 0;
    // Ends when the server has stopped reading and closed.
    while client.stream.write_all(&block).await.is_ok() {
        sent += block.len();
        assert!(sent <= 64 << 20, "the server reads for ever");
    }
    let mut other = stage.client().await;
    other.send(&Ask::Status).await;
    assert!(matches!(other.reply().await, Reply::Status { .. }));
}

#[tokio::test]
async fn a_stream_begins_with_everything_and_goes_on_with_changes() {
    let stage = Stage::new();
    stage.happen("before");
    let mut client = stage.client().await;
    client.send(&Ask::Watch { since: None }).await;
    let first = client.item().await;
    assert!(matches!(first, StreamItem::Whole { .. }));
    assert_eq!(texts(&first), (1, vec!["before".into()]));
    stage.happen("after");
    assert_eq!(texts(&client.item().await), (2, vec!["after".into()]));
}

#[tokio::test]
async fn a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let stage = Stage::new();
    let mut client = stage.client().await;
    client.send(&Ask::Watch { since: None }).await;
    client.item().await;
    stage.happen("one");
    let (sequence, _) = texts(&client.item().await);
    drop(client);
    stage.happen("two");
    stage.happen("three");
    let mut again = stage.client().await;
    again.send(&Ask::Watch { since: Some(StreamPosition { stream: "life".into(), sequence }) }).await;
    assert_eq!(texts(&again.item().await).1, ["two"]);
    assert_eq!(texts(&again.item().await).1, ["three"]);
    let mut stranger = stage.client().await;
    stranger.send(&Ask::Watch { since: Some(StreamPosition { stream: "another life".into(), sequence }) }).await;
    assert!(matches!(stranger.item().await, StreamItem::Whole { .. }));
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_lives() {
    let stage = Stage::new();
    let mut client = stage.client().await;
    client.send(&Ask::Watch { since: None }).await;
    client.item().await;
    assert!(matches!(client.item().await, StreamItem::Alive { position } if position.sequence == 0));
}

#[tokio::test]
async fn a_reader_that_stops_reading_holds_nobody_up() {
    let stage = Stage::new();
    let mut slow = stage.client().await;
    slow.send(&Ask::Watch { since: None }).await;
    let mut quick = stage.client().await;
    quick.send(&Ask::Watch { since: None }).await;
    quick.item().await;
    let long = "x".repeat(10_000);
    for number in 0..3_000 {
        stage.happen(&long);
        if number % 100 == 0 {
            loop {
                let item = quick.item().await;
                if matches!(&item, StreamItem::Change { position, .. } | StreamItem::Whole { position, .. } if position.sequence > number)
                {
                    break;
                }
            }
        }
    }
    drop(slow);
}

#[tokio::test]
async fn who_waits_for_an_outcome_and_goes_away_is_forgotten() {
    let mut stage = Stage::new();
    let mut client = stage.client().await;
    client.send(&Ask::Await { id: RequestId::from("1") }).await;
    let Some(Question::Await { mut reply, .. }) = stage.questions.recv().await else { panic!() };
    drop(client);
    tokio::time::timeout(Duration::from_secs(120), reply.closed()).await.expect("the server still waits");
}

#[tokio::test]
async fn a_question_on_its_way_at_the_end_gets_an_answer_and_the_server_ends() {
    let mut stage = Stage::new();
    let mut client = stage.client().await;
    client.send(&Ask::Leave).await;
    let Some(Question::Leave { reply }) = stage.questions.recv().await else { panic!() };
    reply.send(()).unwrap();
    stage.stop.cancel();
    assert_eq!(client.reply().await, Reply::Done);
    stage.server.await.unwrap();
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_socket_left_by_a_killed_daemon_is_replaced_but_a_living_daemon_is_not() {
    let stage = Stage::new();
    assert_eq!(control::bind(&stage.socket).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    stage.stop.cancel();
    stage.server.await.unwrap();
    assert!(stage.socket.exists());
    control::bind(&stage.socket).unwrap();
}

#[tokio::test]
async fn the_two_hundred_and_fifty_seventh_connection_is_refused_with_words() {
    let stage = Stage::new();
    let mut clients = Vec::new();
    for _ in 0..256 {
        let mut client = stage.client().await;
        client.send(&Ask::Status).await;
        client.reply().await;
        clients.push(client);
    }
    let mut one_more = stage.client().await;
    assert!(matches!(one_more.reply().await, Reply::Error { text } if text.contains("too many connections")));
    clients.pop();
    // A place is free again as soon as the server has noticed.
    loop {
        let mut client = stage.client().await;
        client.send(&Ask::Status).await;
        if matches!(client.reply().await, Reply::Status { .. }) {
            break;
        }
    }
}

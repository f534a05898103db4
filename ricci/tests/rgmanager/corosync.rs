//! The actor and the questions against one real corosync on loopback.
//!
//! The test runs itself again inside namespaces of its own (network, mounts, pids), so that its corosync sees only
//! a fresh loopback, /dev/shm, /run and /var/lib/corosync, and everything it started ends with its pid namespace.
//! Needs root and corosync.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ricci::corosync::{Corosync, Event, Handle, JoinReason, MAX_MESSAGE_BYTES, MulticastError, Outcome, Value, query};
use rustix::process::{Pid, Signal, kill_process};
use shared::ids::NodeId;
use tokio::sync::mpsc::Receiver;

const INSIDE: &str = "RICCI_TEST_INSIDE_NAMESPACES";
const DEADLINE: Duration = Duration::from_secs(5);
/// Far above what any step takes; a step that reaches it is a failure.
const PATIENCE: Duration = Duration::from_secs(120);
const MESSAGES: u32 = 10_000;

const COROSYNC_CONF: &str = "totem {
  version: 2
  cluster_name: a-name-longer-than-fifteen-bytes-集群
  transport: knet
  token: 10000
}
nodelist {
  node {
    name: alone
    nodeid: 7
    ring0_addr: 127.0.0.1
  }
}
quorum {
  provider: corosync_votequorum
}
logging {
  to_logfile: yes
  logfile: /run/corosync.log
  to_syslog: no
}
";

#[test]
fn one_corosync_orders_our_messages_answers_questions_and_its_death_is_told() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "corosync::one_corosync_orders_our_messages_answers_questions_and_its_death_is_told",
        ])
        .env(INSIDE, "1")
        .stdin(Stdio::null());
    let output = unshare.output().expect("unshare(1) is part of every Linux");
    assert!(
        output.status.success(),
        "inside its namespaces (root and corosync are needed) the test said:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn inside() {
    let daemon = start_corosync();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, story(daemon)).await.expect("a step took too long") });
}

async fn story(mut daemon: Child) {
    let (handle, mut events) = joined().await;
    questions_are_answered().await;
    all_messages_come_back_in_order(&daemon, &handle, &mut events).await;
    too_long_is_refused(&handle, &mut events).await;
    a_second_connection_that_leaves_ends_its_stream().await;
    a_dropped_handle_ends_the_membership().await;

    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let reason = loop {
        match events.recv().await.expect("Lost comes before the end") {
            Event::Lost { reason } => break reason,
            Event::MembershipChanged { .. } => {}
            other => panic!("{other:?} came from a dead corosync"),
        }
    };
    assert_eq!(events.recv().await, None, "Lost is the last event");
    assert_eq!(handle.join(), Some(Outcome::Lost { reason }));
    assert_eq!(handle.multicast(b"late".to_vec()), Err(MulticastError::Gone));
    assert!(Corosync::spawn("nobody-there").is_err());
    assert!(query::cluster_name(DEADLINE).await.is_err());
}

/// Joining tells, in this order: that we joined, and the ring; and quorum at any place.
async fn joined() -> (Handle, Receiver<Event>) {
    let (handle, mut events) = Corosync::spawn("story").unwrap();
    assert_eq!(handle.local().node, NodeId(7));
    let (mut from_cpg, mut quorate) = (Vec::new(), false);
    while from_cpg.len() < 2 || !quorate {
        match events.recv().await.unwrap() {
            Event::QuorumChanged { quorate: now, members, .. } => {
                assert_eq!(members, [NodeId(7)]);
                quorate = now;
            }
            other => from_cpg.push(other),
        }
    }
    let expected = Event::MembershipChanged {
        members: vec![handle.local()],
        left: vec![],
        joined: vec![(handle.local(), JoinReason::Join)],
    };
    assert_eq!(from_cpg[0], expected);
    assert!(
        matches!(&from_cpg[1], Event::RingChanged { ring, members } if ring.node == NodeId(7) && members == &[NodeId(7)]),
        "{from_cpg:?}"
    );
    (handle, events)
}

async fn questions_are_answered() {
    let name = query::cluster_name(DEADLINE).await.unwrap();
    assert_eq!(name.as_deref(), Some("a-name-longer-than-fifteen-bytes-集群"));
    assert_eq!(query::local_node(DEADLINE).await.unwrap(), NodeId(7));
    assert!(query::quorate(DEADLINE).await.unwrap());

    let votes = query::votes(DEADLINE).await.unwrap();
    assert_eq!((votes.local, votes.quorate), (NodeId(7), true));
    assert_eq!((votes.votes_expected, votes.votes_total, votes.quorum), (1, 1, 1));
    assert_eq!(votes.nodes.len(), 1);
    assert!(votes.nodes[0].is_member && votes.nodes[0].votes == 1, "{votes:?}");

    let links = query::link_status(DEADLINE).await.unwrap();
    assert_eq!(links.len(), 1);
    assert!(links[0].is_local && links[0].node == NodeId(7), "{links:?}");
    assert_eq!(links[0].name.as_ref().unwrap().as_str(), "alone");

    for value in [Value::U64(u64::MAX), Value::I8(-3), Value::Text("集群一号".into()), Value::F64(0.5)] {
        query::set_value("story.value", value.clone(), DEADLINE).await.unwrap();
        let found = query::values("story.", DEADLINE).await.unwrap();
        assert_eq!(found, [("story.value".to_owned(), value)]);
    }
    let statistics = query::statistics("stats.srp.", DEADLINE).await.unwrap();
    assert!(statistics.iter().any(|(key, _)| key == "stats.srp.mcast_tx"), "{statistics:?}");
    query::reload_conf(DEADLINE).await.unwrap();
}

/// More than the queue takes. Corosync stands still until it is full, so that "full" and corosync's "try again" are met
/// however fast it is.
async fn all_messages_come_back_in_order(daemon: &Child, handle: &Handle, events: &mut Receiver<Event>) {
    let pid = Pid::from_child(daemon);
    kill_process(pid, Signal::STOP).unwrap();
    let mut sent = 0;
    while multicast(handle, sent) {
        sent += 1;
        assert!(sent < MESSAGES, "a corosync that takes nothing does not fill the queue");
    }
    kill_process(pid, Signal::CONT).unwrap();
    let mut delivered = 0_u32;
    while delivered < MESSAGES {
        while sent < MESSAGES && multicast(handle, sent) {
            sent += 1;
        }
        match events.recv().await.unwrap() {
            Event::Delivered { from, payload } => {
                assert_eq!(from, handle.local());
                assert_eq!(payload[..4], delivered.to_be_bytes());
                assert_eq!(payload.len(), 4 + (delivered as usize % 3000));
                delivered += 1;
            }
            // The reload above counts the votes again.
            Event::QuorumChanged { .. } => {}
            other => panic!("{other:?} between the messages"),
        }
    }
}

/// Sends the message of this number, unless the queue is full.
fn multicast(handle: &Handle, number: u32) -> bool {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(4 + (number as usize % 3000), b'x');
    match handle.multicast(payload) {
        Ok(()) => true,
        Err(MulticastError::QueueFull) => false,
        Err(error) => panic!("{error}"),
    }
}

async fn too_long_is_refused(handle: &Handle, events: &mut Receiver<Event>) {
    let bytes = MAX_MESSAGE_BYTES + 1;
    assert_eq!(handle.multicast(vec![0; bytes]), Err(MulticastError::TooLong { bytes }));
    handle.multicast(vec![1; MAX_MESSAGE_BYTES]).unwrap();
    match events.recv().await.unwrap() {
        Event::Delivered { payload, .. } => assert!(payload == vec![1; MAX_MESSAGE_BYTES]),
        other => panic!("{other:?} instead of the longest message"),
    }
}

async fn a_second_connection_that_leaves_ends_its_stream() {
    let (handle, mut events) = Corosync::spawn("short").unwrap();
    handle.multicast(b"goodbye".to_vec()).unwrap();
    handle.leave().unwrap();
    let mut told = Vec::new();
    while let Some(event) = events.recv().await {
        told.push(event);
    }
    let said_goodbye =
        told.iter().any(|event| matches!(event, Event::Delivered { payload, .. } if payload == b"goodbye"));
    assert!(said_goodbye, "what was accepted before leaving is sent: {told:?}");
    assert!(matches!(told.last(), Some(Event::MembershipChanged { members, .. }) if members.is_empty()), "{told:?}");
    assert_eq!(handle.join(), Some(Outcome::Left));
}

/// A process is in a group at most once, so that joining again shows that the first membership is over.
async fn a_dropped_handle_ends_the_membership() {
    let (handle, mut events) = Corosync::spawn("dropped").unwrap();
    assert!(Corosync::spawn("dropped").is_err());
    drop(handle);
    while events.recv().await.is_some() {}
    Corosync::spawn("dropped").unwrap();
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Starts corosync in the foreground on a private loopback and waits until its sockets answer.
fn start_corosync() -> Child {
    for place in ["/dev/shm", "/run", "/var/lib/corosync", "/etc/corosync"] {
        assert!(Path::new(place).is_dir(), "{place} is missing: is corosync installed?");
        run("mount", &["-t", "tmpfs", "story", place]);
    }
    run("ip", &["link", "set", "lo", "up"]);
    std::fs::write("/etc/corosync/corosync.conf", COROSYNC_CONF).unwrap();
    let mut command = Command::new("corosync");
    command.arg("-f").stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    let mut daemon = command.spawn().expect("corosync is installed");
    let started = std::time::Instant::now();
    // Corosync has no way to say that it is ready but to answer.
    while Corosync::spawn("ready").is_err() {
        if let Some(status) = daemon.try_wait().unwrap() {
            panic!("corosync: {status}\n{}", std::fs::read_to_string("/run/corosync.log").unwrap_or_default());
        }
        assert!(started.elapsed() < PATIENCE, "corosync does not answer");
        std::thread::sleep(Duration::from_millis(10));
    }
    daemon
}

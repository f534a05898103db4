//! A stand-in for rgmanager at the narrow door: a control socket in a temporary directory that answers from a table.
//! Also runs the commands against it. Shared by these tests; nothing in the product uses it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use shared::ids::{ConfDigest, ConfVersion, NodeId, NodeName, ServiceName, Time};
use shared::socket::{Ask, Reply};
use shared::status::{
    ClusterStatus, ConfInForce, FenceAttempt, FenceDeviceRun, FencingStatus, FencingStep, Membership, NodeStatus,
    Phase, Quorum, Reason, ServiceStatus,
};
use shared::text::ServiceState;

/// What the fake does with a question.
pub(crate) enum Say {
    Reply(Reply),
    Raw(&'static str),
    /// Reads on, answers never.
    Nothing,
    HangUp,
}

pub(crate) struct FakeRgmanager {
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Ask>>>,
    ended: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl FakeRgmanager {
    pub(crate) fn start(answer: impl Fn(&Ask) -> Say + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("rgmanager.sk")).unwrap();
        let (asked, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (answer, asked_there, ended_there) = (Arc::new(answer), asked.clone(), ended.clone());
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended_there.load(Ordering::SeqCst) {
                    break;
                }
                let (answer, asked) = (answer.clone(), asked_there.clone());
                let stream = stream.unwrap();
                std::thread::spawn(move || serve(&stream, &*answer, &asked));
            }
        });
        Self { directory, asked, ended, listening: Some(listening) }
    }

    /// Answers every question for the status with this one.
    pub(crate) fn with_status(status: ClusterStatus) -> Self {
        Self::start(move |ask| match ask {
            Ask::Status => Say::Reply(Reply::Status { status: Box::new(status.clone()) }),
            _ => Say::Reply(Reply::Error { text: "not asked for in this test".into() }),
        })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("rgmanager.sk")
    }

    /// All questions so far.
    pub(crate) fn asked(&self) -> Vec<Ask> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        run(program, arguments, &self.socket(), "")
    }

    pub(crate) fn run_typing(&self, program: &str, arguments: &[&str], typed: &str) -> Ran {
        run(program, arguments, &self.socket(), typed)
    }
}

impl Drop for FakeRgmanager {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.socket());
        if let Some(listening) = self.listening.take() {
            listening.join().unwrap();
        }
    }
}

fn serve(stream: &UnixStream, answer: &(impl Fn(&Ask) -> Say + ?Sized), asked: &Mutex<Vec<Ask>>) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let ask: Ask = serde_json::from_str(&line).unwrap();
        asked.lock().unwrap().push(ask.clone());
        let mut out = stream;
        let text = match answer(&ask) {
            Say::Reply(reply) => serde_json::to_string(&reply).unwrap(),
            Say::Raw(text) => text.to_owned(),
            Say::Nothing => continue,
            Say::HangUp => return,
        };
        if writeln!(out, "{text}").is_err() {
            return;
        }
    }
}

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

impl Ran {
    /// Nothing on stderr, and this on stdout.
    pub(crate) fn expect(&self, code: i32, out: &str) {
        assert_eq!((self.code, self.err.as_str()), (code, ""), "{self:?}");
        assert_eq!(self.out, out);
    }
}

/// Where cargo put a command.
pub(crate) fn path_of(program: &str) -> &'static str {
    match program {
        "clustat" => env!("CARGO_BIN_EXE_clustat"),
        "clusvcadm" => env!("CARGO_BIN_EXE_clusvcadm"),
        "fence_node" => env!("CARGO_BIN_EXE_fence_node"),
        "ccs_config_validate" => env!("CARGO_BIN_EXE_ccs_config_validate"),
        "rg_test" => env!("CARGO_BIN_EXE_rg_test"),
        "ccs" => env!("CARGO_BIN_EXE_ccs"),
        "cman_tool" => env!("CARGO_BIN_EXE_cman_tool"),
        "fence_tool" => env!("CARGO_BIN_EXE_fence_tool"),
        "fence_check" => env!("CARGO_BIN_EXE_fence_check"),
        "fence_ack_manual" => env!("CARGO_BIN_EXE_fence_ack_manual"),
        other => panic!("no program {other}"),
    }
}

pub(crate) fn run(program: &str, arguments: &[&str], socket: &std::path::Path, typed: &str) -> Ran {
    let mut child = Process::new(path_of(program))
        .args(arguments)
        .env("RGMANAGER_SOCKET", socket)
        .env("CLUSTER_CONF", socket.with_file_name("cluster.conf"))
        .env("HOME", socket.with_file_name("."))
        .env("COROSYNC_STATE_DIR", socket.with_file_name("."))
        .env("TZ", "UTC")
        .env("SUDO_USER", "alice")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The command may end without reading.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

pub(crate) fn node(id: u32, name: &str) -> NodeStatus {
    NodeStatus {
        id: NodeId(id),
        name: NodeName::from(name),
        configured: true,
        local: id == 1,
        online: true,
        member: Membership::Member,
        boot_id: None,
        conf_version: Some(ConfVersion(42)),
        fencing: None,
        last_fenced: None,
        fence_proofs: Vec::new(),
        standby: false,
        watches: Vec::new(),
    }
}

pub(crate) fn offline(id: u32, name: &str) -> NodeStatus {
    NodeStatus { online: false, member: Membership::Absent, ..node(id, name) }
}

pub(crate) fn service(name: &str, state: ServiceState, owner: Option<&str>, last_owner: Option<&str>) -> ServiceStatus {
    ServiceStatus {
        name: ServiceName::from(name),
        state,
        frozen: false,
        partial: false,
        owner: owner.map(NodeName::from),
        last_owner: last_owner.map(NodeName::from),
        restarts: 0,
        last_transition: Some(Time(1_793_872_798_000)),
        reason: Reason::Autostart,
        waits_for: None,
        request: None,
        failure: None,
        resources: Vec::new(),
    }
}

/// node3 has been lost and must be fenced; the last attempt came to what `output` says.
pub(crate) fn with_victim(output: &str, advice: &str) -> ClusterStatus {
    let mut status = three_nodes();
    status.waits_for_fencing_of = vec![NodeName::from("node3")];
    status.nodes[2].member = Membership::Victim;
    status.nodes[2].fencing = Some(FencingStatus {
        since: Time(1_793_872_700_000),
        attempt: 3,
        step: FencingStep::Running,
        by: Some(NodeName::from("node1")),
        method: Some("power".into()),
        last: Some(FenceAttempt {
            at: Time(1_793_872_760_000),
            by: NodeName::from("node2"),
            method: "power".into(),
            attempt: 2,
            succeeded: false,
            devices: vec![FenceDeviceRun {
                device: "bmc3".into(),
                agent: "fence_ipmilan".into(),
                code: Some(1),
                output: output.into(),
                duration_ms: 812,
            }],
        }),
        advice: advice.into(),
    });
    status
}

pub(crate) fn cluster(nodes: Vec<NodeStatus>, services: Vec<ServiceStatus>) -> ClusterStatus {
    ClusterStatus {
        cluster: "prod".into(),
        at: Time(1_793_872_800_000),
        local: NodeId(1),
        phase: Phase::Member,
        conf: Some(ConfInForce { version: ConfVersion(42), digest: ConfDigest::from("00") }),
        quorum: Quorum { quorate: true, votes: Some(2), votes_expected: Some(3) },
        coordinator: Some(NodeId(1)),
        locked: false,
        nodes,
        services,
        waits_for_fencing_of: Vec::new(),
    }
}

/// Two nodes up, one down; a started, a disabled and a frozen service.
pub(crate) fn three_nodes() -> ClusterStatus {
    let frozen = ServiceStatus { frozen: true, ..service("vm:guest1", ServiceState::Started, Some("node1"), None) };
    cluster(
        vec![node(1, "node1"), node(2, "node2"), offline(3, "node3")],
        vec![
            service("service:db", ServiceState::Disabled, None, Some("node2")),
            service("service:web", ServiceState::Started, Some("node1"), None),
            frozen,
        ],
    )
}

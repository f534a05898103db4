//! Where the commands of a transcript are typed: a folder that is home and working directory, with an rgmanager behind
//! `rgmanager.sk` that plays a part, or with none.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::{Arc, Mutex};

use shared::conf::{Finding, Place, Severity, digest, load};
use shared::ids::{NodeName, ServiceName, Time};
use shared::placement::{Judgement, Level, Why};
use shared::socket::{Ask, FenceOperation, PutConf, Reply};
use shared::status::{
    Answer, ClusterStatus, Command as Request, Fact, FactKind, FactSeverity, FenceAttempt, FenceDeviceRun, Membership,
    Outcome, Phase, Reason, Refusal, StreamItem, StreamPosition, Subject,
};
use shared::text::{ResultCode, ServiceState};
use shared::why::{Explanation, NodeExplanation, PredictedChange, Prediction, Test, Verdict};

use super::{Command, difference, render};
use crate::fake::{FakeRgmanager, Ran, Say, path_of, three_nodes, with_victim};

/// Files of a stage in which every change is told.
const WATCHED: [&str; 2] = ["cluster.conf", "in_force.conf"];

/// What the rgmanager of a stage has in force, when it has anything.
pub(crate) const IN_FORCE: &str = "in_force.conf";

/// nobody(5).
const NOBODY: u32 = 65534;

pub(crate) struct Stage {
    folder: PathBuf,
    fake: Option<FakeRgmanager>,
    is_denied: bool,
    /// What a transcript says in place of what differs from run to run.
    pub(crate) said_as: Vec<(String, String)>,
    /// Where a command reaches a host, by the word that stands for it.
    pub(crate) typed_as: Vec<(String, String)>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) keeps: Vec<Box<dyn Any>>,
}

impl Stage {
    /// The stage of this name.
    pub(crate) fn named(name: &str) -> Self {
        let playing = |status: ClusterStatus| Self::with(|in_force| part(status, in_force));
        match name {
            "nowhere" => Self::without_daemon(),
            "cluster" => playing(three_nodes()),
            "victim" => {
                let advice = "See whether the fence device 'bmc3' can be reached.";
                playing(with_victim("Connection timed out\n", advice))
            }
            "joining" => {
                let mut status = ClusterStatus { phase: Phase::Joining, coordinator: None, ..three_nodes() };
                status.services.clear();
                status.nodes[..2].iter_mut().for_each(|node| node.member = Membership::Joining);
                playing(status)
            }
            "inquorate" => {
                let mut status = three_nodes();
                status.quorum.quorate = false;
                playing(status)
            }
            "locked" => playing(ClusterStatus { locked: true, ..three_nodes() }),
            "refused by agents" => Self::with(|in_force| judging(part(three_nodes(), in_force))),
            "hung" => Self::with(|_| Box::new(|_| Say::Nothing)),
            "refusing root" => Self::with(|_| Box::new(|_| Say::Reply(Reply::PermissionDenied))),
            "denied" => Self { is_denied: true, ..playing(three_nodes()) },
            other => panic!("there is no stage '{other}'"),
        }
    }

    pub(crate) fn without_daemon() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        Self {
            folder: path,
            fake: None,
            is_denied: false,
            said_as: Vec::new(),
            typed_as: Vec::new(),
            environment: Vec::new(),
            keeps: vec![Box::new(folder)],
        }
    }

    /// The cluster that this host is in.
    pub(crate) fn of_this_host(socket: &str, conf: &str) -> Self {
        let corosync = ("COROSYNC_STATE_DIR", "/var/lib/corosync");
        let environment = [("RGMANAGER_SOCKET", socket), ("CLUSTER_CONF", conf), corosync];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { environment, ..Self::without_daemon() }
    }

    fn with(part: impl FnOnce(Arc<Mutex<PathBuf>>) -> Part) -> Self {
        let in_force = Arc::new(Mutex::new(PathBuf::new()));
        let fake = FakeRgmanager::start(part(Arc::clone(&in_force)));
        let folder = fake.socket().parent().unwrap().to_owned();
        *in_force.lock().unwrap() = folder.join(IN_FORCE);
        Self { folder, fake: Some(fake), ..Self::without_daemon() }
    }

    /// Puts a file into the folder; a program if it begins like one.
    pub(crate) fn write(&mut self, name: &str, text: &str) {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        if text.starts_with("#!") {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Runs the command and tells what came of it.
    pub(crate) fn run(&mut self, command: &Command) -> String {
        let before = self.watched();
        let asked_before = self.fake.as_ref().map_or(0, |fake| fake.asked().len());
        let mut ran = self.spawn(command);
        if let Some(count) = command.head {
            ran.out = ran.out.split_inclusive('\n').take(count).collect();
        }
        let asked: Vec<Ask> = self.fake.iter().flat_map(|fake| fake.asked().into_iter().skip(asked_before)).collect();
        let asked: Vec<String> =
            asked.iter().filter_map(told).map(|told| self.say(&format!("{told}\n")).trim_end().to_owned()).collect();
        let changed: String = self
            .watched()
            .iter()
            .map(|(name, text)| difference::lines(name, before.get(name).map_or("", String::as_str), text))
            .collect();
        let ran = Ran { out: self.say(&ran.out), err: self.say(&ran.err), code: ran.code };
        render(&ran, &asked, &changed)
    }

    fn watched(&self) -> BTreeMap<String, String> {
        let read = |name: &str| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        WATCHED.iter().map(|name| ((*name).to_owned(), read(name))).collect()
    }

    fn spawn(&mut self, command: &Command) -> Ran {
        let words = command.words();
        let folder = self.folder.display().to_string();
        let typed = |word: &String| {
            let word = word.replace("FOLDER", &folder);
            self.typed_as.iter().fold(word, |word, (name, value)| word.replace(name.as_str(), value))
        };
        let mut process = Process::new(path_of(&words[0]));
        process
            .args(words[1..].iter().map(typed))
            .current_dir(&self.folder)
            .env("RGMANAGER_SOCKET", "rgmanager.sk")
            .env("CLUSTER_CONF", "cluster.conf")
            .env("HOME", &self.folder)
            .env("COROSYNC_STATE_DIR", &self.folder)
            .env("TZ", "UTC")
            .env("SUDO_USER", "alice")
            .env("RICCI_FENCE_DIR", self.folder.join("fence"))
            .env_remove("COLUMNS")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let closed = self.is_denied.then(|| Closed::shut(&self.folder, &mut process));
        let mut child = process.spawn().unwrap();
        let typed = command.typed.as_deref().unwrap_or_default();
        // The command may end without reading.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        let ran = match &command.interrupted_after {
            None => finish(child, String::new()),
            Some(text) => interrupt(child, text),
        };
        drop(closed);
        ran
    }

    /// Closes nothing that is open to others: an rgmanager's socket under another name.
    pub(crate) fn show_socket_at(&self, path: &Path) {
        std::os::unix::fs::symlink(self.folder.join("rgmanager.sk"), path).unwrap();
    }

    /// In the words of the transcript.
    fn say(&self, text: &str) -> String {
        let mut said = text.to_owned();
        for (value, name) in &self.said_as {
            said = said.replace(value.as_str(), name);
        }
        said = said.replace(&self.folder.display().to_string(), "(folder)");
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        said = said.replace(&format!(" on {host}\n"), " on (hostname)\n").replace(&format!("({host})"), "(hostname)");
        said = said.replace(env!("CARGO_PKG_VERSION"), "(version)");
        said = said.split_inclusive('\n').map(without_time_kept).map(|line| without_time_taken(&line)).collect();
        said = without_number_of_secret(&said);
        let lines = said.split_inclusive('\n').map(|line| match line.split_once(" @ ") {
            Some((head, time)) if head.starts_with("Cluster Status for ") => {
                // `Thu Nov  5 10:00:00 2026`, as ctime(3) writes it.
                assert_eq!(time.trim_end().len(), 24, "{line}");
                format!("{head} @ (now)\n")
            }
            _ => without_time_joined(line),
        });
        lines.collect()
    }
}

/// `, 12 ms` at the end of a line, and `within 2.0 seconds`.
fn without_time_taken(line: &str) -> String {
    if let Some((head, rest)) = line.split_once("did not answer within ")
        && let Some((_, rest)) = rest.split_once(" seconds")
    {
        return format!("{head}did not answer within (N) seconds{rest}");
    }
    match line.strip_suffix(" ms\n").and_then(|head| head.rsplit_once(", ")) {
        // `GET … 200 OK, 412 bytes, 12 ms`: what a node tells of itself is longer or shorter on other machines.
        Some((head, number)) if number.parse::<u64>().is_ok() => {
            let without_size = head.strip_suffix(" bytes").and_then(|head| head.rsplit_once(", "));
            format!("{}, (N) ms\n", without_size.map_or(head, |(head, _)| head))
        }
        _ => line.to_owned(),
    }
}

/// `.ccs/backup/prod-42-20261105-100000.conf`.
fn without_time_kept(line: &str) -> String {
    const STAMP: usize = "-20261105-100000.conf".len();
    match line.trim_end().len().checked_sub(STAMP) {
        Some(at) if line.contains(".ccs/backup/") => format!("{}-(now).conf\n", &line[..at]),
        _ => line.to_owned(),
    }
}

/// `secret:bmc.passwd.faef6c54`: the last part is drawn anew each time.
fn without_number_of_secret(text: &str) -> String {
    const DIGITS: usize = 8;
    let mut parts = text.split("=secret:");
    let mut said = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| letter.is_whitespace() || ",\"".contains(letter)).unwrap_or(part.len());
        said.push_str(&format!("=secret:{}(random){}", &part[..end - DIGITS], &part[end..]));
    }
    said
}

/// The number of corosync's ring, and in a row of `cman_tool nodes` when the node joined; the columns stay.
fn without_time_joined(line: &str) -> String {
    const JOINED: std::ops::Range<usize> = 18..37;
    if let Some(number) = line.strip_prefix("Cluster Generation: ") {
        assert!(number.trim_end().parse::<u64>().is_ok(), "{line}");
        return "Cluster Generation: (N)\n".to_owned();
    }
    if let Some((head, rest)) = line.split_once(" generation=\"")
        && let Some((number, rest)) = rest.split_once('"')
        && number.parse::<u64>().is_ok_and(|number| number > 0)
    {
        return format!("{head} generation=\"(N)\"{rest}");
    }
    match line.get(JOINED) {
        Some(time) if line.as_bytes().get(7) == Some(&b'M') && time.starts_with("20") => {
            format!("{}(when it joined)   {}", &line[..JOINED.start], &line[JOINED.end..])
        }
        _ => line.to_owned(),
    }
}

/// While it lives, the command's user may not look into the folder.
struct Closed<'a>(&'a Path);

impl<'a> Closed<'a> {
    /// Root reads everything, so that the command becomes somebody else; whoever is not root shuts the folder.
    fn shut(folder: &'a Path, process: &mut Process) -> Self {
        let mode = if rustix::process::geteuid().is_root() {
            process.uid(NOBODY).gid(NOBODY).current_dir("/");
            process.env("RGMANAGER_SOCKET", folder.join("rgmanager.sk"));
            process.env("CLUSTER_CONF", folder.join("cluster.conf"));
            0o700
        } else {
            process.current_dir("/").env("RGMANAGER_SOCKET", folder.join("rgmanager.sk"));
            process.env("CLUSTER_CONF", folder.join("cluster.conf"));
            0o000
        };
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
        Self(folder)
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        std::fs::set_permissions(self.0, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
}

fn finish(child: Child, before: String) -> Ran {
    let output = child.wait_with_output().unwrap();
    let status = output.status;
    Ran {
        out: before + &String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: status.code().unwrap_or_else(|| panic!("ended by signal {:?}", status.signal())),
    }
}

/// Presses Ctrl-C when the text has been printed.
fn interrupt(mut child: Child, text: &str) -> Ran {
    let mut seen = String::new();
    let mut block = [0; 4096];
    while !seen.contains(text) {
        let count = child.stdout.as_mut().unwrap().read(&mut block).unwrap();
        assert_ne!(count, 0, "it ended before it had said {text:?}: {seen}");
        seen.push_str(std::str::from_utf8(&block[..count]).unwrap());
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    finish(child, seen)
}

/// A question as a transcript shows it; `None` if it only looks.
fn told(ask: &Ask) -> Option<String> {
    match ask {
        Ask::Request { request } => {
            Some(format!("request {} by {}", serde_json::to_string(&request.command).unwrap(), request.origin))
        }
        Ask::PutConf { origin, despite_agents: false, .. } => Some(format!("put-conf by {origin}")),
        Ask::PutConf { origin, .. } => Some(format!("put-conf despite agents by {origin}")),
        Ask::FenceNode { node, operation } => {
            Some(format!("{} {node}", serde_json::to_string(operation).unwrap().trim_matches('"')))
        }
        Ask::Leave => Some("leave".to_owned()),
        Ask::Status
        | Ask::Watch { .. }
        | Ask::Await { .. }
        | Ask::Conf
        | Ask::Explain { .. }
        | Ask::ExplainNode { .. }
        | Ask::Predict { .. } => None,
    }
}

pub(crate) type Part = Box<dyn Fn(&Ask) -> Say + Send + Sync>;

fn run(device: &str, agent: &str, code: Option<i32>, output: &str) -> FenceDeviceRun {
    FenceDeviceRun { device: device.into(), agent: agent.into(), code, output: output.into(), duration_ms: 5 }
}

/// An rgmanager that takes every request for what its cluster has, and reports success.
fn part(status: ClusterStatus, in_force: Arc<Mutex<PathBuf>>) -> Part {
    let last = Mutex::new(None::<Request>);
    Box::new(move |ask| {
        let path = in_force.lock().unwrap().clone();
        Say::Reply(match ask {
            Ask::Status => Reply::Status { status: Box::new(status.clone()) },
            Ask::Watch { .. } => Reply::Stream {
                stream: StreamItem::Whole {
                    position: StreamPosition { stream: "s".into(), sequence: 1 },
                    status: Box::new(status.clone()),
                    facts: Vec::new(),
                },
            },
            Ask::Request { request } => {
                let answer = admit(&status, &request.command);
                *last.lock().unwrap() = Some(request.command.clone());
                Reply::Answer { answer }
            }
            Ask::Await { .. } => Reply::Outcome { outcome: outcome(last.lock().unwrap().as_ref()) },
            Ask::Conf => match std::fs::read_to_string(&path) {
                Ok(text) => Reply::Conf { version: version(&text), digest: digest(&text), text },
                Err(_) => Reply::Error { text: "this node has not learnt the configuration in force yet".into() },
            },
            Ask::PutConf { text, .. } => {
                std::fs::write(&path, text).unwrap();
                Reply::PutConf {
                    result: PutConf::Accepted { version: version(text), digest: digest(text), findings: Vec::new() },
                }
            }
            Ask::Explain { service } if status.service(service).is_some() => {
                Reply::Explanation { explanation: Box::new(explanation(service)) }
            }
            Ask::Explain { service } => {
                Reply::Error { text: format!("there is no {service} here, or this node is not a member yet") }
            }
            Ask::ExplainNode { .. } => Reply::Error { text: "no command asks this".into() },
            Ask::Predict { assumption } => Reply::Prediction { prediction: Box::new(prediction(&status, assumption)) },
            Ask::FenceNode { node, operation } => Reply::Fence { attempts: fenced(node, *operation) },
            Ask::Leave => Reply::Done,
        })
    })
}

/// An rgmanager on whose node an agent refuses every version, and can be overruled.
fn judging(part: Part) -> Part {
    Box::new(move |ask| {
        if matches!(ask, Ask::PutConf { despite_agents: false, .. }) {
            let findings = vec![refusal(Severity::Error)];
            return Say::Reply(Reply::PutConf { result: PutConf::Refused { findings } });
        }
        match part(ask) {
            Say::Reply(Reply::PutConf { result: PutConf::Accepted { version, digest, .. } }) => {
                let findings = vec![refusal(Severity::Warning)];
                Say::Reply(Reply::PutConf { result: PutConf::Accepted { version, digest, findings } })
            }
            other => other,
        }
    })
}

fn refusal(severity: Severity) -> Finding {
    let place = Place { line: 12, column: 5, path: "/cluster/rm/service[@name='web']/ip".into() };
    let text =
        "ocf:heartbeat:IPaddr2 refuses ip:10.1.1.9 of service:web (validate-all returned 6, not configured): no device";
    let hint = "correct the parameter; what the agent judges wrongly can be applied despite it";
    Finding { rule: "agent-refuses".into(), severity, place, text: text.into(), hint: hint.into() }
}

fn version(text: &str) -> shared::ids::ConfVersion {
    load(text).conf.map_or_else(Default::default, |conf| conf.version)
}

/// As the engine refuses what cluster.conf does not have.
fn admit(status: &ClusterStatus, command: &Request) -> Answer {
    match command.service() {
        Some(service) if status.service(service).is_none() => {
            Answer::Refused(Refusal { code: ResultCode::NoService, text: format!("cluster.conf has no {service}") })
        }
        _ => Answer::Accepted,
    }
}

fn outcome(command: Option<&Request>) -> Outcome {
    let owner = match command {
        Some(Request::Enable { on, .. }) => on.clone().or(Some(NodeName::from("node1"))),
        Some(Request::Relocate { to, .. }) => to.clone().or(Some(NodeName::from("node2"))),
        _ => None,
    };
    Outcome { code: ResultCode::Success, owner, text: String::new() }
}

fn explanation(service: &ServiceName) -> Explanation {
    let best = Judgement { level: Level::Best, why: Why::NoDomain };
    let node = |name: &str, verdict, services| NodeExplanation {
        node: NodeName::from(name),
        verdict,
        tests: vec![Test::Domain { judgement: best }, Test::Load { services }],
    };
    Explanation {
        service: service.clone(),
        state: ServiceState::Started,
        owner: Some(NodeName::from("node1")),
        reason: Reason::Autostart,
        tests: vec![Test::Quorate { quorate: Some(true), votes: Some(2), votes_expected: Some(3) }],
        nodes: vec![node("node1", Verdict::Owner, 1), node("node2", Verdict::Candidate { rank: 1 }, 0)],
    }
}

fn prediction(status: &ClusterStatus, assumption: &shared::why::Assumption) -> Prediction {
    use shared::why::Assumption;
    let nothing = Prediction { refused: None, steps: Vec::new(), changes: Vec::new() };
    let refusal = match assumption {
        Assumption::NodeLost { node } => {
            let is_member = status.node(node).is_some_and(|node| node.member == Membership::Member);
            let text = format!("{node} is not a member of the cluster now");
            (!is_member).then_some(Refusal { code: ResultCode::Failure, text })
        }
        Assumption::Request { command } => match admit(status, command) {
            Answer::Refused(refusal) => Some(refusal),
            Answer::Accepted => None,
        },
        Assumption::Conf { .. } => None,
    };
    if refusal.is_some() {
        return Prediction { refused: refusal, ..nothing };
    }
    let step = |text: &str, reason| Fact {
        at: status.at,
        subject: Subject::Cluster,
        severity: FactSeverity::Info,
        kind: FactKind::ClusterFormed,
        text: text.to_owned(),
        reason,
    };
    let (node1, node2) = (NodeName::from("node1"), NodeName::from("node2"));
    let lost = Reason::NodeLost { node: node1.clone() };
    let mut changes = vec![PredictedChange {
        service: ServiceName::parse("web"),
        from: (ServiceState::Started, Some(node1.clone())),
        to: (ServiceState::Started, Some(node2)),
        reason: lost.clone(),
    }];
    if matches!(assumption, Assumption::NodeLost { .. }) {
        changes.push(PredictedChange {
            service: ServiceName::parse("vm:guest1"),
            from: (ServiceState::Started, Some(node1)),
            to: (ServiceState::Stopped, None),
            reason: lost.clone(),
        });
    }
    let steps = vec![step("service:web stops on node1", Some(lost)), step("service:web starts on node2", None)];
    Prediction { refused: None, steps, changes }
}

fn fenced(node: &NodeName, operation: FenceOperation) -> Vec<FenceAttempt> {
    if node.as_str() == "node3" {
        return Vec::new();
    }
    let method = if operation == FenceOperation::Unfence { "unfence" } else { "power" };
    vec![FenceAttempt {
        at: Time(0),
        by: NodeName::from("node1"),
        method: method.into(),
        attempt: 1,
        succeeded: true,
        devices: vec![run("psu", "fence_apc", Some(0), "")],
    }]
}

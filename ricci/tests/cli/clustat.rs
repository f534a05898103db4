//! `clustat` as a program: every option, against a control socket that answers, refuses, hangs or is not there.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use crate::fake::{FakeRgmanager, Ran, Say, run, three_nodes};
use shared::ids::{NodeId, NodeName, RequestId, ResourceName, Time};
use shared::socket::{Ask, Reply};
use shared::status::{
    ClusterStatus, Command, Failure, FenceOutcome, FenceProof, FenceVerdict, FencedHow, FencingStatus, FencingStep,
    Phase, RequestStatus, ResourceState, ResourceStatus,
};
use shared::watch::{Source, Watch};

const TABLE_HEAD: &str = " Member Name                             ID   Status\n";

fn without_daemon(arguments: &[&str]) -> Ran {
    run("clustat", arguments, Path::new("/nonexistent/rgmanager.sk"), "")
}

#[test]
fn the_plain_call_shows_the_whole_cluster() {
    let ran = FakeRgmanager::with_status(three_nodes()).run("clustat", &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("Cluster Status for prod @ "), "{}", ran.out);
    let (_, after_date) = ran.out.split_once('\n').unwrap();
    assert!(after_date.starts_with(&format!("Member Status: Quorate\n\n{TABLE_HEAD}")));
    assert!(after_date.ends_with(" vm:guest1                      node1                          started    [Z]\n"));
}

#[test]
fn xml_and_fast_can_be_bundled_as_ricci_did() {
    let rgmanager = FakeRgmanager::with_status(three_nodes());
    let ran = rgmanager.run("clustat", &["-fx"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("<?xml version=\"1.0\"?>\n<clustat version=\"4.1.1\">\n  <cluster name=\"prod\""));
    assert_eq!(rgmanager.run("clustat", &["-o", "xml"]).out, ran.out);
}

#[test]
fn one_member_one_service_and_their_exit_codes() {
    let rgmanager = FakeRgmanager::with_status(three_nodes());
    let rule = " ------ ----                             ---- ------\n";
    rgmanager
        .run("clustat", &["-m", "node2"])
        .expect(0, &format!("{TABLE_HEAD}{rule} node2                                       2 Online, rgmanager\n"));
    rgmanager
        .run("clustat", &["-mnode3"])
        .expect(1, &format!("{TABLE_HEAD}{rule} node3                                       3 Offline\n"));
    for (name, code) in [("web", 0), ("service:web", 0), ("db", 119), ("vm:guest1", 0)] {
        let ran = rgmanager.run("clustat", &["-s", name]);
        assert_eq!((ran.code, ran.out.lines().count()), (code, 3), "{name}");
    }
}

#[test]
fn an_unknown_name_is_said_with_the_closest_one() {
    let rgmanager = FakeRgmanager::with_status(three_nodes());
    let member = rgmanager.run("clustat", &["-m", "noed2"]);
    assert_eq!(
        (member.code, member.err.as_str()),
        (255, "clustat: there is no member 'noed2'; closest match: 'node2'\n")
    );
    let service = rgmanager.run("clustat", &["-s", "guest1"]);
    assert_eq!(
        (service.code, service.err.as_str()),
        (255, "clustat: there is no service 'service:guest1'; closest match: 'vm:guest1'\n")
    );
    let xml = rgmanager.run("clustat", &["-x", "-s", "wbe"]);
    assert_eq!(
        (xml.code, xml.out.as_str()),
        (0, "<?xml version=\"1.0\"?>\n<clustat version=\"4.1.1\">\n  <groups/>\n</clustat>\n")
    );
}

#[test]
fn the_long_form_shows_blocks() {
    let ran = FakeRgmanager::with_status(three_nodes()).run("clustat", &["-l"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("\nService Name      : service:db\n  Current State   : disabled (119)\n"));
}

#[test]
fn quorum_and_id_alone() {
    let rgmanager = FakeRgmanager::with_status(three_nodes());
    rgmanager.run("clustat", &["-Q"]).expect(0, "");
    rgmanager.run("clustat", &["-I"]).expect(0, "0x00000001\n");
    let mut inquorate = three_nodes();
    inquorate.quorum.quorate = false;
    let rgmanager = FakeRgmanager::with_status(inquorate);
    rgmanager.run("clustat", &["-Q"]).expect(1, "");
    assert!(rgmanager.run("clustat", &[]).out.contains("\nMember Status: Inquorate\n"));
}

#[test]
fn json_is_the_status_itself() {
    let rgmanager = FakeRgmanager::with_status(three_nodes());
    let ran = rgmanager.run("clustat", &["-o", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(serde_json::from_str::<ClusterStatus>(&ran.out).unwrap(), three_nodes());
    let one: ClusterStatus = serde_json::from_str(&rgmanager.run("clustat", &["-ojson", "-s", "db"]).out).unwrap();
    assert_eq!(one.services.len(), 1);
    let ran = rgmanager.run("clustat", &["-o", "yaml"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "clustat: there is no output format 'yaml'; use text, xml or json\n"));
}

/// `nodes[].fencing` and what is in it, of every object of the JSON.
fn fields(value: &serde_json::Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                found.insert(path.clone());
                fields(value, &path, found);
            }
        }
        serde_json::Value::Array(values) => {
            for value in values {
                fields(value, &format!("{path}[]"), found);
            }
        }
        _ => {}
    }
}

/// The fields that the manual page promises: `.It Li nodes[].id , nodes[].name`, and below an object those of it.
fn promised() -> BTreeSet<String> {
    let page = include_str!("../../../docs/man/clustat.8");
    let section = page.split(".Ss The JSON format").nth(1).unwrap().split(".El").next().unwrap();
    let mut promised = BTreeSet::new();
    let mut object = String::new();
    for line in section.split(".Bl").nth(1).unwrap().lines() {
        let words = |line: &str| -> Vec<String> {
            let words = line.split_whitespace().filter(|word| !matches!(*word, "," | ";" | "."));
            words.map(str::to_owned).collect()
        };
        if let Some(heads) = line.strip_prefix(".It Li ") {
            promised.extend(words(heads));
            object = words(heads).pop().unwrap();
        } else if let Some(inner) = line.strip_prefix(".Li ") {
            // Words of `phase` and `member` are values, not fields.
            if !matches!(object.as_str(), "phase" | "nodes[].member") {
                promised.extend(words(inner).iter().map(|word| format!("{object}.{word}")));
            }
        }
    }
    promised
}

#[test]
fn the_manual_page_promises_every_field_of_the_json_and_no_other() {
    let mut found = BTreeSet::new();
    fields(&serde_json::to_value(full_status()).unwrap(), "", &mut found);
    let promised = promised();
    // What is in a reason or an order depends on its code; an attempt is the same wherever it stands.
    let open =
        ["services[].reason.", "services[].request.command.", "nodes[].fencing.last.", "nodes[].last_fenced.how."];
    // Objects whose fields have names of their own, and the two that are the claims of an agent.
    let covered = ["conf", "quorum", "nodes", "services", "nodes[].last_fenced.how"];
    found.retain(|path| !open.iter().any(|open| path.starts_with(open)) && !covered.contains(&path.as_str()));
    let promised: BTreeSet<String> = promised.iter().map(|path| path.trim_end_matches("[]").to_owned()).collect();
    let promised: BTreeSet<String> = promised
        .into_iter()
        .filter(|path| !open.iter().any(|open| path.starts_with(open)) && !covered.contains(&path.as_str()))
        .collect();
    assert_eq!(promised, found, "left: the manual page, right: clustat -o json");
}

/// A status in which everything that can be told is told.
fn full_status() -> ClusterStatus {
    let mut status = three_nodes();
    let at = Time(1_793_872_800_000);
    let name = |text: &str| NodeName::from(text);
    status.coordinator = Some(NodeId(1));
    status.waits_for_fencing_of = vec![name("node3")];
    let node = &mut status.nodes[2];
    node.fencing = Some(FencingStatus {
        since: at,
        attempt: 1,
        step: FencingStep::Waiting,
        by: Some(name("node1")),
        method: Some("power".into()),
        last: None,
        advice: "Wait.".into(),
    });
    let how = FencedHow::Agent { by: name("node1"), method: "power".into() };
    node.last_fenced = Some(FenceOutcome { at, how, witnessed_gone: true, witnessed_reboot: Some(true) });
    let proof = FenceProof { method: "power".into(), verdict: FenceVerdict::Proven, at: Some(at), by: None };
    node.fence_proofs = vec![proof];
    node.watches = vec![Watch { source: Source::Processes, missing: None }];
    let service = &mut status.services[1];
    service.request = Some(RequestStatus {
        id: RequestId::from("1"),
        command: Command::Restart { service: service.name.clone() },
        origin: "alice".into(),
        since: at,
    });
    let resource = ResourceName("ip:10.0.0.1".into());
    service.failure = Some(Failure {
        at,
        node: name("node1"),
        resource: resource.clone(),
        operation: "start".into(),
        code: Some(1),
        output: String::new(),
    });
    service.resources = vec![ResourceStatus { name: resource, depth: 0, state: ResourceState::Started, at }];
    status
}

/// What a terminal gets.
fn on_terminal(rgmanager: &FakeRgmanager, arguments: &str, environment: &[(&str, &str)]) -> String {
    let output = Process::new("script")
        .args(["-qec", &format!("stty cols 80 -onlcr; {} {arguments}", env!("CARGO_BIN_EXE_clustat")), "/dev/null"])
        .env("RGMANAGER_SOCKET", rgmanager.socket())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .env_remove("COLUMNS")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn only_a_terminal_is_coloured_and_only_if_nobody_minds() {
    let rgmanager = FakeRgmanager::with_status(three_nodes());
    let offline = "    3 \x1b[31mOffline\x1b[m\n";
    assert!(on_terminal(&rgmanager, "", &[]).contains(offline));
    assert!(on_terminal(&rgmanager, "", &[("NO_COLOR", "")]).contains(offline), "empty means not set");
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert!(!on_terminal(&rgmanager, "", &[environment]).contains('\x1b'), "{environment:?}");
    }
    assert!(!rgmanager.run("clustat", &[]).out.contains('\x1b'));
}

#[test]
fn on_a_terminal_too_data_goes_to_stdout_and_what_is_said_of_it_to_stderr() {
    let rgmanager = FakeRgmanager::with_status(three_nodes());
    let said = rgmanager.socket().with_file_name("said");
    let drawn = on_terminal(&rgmanager, &format!("-s wbe 2>{}", said.display()), &[]);
    assert!(drawn.starts_with(" Service Name ") && drawn.lines().count() == 2, "{drawn}");
    let sentence = "clustat: there is no service 'service:wbe'; closest match: 'service:web'\n";
    assert_eq!(std::fs::read_to_string(said).unwrap(), sentence);
}

#[test]
fn xml_tells_the_number_of_the_ring_that_corosync_has_stored() {
    let rgmanager = FakeRgmanager::with_status(three_nodes());
    let folder = rgmanager.socket().parent().unwrap().to_owned();
    let told = || rgmanager.run("clustat", &["-x"]).out;
    assert!(told().contains(" generation=\"0\"/>"), "nothing is stored");
    std::fs::write(folder.join("ringid_1"), 4711_u64.to_ne_bytes()).unwrap();
    assert!(told().contains(" generation=\"4711\"/>"));
}

#[test]
fn version_and_help_need_no_cluster() {
    without_daemon(&["-v"]).expect(0, &format!("clustat version {}\n", env!("CARGO_PKG_VERSION")));
    let help = without_daemon(&["-h"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    assert!(help.out.starts_with("usage: clustat [options]\n"));
    let unknown = without_daemon(&["-z"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (0, ""));
    assert!(unknown.err.starts_with("clustat: invalid option -- 'z'\nusage: clustat [options]\n"), "{}", unknown.err);
}

#[test]
fn an_interval_before_xml_is_refused() {
    let ran = without_daemon(&["-i", "2", "-x"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "Error: Options '-i' and '-x' are mutually exclusive\n"));
}

#[test]
fn without_a_cluster_every_form_says_so_and_fails() {
    for arguments in [&[][..], &["-x"], &["-l"], &["-m", "node1"], &["-s", "web"], &["-Q"], &["-I"], &["-i", "1"]] {
        let ran = without_daemon(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{arguments:?}");
        assert_eq!(
            ran.err,
            "Could not connect to CMAN: Connection refused\n\
             The cluster is not running on this node (systemctl start rgmanager starts it).\n",
            "{arguments:?}"
        );
    }
}

#[test]
fn a_hung_daemon_costs_two_seconds_and_is_named() {
    let hung = FakeRgmanager::start(|_| Say::Nothing);
    let begun = Instant::now();
    let ran = hung.run("clustat", &["-s", "web"]);
    // Two seconds are the deadline; the rest is a busy machine's. Nobody would answer without it.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("Timed out waiting for a response from Resource Group Manager\n"), "{}", ran.err);
}

#[test]
fn a_daemon_that_does_not_even_accept_costs_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rgmanager.sk");
    let _listener = UnixListener::bind(&path).unwrap();
    // Fill its queue, as a stopped daemon's fills: from then on connecting itself waits.
    let waiting: Vec<_> = (0..5000)
        .map_while(|_| {
            let socket = rustix::net::socket_with(
                rustix::net::AddressFamily::UNIX,
                rustix::net::SocketType::STREAM,
                rustix::net::SocketFlags::NONBLOCK,
                None,
            )
            .unwrap();
            rustix::net::connect(&socket, &rustix::net::SocketAddrUnix::new(&path).unwrap()).ok().map(|()| socket)
        })
        .collect();
    assert!(waiting.len() < 5000, "the queue never filled");
    let begun = Instant::now();
    let ran = run("clustat", &[], &path, "");
    // Two seconds are the deadline; the rest is a busy machine's. Nobody would answer without it.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(ran.err.contains("Timed out waiting for a response from Resource Group Manager\n"), "{}", ran.err);
}

#[test]
fn answers_that_are_no_status_are_told_apart() {
    for (say, expected) in [
        (Say::Reply(Reply::PermissionDenied), "Permission denied: only root may see the states of services\n"),
        (
            Say::Reply(Reply::Error { text: "corosync is gone".into() }),
            "Service states unavailable: corosync is gone\n",
        ),
        (
            Say::Raw("{\"reply\":\"nonsense\"}"),
            "Service states unavailable: rgmanager answered something this command cannot read",
        ),
        (Say::HangUp, "Service states unavailable: the connection to rgmanager broke: unexpected end of file\n"),
    ] {
        let say = std::sync::Mutex::new(Some(say));
        let rgmanager = FakeRgmanager::start(move |_| say.lock().unwrap().take().unwrap());
        let ran = rgmanager.run("clustat", &["-x"]);
        assert!(ran.err.contains(expected), "{}", ran.err);
        assert_eq!(ran.code, 1, "no corosync runs here either");
    }
}

#[test]
fn a_daemon_that_has_not_joined_yet_is_not_believed_about_services() {
    let mut joining = three_nodes();
    joining.phase = Phase::Joining;
    joining.services.clear();
    let rgmanager = FakeRgmanager::with_status(joining);
    let ran = rgmanager.run("clustat", &[]);
    assert_eq!(ran.code, 0);
    assert!(!ran.out.contains("Service Name"));
    assert!(ran.err.starts_with("Service states unavailable: rgmanager on this node is joining"), "{}", ran.err);
    assert_eq!(rgmanager.run("clustat", &["-s", "web"]).code, 255);
    assert_eq!(rgmanager.run("clustat", &["-o", "json"]).code, 1);
    assert!(rgmanager.run("clustat", &["-x"]).out.contains("groupmember=\"0\""));
}

#[test]
fn the_repeated_form_shows_again_and_ends_well_when_interrupted() {
    let rgmanager = FakeRgmanager::with_status(three_nodes());
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut child = Process::new(env!("CARGO_BIN_EXE_clustat"))
            .args(["-i", "1"])
            .env("RGMANAGER_SOCKET", rgmanager.socket())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let (mut seen, mut block) = (String::new(), [0; 4096]);
        while seen.matches("Cluster Status for").count() < 2 {
            let count = out.read(&mut block).unwrap();
            assert_ne!(count, 0, "ended by itself");
            seen.push_str(std::str::from_utf8(&block[..count]).unwrap());
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert!(rgmanager.asked().iter().all(|ask| *ask == Ask::Status));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let rgmanager = FakeRgmanager::with_status(three_nodes());
    let mut child = Process::new(env!("CARGO_BIN_EXE_clustat"))
        .env("RGMANAGER_SOCKET", rgmanager.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn a_full_disk_is_not_silent() {
    let rgmanager = FakeRgmanager::with_status(three_nodes());
    let output = Process::new(env!("CARGO_BIN_EXE_clustat"))
        .env("RGMANAGER_SOCKET", rgmanager.socket())
        .stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("cannot write to standard output: "));
}

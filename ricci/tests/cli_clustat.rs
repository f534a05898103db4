//! `clustat` as a program: every option, against a control socket that answers, refuses, hangs or is not there.

#[expect(dead_code, clippy::unwrap_used, reason = "a fixture: each test program uses its own part of it")]
mod cli_fake;

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use cli_fake::{FakeRgmanager, Ran, Say, run, three_nodes};
use shared::socket::{Ask, Reply};
use shared::status::{ClusterStatus, Phase};

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
    assert!(begun.elapsed() < Duration::from_millis(2300), "{:?}", begun.elapsed());
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
    assert!(begun.elapsed() < Duration::from_millis(2300), "{:?}", begun.elapsed());
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

//! `clusvcadm` and `fence_ack_manual` as programs: each letter, the request it makes, the words and the exit code.

use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fake::{FakeRgmanager, Ran, Say, run, three_nodes, with_victim};
use shared::ids::NodeName;
use shared::ids::ServiceName;
use shared::socket::{Ask, Reply};
use shared::status::{Answer, ClusterStatus, Command, Outcome, Refusal, Request, StreamItem, StreamPosition};
use shared::text::{ResultCode, ServiceState};

fn web() -> ServiceName {
    ServiceName::from("service:web")
}

fn node(name: &str) -> NodeName {
    NodeName::from(name)
}

fn outcome(code: ResultCode, owner: Option<&str>, text: &str) -> Say {
    Say::Reply(Reply::Outcome { outcome: Outcome { code, owner: owner.map(node), text: text.into() } })
}

fn status_reply(status: &ClusterStatus) -> Say {
    Say::Reply(Reply::Status { status: Box::new(status.clone()) })
}

/// Accepts every request and ends it like this.
fn accepting(code: ResultCode, owner: Option<&'static str>) -> FakeRgmanager {
    FakeRgmanager::start(move |ask| match ask {
        Ask::Status => status_reply(&three_nodes()),
        Ask::Request { .. } => Say::Reply(Reply::Answer { answer: Answer::Accepted }),
        Ask::Await { .. } => outcome(code, owner, ""),
        other => panic!("{other:?}"),
    })
}

fn refusing(code: ResultCode, text: &'static str) -> FakeRgmanager {
    FakeRgmanager::start(move |ask| match ask {
        Ask::Status => status_reply(&three_nodes()),
        Ask::Request { .. } => {
            Say::Reply(Reply::Answer { answer: Answer::Refused(Refusal { code, text: text.into() }) })
        }
        other => panic!("{other:?}"),
    })
}

fn requests(rgmanager: &FakeRgmanager) -> Vec<Request> {
    let asked = rgmanager.asked();
    asked.into_iter().filter_map(|ask| if let Ask::Request { request } = ask { Some(request) } else { None }).collect()
}

#[test]
fn each_letter_makes_its_request_and_says_its_words() {
    let enable = |on: Option<&str>, by_domain| Command::Enable { service: web(), on: on.map(node), by_domain };
    let relocate = |to: Option<&str>| Command::Relocate { service: web(), to: to.map(node) };
    let running = "service:web is now running on node2\n";
    let cases: Vec<(&[&str], Command, &str, &str)> = vec![
        (&["-e", "web"], enable(None, false), "Local machine trying to enable service:web...", running),
        (&["-e", "web", "-F"], enable(None, true), "Local machine trying to enable service:web...", running),
        (
            &["-e", "web", "-m", "node2"],
            enable(Some("node2"), false),
            "Member node2 trying to enable service:web...",
            running,
        ),
        (&["-d", "web"], Command::Disable { service: web() }, "Local machine disabling service:web...", ""),
        (
            &["-d", "web", "-n", "node2"],
            Command::Disable { service: web() },
            "Member node2 disabling service:web...",
            "",
        ),
        (&["-s", "web"], Command::Stop { service: web() }, "Local machine stopping service:web...", ""),
        (&["-R", "web"], Command::Restart { service: web() }, "Local machine trying to restart service:web...", ""),
        (&["-r", "web"], relocate(None), "Trying to relocate service:web...", running),
        (&["-r", "web", "-m", "node2"], relocate(Some("node2")), "Trying to relocate service:web to node2...", running),
        (&["-r", "web", "node2"], relocate(Some("node2")), "Trying to relocate service:web to node2...", running),
        (
            &["-M", "web", "-m", "node2"],
            Command::Migrate { service: web(), to: node("node2") },
            "Trying to migrate service:web to node2...",
            "",
        ),
        (&["-Z", "web"], Command::Freeze { service: web() }, "Local machine freezing service:web...", ""),
        (&["-U", "web"], Command::Unfreeze { service: web() }, "Local machine unfreezing service:web...", ""),
        (&["-c", "web"], Command::Convalesce { service: web() }, "Local machine convalescing service:web...", ""),
    ];
    let rgmanager = accepting(ResultCode::Success, Some("node2"));
    for (arguments, command, first, second) in &cases {
        rgmanager.run("clusvcadm", arguments).expect(0, &format!("{first}Success\n{second}"));
        let request = requests(&rgmanager).pop().unwrap();
        assert_eq!((&request.command, request.origin.as_str()), (command, "alice@node1"), "{arguments:?}");
    }
    let made = requests(&rgmanager);
    assert_eq!(made.iter().map(|request| &request.id).collect::<std::collections::BTreeSet<_>>().len(), cases.len());
    let awaited =
        rgmanager.asked().into_iter().filter_map(|ask| if let Ask::Await { id } = ask { Some(id) } else { None });
    assert!(awaited.eq(made.into_iter().map(|request| request.id)), "each waits for its own request");
}

#[test]
fn every_result_has_its_text_and_exit_code() {
    use ResultCode::*;
    for (code, exit, text) in [
        (Failure, 255, "Failure"),
        (Aborted, 254, "Aborted; service failed"),
        (NotMaster, 253, "Service not mastered locally"),
        (NoService, 252, "Service does not exist"),
        (Deadlock, 251, "Operation would cause a deadlock"),
        (TryAgain, 250, "Temporary failure; try again"),
        (Dependency, 249, "Operation violates dependency rule"),
        (InvalidOperation, 248, "Invalid operation for resource"),
        (NeedsQuorum, 247, "Operation requires quorum"),
        (AlreadyRunning, 0, "Service is already running"),
        (Frozen, 245, "Failure: Service is frozen"),
        (NodeDead, 244, "Target node dead / nonexistent"),
        (FencingPending, 243, "Fencing operation pending; try again later"),
        (ScriptError, 242, "S/Lang Script Error"),
        (NotRunnable, 241, "Service not runnable"),
        (Exclusive, 240, "Service not runnable: cannot run exclusive"),
        (OriginalOwner, 239, "Failed; service running on original owner"),
        (PermissionDenied, 238, "Permission denied"),
        (Warning, 237, "Warning; see system logs"),
    ] {
        let line = format!("Local machine trying to enable service:web...{text}\n");
        accepting(code, Some("node1")).run("clusvcadm", &["-e", "web"]).expect(exit, &line);
        let ran = refusing(code, "this is why").run("clusvcadm", &["-e", "web"]);
        assert_eq!((ran.code, ran.out.as_str()), (exit, line.as_str()));
        assert!(ran.err.starts_with("this is why\n"), "{}", ran.err);
    }
}

#[test]
fn a_service_that_ends_elsewhere_than_asked_is_a_warning() {
    let rgmanager = accepting(ResultCode::Success, Some("node1"));
    rgmanager
        .run("clusvcadm", &["-r", "web", "-m", "node2"])
        .expect(0, "Trying to relocate service:web to node2...Success\nWarning: service:web is now running on node1\n");
    rgmanager
        .run("clusvcadm", &["-r", "web"])
        .expect(0, "Trying to relocate service:web...Success\nservice:web is now running on node1\n");
}

#[test]
fn an_unknown_member_is_refused_with_the_closest_match_named() {
    for (typed, second) in [
        ("node", "More than one possible match for 'node' found"),
        ("nod2", "Closest match: 'node2'"),
        ("mailhub", "No matches for 'mailhub' found"),
    ] {
        let rgmanager = accepting(ResultCode::Success, None);
        let ran = rgmanager.run("clusvcadm", &["-r", "web", "-m", typed]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert_eq!(
            ran.err,
            format!(
                "'{typed}' not in membership list\n{second}\nNothing was done; give the full name of the member.\n"
            )
        );
        assert_eq!(requests(&rgmanager), []);
    }
}

#[test]
fn an_unknown_service_is_named_with_its_closest_match() {
    let ran = refusing(ResultCode::NoService, "cluster.conf has no service:wbe").run("clusvcadm", &["-d", "wbe"]);
    assert_eq!((ran.code, ran.out.as_str()), (252, "Local machine disabling service:wbe...Service does not exist\n"));
    assert_eq!(ran.err, "cluster.conf has no service:wbe\nClosest match: 'service:web'\n");
}

#[test]
fn a_migration_to_a_node_that_is_down_is_not_even_asked_for() {
    let rgmanager = accepting(ResultCode::Success, None);
    let ran = rgmanager.run("clusvcadm", &["-M", "vm:guest1", "-m", "node3"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "'node3' is offline\n"));
    assert_eq!(requests(&rgmanager), []);
}

#[test]
fn locks_are_set_taken_off_and_asked_for() {
    let rgmanager = accepting(ResultCode::Success, None);
    rgmanager.run("clusvcadm", &["-l"]).expect(0, "Resource groups locked\n");
    rgmanager.run("clusvcadm", &["-u"]).expect(0, "Resource groups unlocked\n");
    rgmanager.run("clusvcadm", &["-ql"]).expect(0, "");
    let commands: Vec<Command> = requests(&rgmanager).into_iter().map(|request| request.command).collect();
    assert_eq!(commands, [Command::Lock, Command::Unlock, Command::Lock]);
    rgmanager.run("clusvcadm", &["-S"]).expect(0, "Resource groups unlocked\n");
    let locked = ClusterStatus { locked: true, ..three_nodes() };
    FakeRgmanager::with_status(locked).run("clusvcadm", &["-S"]).expect(0, "Resource groups locked\n");
    let refused = refusing(ResultCode::NeedsQuorum, "two of three nodes are missing");
    for (letter, first) in [("-l", "Lock operation failed"), ("-u", "Unlock operation failed")] {
        let ran = refused.run("clusvcadm", &[letter]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert_eq!(ran.err, format!("{first}: Operation requires quorum. two of three nodes are missing\n"));
    }
}

#[test]
fn a_node_is_put_in_standby_and_taken_out_of_it() {
    let rgmanager = accepting(ResultCode::Success, None);
    rgmanager.run("clusvcadm", &["--standby", "node2"]).expect(0, "node2 is in standby\n");
    rgmanager.run("clusvcadm", &["--unstandby=node2"]).expect(0, "node2 is online\n");
    let commands: Vec<Command> = requests(&rgmanager).into_iter().map(|request| request.command).collect();
    let node = NodeName::from("node2");
    assert_eq!(commands, [Command::Standby { node: node.clone() }, Command::Unstandby { node }]);
    let ran = rgmanager.run("clusvcadm", &["--standby", "noed2"]);
    let sentence = "Standby operation failed: 'noed2' not in membership list; closest match: 'node2'\n";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (1, "", sentence));
    let ran =
        refusing(ResultCode::NeedsQuorum, "two of three nodes are missing").run("clusvcadm", &["--standby", "node2"]);
    let sentence = "Standby operation failed: Operation requires quorum. two of three nodes are missing\n";
    assert_eq!((ran.code, ran.err.as_str()), (1, sentence));
}

#[test]
fn without_waiting_the_answer_is_accepted_and_nobody_asks_for_the_outcome() {
    let rgmanager = accepting(ResultCode::Failure, None);
    let ran = rgmanager.run("clusvcadm", &["-r", "web", "node2", "--no-wait"]);
    ran.expect(0, "Trying to relocate service:web to node2...Accepted\n");
    assert!(!rgmanager.asked().iter().any(|ask| matches!(ask, Ask::Await { .. })));
    let ran = refusing(ResultCode::Frozen, "it is frozen").run("clusvcadm", &["--no-wait", "-d", "web"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (245, "Local machine disabling service:web...Failure: Service is frozen\n")
    );
    let ran = accepting(ResultCode::Success, None).run("clusvcadm", &["--no-wait", "-d", "web", "--wait"]);
    ran.expect(0, "Local machine disabling service:web...Success\n");
}

#[test]
fn json_is_one_object_with_what_came_of_it() {
    let told = |ran: Ran| -> (i32, serde_json::Value) { (ran.code, serde_json::from_str(&ran.out).unwrap()) };
    let rgmanager = accepting(ResultCode::OriginalOwner, Some("node1"));
    let (code, object) = told(rgmanager.run("clusvcadm", &["-r", "web", "-o", "json"]));
    let request = &requests(&rgmanager)[0].id;
    let expected = serde_json::json!({
        "request": request, "command": {"command": "relocate", "service": "service:web", "to": null}, "accepted": true,
        "code": -17, "result": "Failed; service running on original owner", "owner": "node1", "explanation": "",
    });
    assert_eq!((code, &object), (239, &expected));
    let (code, object) = told(rgmanager.run("clusvcadm", &["-o", "json", "--no-wait", "-d", "web"]));
    assert_eq!((code, &object["accepted"], &object["result"]), (0, &true.into(), &serde_json::Value::Null));
    let (code, object) = told(refusing(ResultCode::NoService, "none").run("clusvcadm", &["-o", "json", "-d", "web"]));
    assert_eq!((code, &object["accepted"], &object["code"]), (252, &false.into(), &(-4).into()));
    assert_eq!(object["explanation"], "none");
    let locked = ClusterStatus { locked: true, ..three_nodes() };
    FakeRgmanager::with_status(locked).run("clusvcadm", &["-o", "json", "-S"]).expect(0, "{\n  \"locked\": true\n}\n");
    let ran = without_daemon(&["-o", "yaml", "-e", "web"]);
    let sentence = "clusvcadm: there is no output format 'yaml'; use text or json\n";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (1, "", sentence));
}

#[test]
fn a_terminal_sees_the_step_while_it_waits_and_only_the_result_afterwards() {
    let (drawn, is_drawn) = std::sync::mpsc::channel::<()>();
    let is_drawn = Mutex::new(is_drawn);
    let mut stopping = three_nodes();
    stopping.services[1].state = ServiceState::Stopping;
    let rgmanager = FakeRgmanager::start(move |ask| match ask {
        Ask::Status => status_reply(&three_nodes()),
        Ask::Request { .. } => Say::Reply(Reply::Answer { answer: Answer::Accepted }),
        Ask::Watch { .. } => {
            let position = StreamPosition { stream: "s".into(), sequence: 1 };
            let (status, facts) = (Box::new(stopping.clone()), Vec::new());
            Say::Reply(Reply::Stream { stream: StreamItem::Whole { position, status, facts } })
        }
        _ => {
            is_drawn.lock().unwrap().recv().unwrap();
            outcome(ResultCode::Success, Some("node2"), "")
        }
    });
    let line = format!("stty cols 80; {} -r web node2", env!("CARGO_BIN_EXE_clusvcadm"));
    let mut terminal = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("RGMANAGER_SOCKET", rgmanager.socket())
        .env_remove("COLUMNS")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = terminal.stdout.take().unwrap();
    let (mut written, mut block) = (String::new(), [0; 1024]);
    let mut told = false;
    loop {
        let count = out.read(&mut block).unwrap();
        if count == 0 {
            break;
        }
        written.push_str(std::str::from_utf8(&block[..count]).unwrap());
        if !told && written.contains("stopping on node1") {
            drawn.send(()).unwrap();
            told = true;
        }
    }
    assert!(terminal.wait().unwrap().success());
    let opening = "Trying to relocate service:web to node2...\x1b7\x1b8\x1b[K stopping on node1\x1b8\x1b[K";
    let result = "Success\r\nservice:web is now running on node2\r\n";
    assert_eq!(written, format!("{opening}{result}"));
}

#[test]
fn quiet_leaves_only_the_exit_code() {
    accepting(ResultCode::Success, Some("node1")).run("clusvcadm", &["-q", "-e", "web"]).expect(0, "");
    let ran = refusing(ResultCode::Frozen, "unfreeze it first").run("clusvcadm", &["-qd", "web"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (245, "", "unfreeze it first\n"));
}

fn without_daemon(arguments: &[&str]) -> Ran {
    run("clusvcadm", arguments, Path::new("/nonexistent/rgmanager.sk"), "")
}

#[test]
fn arguments_that_make_no_sense_exit_with_one() {
    for arguments in [&["-h"][..], &["-?"], &[], &["-m", "node1"]] {
        let ran = without_daemon(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{arguments:?}");
        assert!(ran.out.starts_with("usage: clusvcadm [action] [options]\n"));
    }
    let ran = without_daemon(&["-k"]);
    assert!(ran.code == 1 && ran.err.starts_with("clusvcadm: invalid option -- 'k'\nusage: "), "{ran:?}");
    let ran = without_daemon(&["-F", "-m", "node1", "-e", "web"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "Cannot use '-F' with '-n' or '-m'\n"));
    let ran = without_daemon(&["-M", "vm:a"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "Migration requires a target cluster member\n"));
    without_daemon(&["-v"]).expect(0, &format!("{}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_a_cluster_it_says_so() {
    let ran = without_daemon(&["-e", "web"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert_eq!(
        ran.err,
        "Could not connect to cluster service\n\
         The cluster is not running on this node (systemctl start rgmanager starts it).\n"
    );
    assert!(without_daemon(&["-S"]).err.starts_with("Query operation failed: Could not connect to cluster service\n"));
}

#[test]
fn whoever_is_not_root_is_denied() {
    let rgmanager = FakeRgmanager::start(|ask| match ask {
        Ask::Status => status_reply(&three_nodes()),
        _ => Say::Reply(Reply::PermissionDenied),
    });
    let ran = rgmanager.run("clusvcadm", &["-d", "web"]);
    assert_eq!((ran.code, ran.out.as_str()), (238, "Local machine disabling service:web...Permission denied\n"));
    assert_eq!(ran.err, "Only root may change the state of services.\n");
}

#[test]
fn an_answer_that_is_none_is_an_error_receiving_the_reply() {
    for say in [Say::HangUp, Say::Raw("{}"), Say::Reply(Reply::Done)] {
        let say = Mutex::new(Some(say));
        let rgmanager = FakeRgmanager::start(move |ask| match ask {
            Ask::Status => status_reply(&three_nodes()),
            _ => say.lock().unwrap().take().unwrap(),
        });
        let ran = rgmanager.run("clusvcadm", &["-d", "web"]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.starts_with("Error receiving reply!\n"), "{}", ran.err);
    }
}

#[test]
fn a_daemon_restarted_meanwhile_is_asked_again_for_the_same_request() {
    let ends: [fn() -> Say; 2] = [|| Say::HangUp, || Say::Reply(Reply::Error { text: "rgmanager is ending".into() })];
    for end in ends {
        // It ends, is back but still silent about the request, and has learnt its outcome the next time.
        let awaited = AtomicUsize::new(0);
        let rgmanager = FakeRgmanager::start(move |ask| match ask {
            Ask::Status => status_reply(&three_nodes()),
            Ask::Request { .. } => Say::Reply(Reply::Answer { answer: Answer::Accepted }),
            _ => match awaited.fetch_add(1, Ordering::SeqCst) {
                0 => end(),
                1 => Say::Nothing,
                _ => outcome(ResultCode::Success, Some("node1"), ""),
            },
        });
        rgmanager
            .run("clusvcadm", &["-e", "web"])
            .expect(0, "Local machine trying to enable service:web...Success\nservice:web is now running on node1\n");
        assert_eq!(requests(&rgmanager).len(), 1, "the request itself is never sent twice");
    }
}

fn acknowledging() -> FakeRgmanager {
    let status = with_victim("", "Make sure that node3 is off, then: fence_ack_manual node3");
    FakeRgmanager::start(move |ask| match ask {
        Ask::Status => status_reply(&status),
        Ask::Request { .. } => Say::Reply(Reply::Answer { answer: Answer::Accepted }),
        other => panic!("{other:?}"),
    })
}

#[test]
fn an_acknowledgement_needs_the_exact_word() {
    for typed in ["absolutely\n", "absolutely"] {
        let rgmanager = acknowledging();
        let ran = rgmanager.run_typing("fence_ack_manual", &["-n", "node3"], typed);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
        assert!(ran.out.ends_with("Continue [NO/absolutely]? Done\n"), "{}", ran.out);
        let commands: Vec<Command> = requests(&rgmanager).into_iter().map(|request| request.command).collect();
        assert_eq!(commands, [Command::AcknowledgeFence { node: node("node3") }]);
    }
    for typed in ["yes\n", "Absolutely\n", " absolutely\n", "\n", ""] {
        let rgmanager = acknowledging();
        let ran = rgmanager.run_typing("fence_ack_manual", &["node3"], typed);
        assert_eq!((ran.code, ran.err.as_str()), (1, "Aborted.\n"), "{typed:?}");
        assert_eq!(requests(&rgmanager), []);
    }
}

#[test]
fn nobody_is_asked_to_vouch_for_a_node_that_nothing_waits_for() {
    let ran = acknowledging().run_typing("fence_ack_manual", &["node2"], "absolutely\n");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert_eq!(ran.err, "fence_ack_manual: nothing waits for fencing of node2; nothing was done.\n");
    let ran = acknowledging().run_typing("fence_ack_manual", &["nod3"], "absolutely\n");
    assert_eq!(ran.err, "fence_ack_manual: there is no node 'nod3' in cluster prod. Closest match: 'node3'.\n");
    let ran = acknowledging().run("fence_ack_manual", &[]);
    assert!(ran.code == 1 && ran.err.starts_with("fence_ack_manual: no node given\nusage: "), "{ran:?}");
}

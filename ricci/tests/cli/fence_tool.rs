//! `fence_tool` and `fence_check`: layouts, sentences and exit codes.

use crate::fake::{FakeRgmanager, Say, run, three_nodes, with_victim};
use shared::ids::{ConfDigest, ConfVersion, NodeName, Time};
use shared::socket::{Ask, Reply};
use shared::status::{ClusterStatus, FenceOutcome, FencedHow, Phase};

const HEALTHY: &str = "\
fence domain
member count  2
victim count  0
victim now    0
master nodeid 1
wait state    none
members       1 2
";

/// node3 is being fenced; node2 was fenced before.
fn fencing() -> ClusterStatus {
    let mut status = with_victim("wrong \u{1b}[31mpassword\n", "correct the password of bmc3");
    status.nodes[1].last_fenced = Some(FenceOutcome {
        at: Time(1_793_872_700_000),
        how: FencedHow::Agent { by: NodeName::from("node1"), method: "power".into() },
        witnessed_gone: true,
        witnessed_reboot: Some(true),
    });
    status
}

#[test]
fn the_fence_domain_is_printed_in_its_seven_lines() {
    FakeRgmanager::with_status(three_nodes()).run("fence_tool", &["ls"]).expect(0, HEALTHY);
}

#[test]
fn a_victim_is_counted_named_and_waited_for() {
    let expected = "\
fence domain
member count  2
victim count  1
victim now    3
master nodeid 1
wait state    fencing
members       1 2
all nodes
nodeid 1 member 1 victim 0 last fence master 0 how none
nodeid 2 member 1 victim 0 last fence master 1 how agent
nodeid 3 member 0 victim 1 last fence master 0 how none
";
    let fake = FakeRgmanager::with_status(fencing());
    fake.run("fence_tool", &["ls", "-n"]).expect(0, expected);
    let dump = fake.run("fence_tool", &["dump"]);
    assert_eq!((dump.code, dump.err.as_str()), (0, ""));
    let told = dump.out.strip_prefix(expected).unwrap();
    assert_eq!(
        told,
        "node2 last fenced Thu Nov  5 09:58:20 2026 by node1 with method power\n\
         node3 victim since Thu Nov  5 09:58:20 2026, attempt 3 by node1 with method power: an agent runs\n\
         node3 last attempt by node2 method power failed\n  bmc3 agent fence_ipmilan exit code 1, 812 ms\n    \
         wrong [31mpassword\nnode3 advice: correct the password of bmc3\n"
    );
}

#[test]
fn the_wait_state_names_quorum_before_messages_before_fencing() {
    let wait_state = |status: ClusterStatus| {
        let out = FakeRgmanager::with_status(status).run("fence_tool", &["ls"]).out;
        out.lines().nth(5).unwrap().to_owned()
    };
    let mut status = fencing();
    status.phase = Phase::Joining;
    assert_eq!(wait_state(status.clone()), "wait state    messages");
    status.quorum.quorate = false;
    assert_eq!(wait_state(status), "wait state    quorum");
}

#[test]
fn without_a_daemon_a_sentence_and_1() {
    let nowhere = tempfile::tempdir().unwrap();
    for arguments in [&["ls"][..], &["dump"]] {
        let ran = run("fence_tool", arguments, &nowhere.path().join("rgmanager.sk"), "");
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.starts_with("fence_tool: rgmanager is not running on this node ("), "{}", ran.err);
    }
}

#[test]
fn joining_and_leaving_say_what_does_it_today_and_wrong_words_get_the_usage() {
    let fake = FakeRgmanager::with_status(three_nodes());
    for (word, instead) in [("join", "systemctl start rgmanager"), ("leave", "systemctl stop rgmanager")] {
        let ran = fake.run("fence_tool", &[word, "-w", "30"]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (1, "", 1), "{ran:?}");
        assert!(ran.err.contains(instead), "{}", ran.err);
    }
    for arguments in [&[][..], &["fly"], &["ls", "x"], &["-k", "ls"]] {
        let ran = fake.run("fence_tool", arguments);
        assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("\nusage: fence_tool"), "{ran:?}");
    }
    assert!(fake.asked().is_empty());
}

const UNREACHABLE: &str = r#"<cluster name="prod" config_version="7">
  <clusternodes>
    <clusternode name="node1" nodeid="1"><fence><method name="a"><device name="d"/></method><method name="b"><device name="d"/></method></fence></clusternode>
    <clusternode name="node2" nodeid="2"/>
    <clusternode name="node3" nodeid="3"><fence><method name="a"><device name="d"/></method></fence></clusternode>
  </clusternodes>
  <fencedevices><fencedevice name="d" agent="fence_that_is_not_installed" passwd="topsecret"/></fencedevices>
  <rm/>
</cluster>
"#;

fn fake_with_conf(status: ClusterStatus) -> FakeRgmanager {
    FakeRgmanager::start(move |ask| match ask {
        Ask::Status => Say::Reply(Reply::Status { status: Box::new(status.clone()) }),
        _ => Say::Reply(Reply::Conf {
            version: ConfVersion(7),
            digest: ConfDigest::from("00"),
            text: UNREACHABLE.into(),
        }),
    })
}

#[test]
fn every_method_of_every_node_is_tested_and_a_failure_is_the_exit_code() {
    let ran = fake_with_conf(three_nodes()).run("fence_check", &[]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (1, "Testing node1 method 1: FAILED\nTesting node1 method 2: FAILED\nTesting node3 method 1: FAILED\n")
    );
    assert!(ran.err.contains("fence_check: node2 has no fence method in cluster.conf\n"), "{}", ran.err);
    assert!(!ran.err.contains("topsecret"));
    let first = fake_with_conf(three_nodes()).run("fence_check", &["-e"]);
    assert_eq!((first.code, first.out.as_str()), (1, "Testing node1 method 1: FAILED\n"));
}

#[test]
fn nothing_is_tested_while_a_node_is_fenced_unless_forced() {
    let fake = fake_with_conf(fencing());
    let ran = fake.run("fence_check", &[]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (3, "", "fence_check: node3 is being fenced; nothing was tested (-f tests nevertheless)\n")
    );
    assert_eq!(fake.run("fence_check", &["-f"]).code, 1);
    assert_eq!(fake.run("fence_check", &["-k"]).code, 2);
}

#[test]
fn a_second_check_at_the_same_time_ends_with_4() {
    let fake = fake_with_conf(three_nodes());
    let lock = std::fs::File::create(fake.socket().with_file_name("fence_check.lock")).unwrap();
    lock.lock().unwrap();
    let ran = fake.run("fence_check", &[]);
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{}", ran.err);
}

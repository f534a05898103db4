//! `fence_node`: through an rgmanager that answers, and by itself with agents that are small scripts.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::fake::{FakeRgmanager, Say, run};
use ricci::cli::fence_node::{Job, Report, run_agents};
use ricci::rgmanager::fence::FenceAgents;
use shared::conf::model::Conf;
use shared::ids::{ConfDigest, ConfVersion, NodeName, Time};
use shared::socket::{Ask, FenceOperation, Reply};
use shared::status::{FenceAttempt, FenceDeviceRun};

const CONF: &str = r#"<cluster name="prod" config_version="42">
  <clusternodes>
    <clusternode name="node1" nodeid="1">
      <fence>
        <method name="power"><device name="psu-a" port="1" action="off"/><device name="psu-b" port="1" action="off"/></method>
        <method name="bmc"><device name="bmc1"/></method>
      </fence>
      <unfence><device name="psu-a" port="1" action="on"/></unfence>
    </clusternode>
    <clusternode name="node2" nodeid="2"><fence><method name="bmc"><device name="bmc1"/></method></fence></clusternode>
    <clusternode name="node3" nodeid="3"/>
  </clusternodes>
  <fencedevices>
    <fencedevice name="psu-a" agent="fence_a" ipaddr="10.1.1.1" passwd="topsecret"/>
    <fencedevice name="psu-b" agent="fence_b" ipaddr="10.1.1.2"/>
    <fencedevice name="bmc1" agent="fence_c" ipaddr="10.1.0.1"/>
  </fencedevices>
</cluster>
"#;

fn conf() -> Conf {
    shared::conf::load(CONF).accept().unwrap()
}

fn attempt(method: &str, devices: &[(&str, Option<i32>, &str)]) -> FenceAttempt {
    FenceAttempt {
        at: Time(0),
        by: NodeName::from("node2"),
        method: method.into(),
        attempt: 1,
        succeeded: devices.iter().all(|(_, code, _)| *code == Some(0)),
        devices: devices
            .iter()
            .map(|(agent, code, output)| FenceDeviceRun {
                device: "d".into(),
                agent: (*agent).into(),
                code: *code,
                output: (*output).into(),
                duration_ms: 5,
            })
            .collect(),
    }
}

/// Knows the configuration and answers every order to fence like this.
fn fencing(attempts: Vec<FenceAttempt>) -> FakeRgmanager {
    FakeRgmanager::start(move |ask| match ask {
        Ask::Conf => {
            let (version, digest) = (ConfVersion(42), ConfDigest::from("00"));
            Say::Reply(Reply::Conf { version, digest, text: CONF.into() })
        }
        Ask::FenceNode { .. } => Say::Reply(Reply::Fence { attempts: attempts.clone() }),
        other => panic!("{other:?}"),
    })
}

#[test]
fn fencing_goes_through_rgmanager_and_says_one_line() {
    let rgmanager = fencing(vec![attempt("power", &[("fence_a", Some(0), ""), ("fence_b", Some(0), "")])]);
    let ran = rgmanager.run("fence_node", &["node1"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", "fence node1 success\n"));
    let ran = rgmanager.run("fence_node", &["-U", "node1"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "unfence node1 success\n"));
    let orders: Vec<Ask> = rgmanager.asked().into_iter().filter(|ask| matches!(ask, Ask::FenceNode { .. })).collect();
    let order = |operation| Ask::FenceNode { node: NodeName::from("node1"), operation };
    assert_eq!(orders, [order(FenceOperation::Fence), order(FenceOperation::Unfence)]);
}

#[test]
fn a_failure_is_told_with_each_device_and_what_its_agent_said() {
    let rgmanager = fencing(vec![
        attempt("power", &[("fence_a", Some(0), ""), ("fence_b", Some(1), "Connection timed out\n")]),
        attempt("bmc", &[("fence_c", None, "no answer within 120 seconds; killed")]),
    ]);
    let ran = rgmanager.run("fence_node", &["node1"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            1,
            "fence node1 dev 0.0 agent fence_a result: success\n\
             fence node1 dev 0.1 agent fence_b result: error from agent\n    Connection timed out\n\
             fence node1 dev 1.0 agent fence_c result: error: agent not run or killed\n    \
             no answer within 120 seconds; killed\n\
             fence node1 failed\n"
        )
    );
}

#[test]
fn more_words_show_devices_and_their_arguments_but_no_password() {
    let rgmanager = fencing(vec![attempt("power", &[("fence_a", Some(0), ""), ("fence_b", Some(0), "")])]);
    let devices = rgmanager.run("fence_node", &["-v", "node1"]);
    assert_eq!(
        devices.err,
        "fence node1 dev 0.0 agent fence_a result: success\n\
         fence node1 dev 0.1 agent fence_b result: success\n\
         fence node1 success\n"
    );
    let arguments = rgmanager.run("fence_node", &["-vv", "node1"]);
    assert!(
        arguments.err.starts_with(
            "fence node1 dev 0.0 agent fence_a result: success\n\
             agent args: port=1 action=off nodename=node1 ipaddr=10.1.1.1 passwd=(secret)\n"
        ),
        "{}",
        arguments.err
    );
}

#[test]
fn a_node_without_method_is_undefined_and_one_that_is_unknown_is_named() {
    let rgmanager = fencing(Vec::new());
    let ran = rgmanager.run("fence_node", &["node3"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, "fence node3 undefined\n"));
    let ran = rgmanager.run("fence_node", &["-U", "node2"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, "unfence node2 undefined\n"));
    let ran = rgmanager.run("fence_node", &["-S", "node3"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, "status node3 undefined\n"));
    let ran = rgmanager.run("fence_node", &["nod3"]);
    let expected = "fence_node: cluster prod has no node 'nod3'; closest match: 'node3'\nfence nod3 undefined\n";
    assert_eq!((ran.code, ran.err.as_str()), (2, expected));
}

#[test]
fn without_rgmanager_and_without_a_file_nothing_is_run() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("rgmanager.sk");
    let ran = run("fence_node", &["node1"], &socket, "");
    let path = directory.path().join("cluster.conf");
    let expected = format!(
        "fence_node: there is no rgmanager to ask, and nothing on disk to go by: cannot read {}: No such file or \
         directory (os error 2); start the cluster here (systemctl start rgmanager) or do it on another node\n",
        path.display()
    );
    assert_eq!((ran.code, ran.err.as_str()), (1, expected.as_str()));
    std::fs::write(&path, CONF).unwrap();
    let ran = run("fence_node", &["node3"], &socket, "");
    assert_eq!((ran.code, ran.err.as_str()), (2, "fence node3 undefined\n"));
    let ran = run("fence_node", &["-U"], &socket, "");
    assert!(ran.code == 1 && ran.err.contains("give the name of the node"), "{ran:?}");
    std::fs::write(&path, CONF.replace("name=\"bmc1\" agent", "name=\"other\" agent")).unwrap();
    let ran = run("fence_node", &["node2"], &socket, "");
    assert!(ran.code == 1 && ran.err.contains("has errors:\n") && ran.err.contains("bmc1"), "{ran:?}");
    std::fs::write(&path, CONF.replace("</cluster>", "<rm><service/></rm></cluster>")).unwrap();
    let ran = run("fence_node", &["node3"], &socket, "");
    assert_eq!((ran.code, ran.err.as_str()), (2, "fence node3 undefined\n"), "an error elsewhere is not in the way");
    std::fs::write(&path, CONF.replace("</cluster>", "")).unwrap();
    let ran = run("fence_node", &["node3"], &socket, "");
    assert!(ran.code == 1 && ran.err.contains("has errors:\n"), "{ran:?}");
}

#[test]
fn whoever_is_not_root_is_denied_and_an_error_is_passed_on() {
    let denied = FakeRgmanager::start(|_| Say::Reply(Reply::PermissionDenied));
    let ran = denied.run("fence_node", &["node1"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "fence_node: Permission denied; only root may fence\n"));
    let refusing = FakeRgmanager::start(|ask| match ask {
        Ask::Conf => {
            let (version, digest) = (ConfVersion(42), ConfDigest::from("00"));
            Say::Reply(Reply::Conf { version, digest, text: CONF.into() })
        }
        _ => Say::Reply(Reply::Error { text: "node1 is being fenced already by node2".into() }),
    });
    let ran = refusing.run("fence_node", &["node1"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "fence_node: node1 is being fenced already by node2\n"));
}

#[test]
fn wrong_arguments_run_nothing() {
    let rgmanager = fencing(Vec::new());
    for arguments in [&[][..], &["-S"], &["a", "b"], &["-m", "1", "node1"], &["-k", "node1"]] {
        let ran = rgmanager.run("fence_node", arguments);
        assert!(ran.code == 1 && ran.err.contains("\nusage: fence_node "), "{ran:?}");
    }
    assert_eq!(rgmanager.asked(), []);
    rgmanager.run("fence_node", &["-V"]).expect(0, &format!("fence_node {}\n", env!("CARGO_PKG_VERSION")));
    assert!(rgmanager.run("fence_node", &["-h"]).out.starts_with("usage: fence_node [options] NODE\n"));
}

/// Agents that write what they got beside themselves and exit with what is asked of them.
struct Agents {
    directory: tempfile::TempDir,
}

impl Agents {
    fn with_codes(codes: &[(&str, i32)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (agent, code) in codes {
            let path = directory.path().join(agent);
            std::fs::write(&path, format!("#!/bin/sh\ncat >> \"$0.got\"\necho said >&2\nexit {code}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { directory }
    }

    fn got(&self, agent: &str) -> String {
        let path: PathBuf = self.directory.path().join(format!("{agent}.got"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// The lines and exit code of a run on node1 without rgmanager.
    fn report(&self, operation: FenceOperation, method: Option<usize>) -> (String, u8) {
        let job = Job { operation, node: Some("node1".into()), verbosity: 0, tell: false, method };
        let (conf, name) = (conf(), NodeName::from("node1"));
        let node = conf.node(&name).unwrap();
        let agents = FenceAgents::new(vec![self.directory.path().to_owned()], Duration::from_secs(20));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let attempts = runtime.block_on(run_agents(&job, node, &agents));
        Report { operation, node: &name, attempts: &attempts, verbosity: 0, conf: Some(node) }.render()
    }
}

#[test]
fn methods_are_tried_in_their_order_until_one_succeeds() {
    let agents = Agents::with_codes(&[("fence_a", 0), ("fence_b", 1), ("fence_c", 0)]);
    assert_eq!(agents.report(FenceOperation::Fence, None), ("fence node1 success\n".into(), 0));
    assert_eq!(agents.got("fence_a"), "action=off\nport=1\nnodename=node1\nipaddr=10.1.1.1\npasswd=topsecret\n");
    assert_eq!(agents.got("fence_c"), "nodename=node1\nipaddr=10.1.0.1\n");
    let agents = Agents::with_codes(&[("fence_a", 0), ("fence_b", 0), ("fence_c", 0)]);
    assert_eq!(agents.report(FenceOperation::Fence, None).1, 0);
    assert_eq!(agents.got("fence_c"), "", "the second method is not needed");
    let agents = Agents::with_codes(&[("fence_a", 1), ("fence_c", 1)]);
    let (text, code) = agents.report(FenceOperation::Fence, None);
    assert!(code == 1 && text.ends_with("    said\nfence node1 failed\n"), "{text}");
}

#[test]
fn unfencing_runs_the_unfence_section_only() {
    let agents = Agents::with_codes(&[("fence_a", 0), ("fence_b", 0), ("fence_c", 0)]);
    assert_eq!(agents.report(FenceOperation::Unfence, None), ("unfence node1 success\n".into(), 0));
    assert!(agents.got("fence_a").starts_with("action=on\n"));
    assert_eq!(agents.got("fence_b") + &agents.got("fence_c"), "");
}

#[test]
fn the_status_asks_every_device_and_off_is_an_answer() {
    for (a, b, expected) in [(0, 0, "success on"), (2, 2, "success off"), (2, 0, "success on")] {
        let agents = Agents::with_codes(&[("fence_a", a), ("fence_b", b)]);
        let report = agents.report(FenceOperation::Status, None);
        assert_eq!(report, (format!("status node1 {expected}\n"), 0));
        assert!(agents.got("fence_b").starts_with("action=status\n"), "never what the device itself says");
    }
    let agents = Agents::with_codes(&[("fence_a", 1), ("fence_b", 0), ("fence_c", 2)]);
    assert_eq!(agents.report(FenceOperation::Status, None), ("status node1 success off\n".into(), 0));
    let (text, code) = agents.report(FenceOperation::Status, Some(1));
    assert!(code == 1 && text.ends_with("status node1 failed 1\n"), "{text}");
    assert!(text.contains("status node1 dev 0.0 agent fence_a result: error from agent\n    said\n"), "{text}");
}

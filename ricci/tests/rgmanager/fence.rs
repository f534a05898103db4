//! Fence agents as real processes. The agents here stand in for the device only: they write down what they were
//! given and answer as they are told.

#![expect(clippy::print_stderr, reason = "a test stops where it cannot go on, and says what it skips")]

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use ricci::rgmanager::fence::{FenceAction, FenceAgents, succeeded};
use shared::conf::model::FenceInstance;
use tokio_util::sync::CancellationToken;

struct Stage {
    directory: tempfile::TempDir,
    agents: FenceAgents,
}

impl Stage {
    fn new(deadline: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let agents = FenceAgents::new(vec![directory.path().to_owned()], deadline);
        Self { directory, agents }
    }

    fn agent(&self, name: &str, body: &str) {
        let path = self.directory.path().join(name);
        let body = body.replace("DIR", self.directory.path().to_str().unwrap());
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn journal(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("journal")).unwrap_or_default()
    }
}

fn device(name: &str, agent: &str, arguments: &[(&str, &str)]) -> FenceInstance {
    let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    FenceInstance { device: name.into(), agent: agent.into(), arguments }
}

const RECORDS: &str = "echo \"$# arguments\" >> DIR/journal; cat >> DIR/journal; echo --- >> DIR/journal";

#[tokio::test(flavor = "multi_thread")]
async fn the_devices_of_a_method_run_in_order_with_their_arguments_on_stdin() {
    let stage = Stage::new(Duration::from_secs(10));
    stage.agent("fence_record", RECORDS);
    let devices = [
        device("left", "fence_record", &[("port", "1"), ("action", "off"), ("nodename", "n1"), ("ipaddr", "10.0.0.1")]),
        device("right", "fence_record", &[("port", "2"), ("nodename", "n1")]),
    ];
    let runs = stage.agents.run(&devices, FenceAction::Fence, CancellationToken::new()).await;
    assert!(succeeded(&devices, &runs), "{runs:?}");
    assert_eq!(
        stage.journal(),
        "0 arguments\naction=off\nport=1\nnodename=n1\nipaddr=10.0.0.1\n---\n0 arguments\nport=2\nnodename=n1\n---\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_stops_at_its_first_failing_device_and_tells_what_the_agent_said_without_the_password() {
    let stage = Stage::new(Duration::from_secs(10));
    stage.agent("fence_record", RECORDS);
    stage.agent("fence_fails", "cat; echo 'Unable to connect/login' >&2; exit 1");
    let devices = [
        device("bmc", "fence_fails", &[("login", "admin"), ("passwd", "s3cr3t-word")]),
        device("second", "fence_record", &[]),
    ];
    let runs = stage.agents.run(&devices, FenceAction::Fence, CancellationToken::new()).await;
    assert!(!succeeded(&devices, &runs));
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].device.as_str(), runs[0].code), ("bmc", Some(1)));
    assert_eq!(runs[0].output, "login=admin\npasswd=(secret)\nUnable to connect/login");
    assert_eq!(stage.journal(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_agent_that_hangs_fails_at_its_deadline_which_its_own_delay_extends() {
    let stage = Stage::new(Duration::from_millis(200));
    stage.agent("fence_hangs", "echo waiting; sleep 1000");
    let begun = Instant::now();
    let plain = [device("d", "fence_hangs", &[])];
    let runs = stage.agents.run(&plain, FenceAction::Fence, CancellationToken::new()).await;
    assert_eq!(runs[0].code, None);
    assert!(runs[0].output.starts_with("waiting\nno answer within"), "{}", runs[0].output);
    assert!(begun.elapsed() < Duration::from_secs(5));
    stage.agent("fence_waits", "sleep 0.5");
    let delayed = [device("d", "fence_waits", &[("delay", "5")])];
    let runs = stage.agents.run(&delayed, FenceAction::Fence, CancellationToken::new()).await;
    assert!(succeeded(&delayed, &runs), "{runs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_installed_fails_the_method_and_a_method_without_devices_never_succeeds() {
    let stage = Stage::new(Duration::from_secs(10));
    for agent in ["fence_missing", "../../bin/true", "/bin/true", ""] {
        let devices = [device("d", agent, &[])];
        let runs = stage.agents.run(&devices, FenceAction::Fence, CancellationToken::new()).await;
        assert_eq!(runs[0].code, None, "{agent}");
        assert!(runs[0].output.contains("not installed"), "{}", runs[0].output);
    }
    let runs = stage.agents.run(&[], FenceAction::Fence, CancellationToken::new()).await;
    assert!(!succeeded(&[], &runs));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ignores_its_input_is_judged_by_its_exit_code_alone() {
    let stage = Stage::new(Duration::from_secs(10));
    stage.agent("fence_deaf", "exec <&-; exit 0");
    let long = "x".repeat(300_000);
    let devices = [device("d", "fence_deaf", &[("comment", &long)])];
    let runs = stage.agents.run(&devices, FenceAction::Fence, CancellationToken::new()).await;
    assert!(succeeded(&devices, &runs), "{runs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_the_device_asks_for_its_status_even_if_the_device_says_off() {
    let stage = Stage::new(Duration::from_secs(10));
    stage.agent("fence_record", RECORDS);
    let devices = [device("d", "fence_record", &[("action", "off"), ("port", "1")])];
    stage.agents.run(&devices, FenceAction::Status, CancellationToken::new()).await;
    assert_eq!(stage.journal(), "0 arguments\naction=status\nport=1\n---\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_agent_that_misbehaves_is_judged_by_its_exit_code_and_delays_no_other() {
    let stage = Stage::new(Duration::from_secs(20));
    // A child keeps the output open: the answer is the agent's exit, not the end of its output. It ends with the folder.
    stage.agent("fence_leaves", "(while [ -e DIR ] && [ ! -e DIR/go ]; do sleep 0.01; done) &\necho off; exit 0");
    // Hangs in a method of its own while the others answer.
    stage.agent("fence_hangs", "until [ -e DIR/go ]; do sleep 0.01; done; exit 1");
    stage.agent("fence_floods", "head -c 104857600 /dev/zero | tr '\\0' x\necho; echo the end; exit 0");
    stage.agent("fence_odd", "exit 255");
    stage.agent("fence_killed", "kill -9 $$");
    stage.agent("fence_vanishes", "rm $0; exit 0");
    let one = |agent: &str| [device("d", agent, &[])];
    let (agents, hangs) = (stage.agents.clone(), one("fence_hangs"));
    let hanging = tokio::spawn(async move { agents.run(&hangs, FenceAction::Fence, CancellationToken::new()).await });
    for (agent, code, said) in [
        ("fence_leaves", Some(0), "off"),
        ("fence_floods", Some(0), "the end"),
        ("fence_odd", Some(255), ""),
        ("fence_killed", Some(137), "killed by signal 9"),
        ("fence_vanishes", Some(0), ""),
        ("fence_vanishes", None, "not installed"),
    ] {
        let devices = one(agent);
        let runs = stage.agents.run(&devices, FenceAction::Fence, CancellationToken::new()).await;
        assert!(runs[0].code == code || (code == Some(137) && runs[0].code.is_none()), "{agent}: {:?}", runs[0]);
        assert!(
            runs[0].output.contains(said) && runs[0].output.len() <= 64 * 1024 + 200,
            "{agent}: {:?}",
            runs[0].code
        );
        // Nothing but 0 is a success.
        assert_eq!(succeeded(&devices, &runs), code == Some(0), "{agent}");
    }
    assert!(!hanging.is_finished(), "it answered before it was let go");
    std::fs::write(stage.directory.path().join("go"), "").unwrap();
    assert_eq!(hanging.await.unwrap()[0].code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packaged_fence_dummy_speaks_our_protocol() {
    let agents = FenceAgents::default();
    let status = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(status.path(), "on").unwrap();
    let file = status.path().to_str().unwrap();
    let off = [device("d", "fence_dummy", &[("type", "file"), ("status_file", file), ("action", "off")])];
    let runs = agents.run(&off, FenceAction::Fence, CancellationToken::new()).await;
    if runs[0].output.contains("not installed") {
        eprintln!("skipped: fence_dummy is not installed here");
        return;
    }
    assert!(succeeded(&off, &runs), "{runs:?}");
    assert_eq!(std::fs::read_to_string(file).unwrap().trim(), "off");
}

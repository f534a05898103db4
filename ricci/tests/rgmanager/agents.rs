//! Runs of resource agents as real processes: what an agent can do wrong must cost its own service only.

#![expect(clippy::print_stderr, reason = "a test stops where it cannot go on, and says what it skips")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::{Operation, RunId};
use ricci::rgmanager::agents::{Places, RunFinished, RunSpec, Runner, Runs};
use ricci::rgmanager::cgroup::Cgroups;
use ricci::secrets::Secrets;
use shared::ids::{ResourceName, ServiceName};
use tokio::sync::mpsc;

struct Stage {
    directory: tempfile::TempDir,
    runs: Runs,
    results: mpsc::Receiver<RunFinished>,
}

impl Stage {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(cgroups: Option<Cgroups>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (give, results) = mpsc::channel(16);
        let places = Places {
            ocf_root: directory.path().join("ocf"),
            systemctl: directory.path().join("systemctl"),
            groupings: directory.path().join("groupings"),
            records: directory.path().join("records"),
            started: directory.path().join("started"),
            secrets: Secrets::beside(&directory.path().join("cluster.conf")),
        };
        std::fs::create_dir(&places.records).unwrap();
        Self { runs: Runs::new(places, cgroups, give), directory, results }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a shell script there; `DIR` in it becomes the stage's directory.
    fn program(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let body = body.replace("DIR", self.directory.path().to_str().unwrap());
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn agent(&self, body: &str) {
        self.program("ocf/resource.d/test/Agent", body);
    }

    async fn run(&mut self, spec: RunSpec) -> RunFinished {
        let id = spec.id;
        self.runs.start(spec);
        let finished = self.result().await;
        assert_eq!(finished.id, id);
        finished
    }

    async fn result(&mut self) -> RunFinished {
        tokio::time::timeout(Duration::from_secs(120), self.results.recv()).await.expect("no result").unwrap()
    }
}

fn spec(operation: Operation) -> RunSpec {
    RunSpec {
        id: RunId(7),
        service: ServiceName::parse("web"),
        resource: ResourceName::from("ocf:a"),
        operation,
        runner: Runner::Ocf { provider: "test".into(), kind: "Agent".into() },
        parameters: BTreeMap::new(),
        timeout_ms: Some(20_000),
        timeout_told_ms: 20_000,
        interval_ms: 0,
        depth: 0,
        peer: None,
        link_of: None,
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(120), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn number_in(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Runs code: neither gone nor a zombie that some other process has yet to reap.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// No guests run here, so an agent stands in for VirtualDomain and keeps what it was asked, by the names that VirtualDomain reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_tells_each_side_of_the_other() {
    let mut stage = Stage::new();
    stage.agent("echo \"$1 to=$OCF_RESKEY_CRM_meta_migrate_target from=$OCF_RESKEY_CRM_meta_migrate_source\" >> DIR/asked; exit 0");
    for (operation, peer) in
        [(Operation::MigrateTo, "node2"), (Operation::MigrateFrom, "node1"), (Operation::Monitor, "node1")]
    {
        let finished = stage.run(RunSpec { peer: Some(peer.into()), ..spec(operation) }).await;
        assert_eq!(finished.code, Some(0), "{finished:?}");
    }
    let asked = std::fs::read_to_string(stage.path("asked")).unwrap();
    assert_eq!(asked, "migrate_to to=node2 from=\nmigrate_from to= from=node1\nmonitor to= from=\n");
    // Whatever is no OCF agent cannot do it, and is not asked.
    for runner in [Runner::Grouping, Runner::Script { path: stage.program("script", "exit 0") }] {
        let finished = stage.run(RunSpec { runner, ..spec(Operation::MigrateTo) }).await;
        assert_eq!(finished.code, Some(3), "{finished:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packaged_dummy_agent_starts_is_seen_running_and_stops() {
    let directory = tempfile::tempdir().unwrap();
    let (give, mut results) = mpsc::channel(16);
    let runs = Runs::new(Places::default(), None, give);
    for (operation, expected) in [
        (Operation::Monitor, 7),
        (Operation::Start, 0),
        (Operation::Monitor, 0),
        (Operation::Stop, 0),
        (Operation::Monitor, 7),
        (Operation::Stop, 0),
    ] {
        let state = directory.path().join("dummy.state").to_str().unwrap().to_owned();
        runs.start(RunSpec {
            runner: Runner::Ocf { provider: "heartbeat".into(), kind: "Dummy".into() },
            parameters: BTreeMap::from([("state".to_owned(), state)]),
            ..spec(operation)
        });
        let finished = results.recv().await.unwrap();
        assert_eq!(finished.code, Some(expected), "{operation:?}: {finished:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_is_killed_with_its_whole_group_when_its_time_is_over() {
    let mut stage = Stage::new();
    stage.agent("trap '' TERM\n(trap '' TERM; sleep 1000) & echo $! > DIR/child; echo $$ > DIR/self\necho waiting\nsleep 1000; sleep 1000");
    let finished = stage.run(RunSpec { timeout_ms: Some(300), ..spec(Operation::Start) }).await;
    assert_eq!(finished.code, None);
    assert!(finished.timed_out);
    assert!(finished.output.starts_with("waiting\n"), "{}", finished.output);
    assert!(finished.output.contains("timed out after"), "{}", finished.output);
    assert!((300..5_000).contains(&finished.duration_ms), "{}", finished.duration_ms);
    for name in ["self", "child"] {
        let pid = number_in(&stage.path(name)).unwrap();
        until("the killed process is gone", || !lives(pid)).await;
    }
    // And reaped, which only its parent, this program, could do.
    let leader = number_in(&stage.path("self")).unwrap();
    assert!(!Path::new(&format!("/proc/{leader}")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timed_out_agent_may_clean_up_on_sigterm() {
    let mut stage = Stage::new();
    stage.agent("trap 'echo cleaned; exit 1' TERM\nsleep 1000 & wait");
    let finished = stage.run(RunSpec { timeout_ms: Some(200), ..spec(Operation::Start) }).await;
    assert!(finished.timed_out && finished.output.starts_with("cleaned\n"), "{finished:?}");
    assert!(finished.duration_ms < 1_500, "waited the whole grace: {}", finished.duration_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_keeps_the_output_open_neither_delays_the_run_nor_dies_of_it() {
    let mut stage = Stage::new();
    stage.agent("(until [ -e DIR/go ]; do sleep 0.01; done; echo late && echo written > DIR/result) &\necho done");
    let finished = stage.run(spec(Operation::Start)).await;
    assert_eq!((finished.code, finished.output.as_str()), (Some(0), "done"));
    assert!(finished.duration_ms < 1_000, "{}", finished.duration_ms);
    std::fs::write(stage.path("go"), "").unwrap();
    until("the child has written to its output and lived on", || stage.path("result").exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_of_output_cost_no_memory_and_the_end_is_kept() {
    let peak = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = peak();
    let mut stage = Stage::new();
    stage.agent("head -c 104857600 /dev/zero | tr '\\0' x\necho; echo the end; exit 1");
    let finished = stage.run(spec(Operation::Monitor)).await;
    assert_eq!((finished.code, finished.output.as_str()), (Some(1), "the end"));
    assert!(peak() - before < 16_384, "memory grew by {} KiB", peak() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_exit_code_arrives_as_it_is() {
    let mut stage = Stage::new();
    stage.agent("exit $OCF_RESKEY_code");
    for code in [0, 1, 7, 255] {
        let parameters = BTreeMap::from([("code".to_owned(), code.to_string())]);
        let finished = stage.run(RunSpec { parameters, ..spec(Operation::Monitor) }).await;
        assert_eq!(finished.code, Some(code));
    }
    stage.agent("kill -9 $$");
    let finished = stage.run(spec(Operation::Monitor)).await;
    assert_eq!(finished.code, Some(137));
    assert!(finished.output.contains("signal 9"), "{}", finished.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_vanishes_while_it_runs_is_not_installed_the_next_time() {
    let mut stage = Stage::new();
    stage.agent("rm $0; exit 0");
    assert_eq!(stage.run(spec(Operation::Start)).await.code, Some(0));
    let finished = stage.run(spec(Operation::Stop)).await;
    assert_eq!(finished.code, Some(5));
    assert!(finished.output.contains("resource.d/test/Agent is not installed"), "{}", finished.output);
    stage.agent("exit 0");
    let path = stage.path("ocf/resource.d/test/Agent");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(stage.run(spec(Operation::Stop)).await.code, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_sees_the_field_environment_and_nothing_of_the_daemons() {
    let mut stage = Stage::new();
    stage.agent("echo $1; env");
    let parameters = BTreeMap::from([("ip".to_owned(), "10.0.0.1".to_owned())]);
    let spec = RunSpec { parameters, depth: 10, interval_ms: 10_000, ..spec(Operation::Monitor) };
    let output = stage.run(spec).await.output;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "monitor");
    for expected in [
        "OCF_RESKEY_ip=10.0.0.1",
        "OCF_CHECK_LEVEL=10",
        "OCF_RESOURCE_INSTANCE=web.ocf.a",
        "OCF_RESOURCE_TYPE=Agent",
        "OCF_RESOURCE_PROVIDER=test",
        "OCF_RESKEY_CRM_meta_timeout=20000",
        "OCF_RESKEY_CRM_meta_interval=10000",
    ] {
        assert!(lines.contains(&expected), "{expected} is missing in {output}");
    }
    for line in &lines[1..] {
        let name = line.split('=').next().unwrap();
        let known = ["PATH", "LANG", "HOME", "SHELL", "PWD", "SHLVL", "_"].contains(&name);
        assert!(
            known || name.starts_with("OCF_") || name.starts_with("HA_") || name == "RGMANAGER_RUN",
            "{line} leaked"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_an_agent_prints_does_not_leave_the_runner() {
    let mut stage = Stage::new();
    stage.agent("echo \"login as $OCF_RESKEY_user with $OCF_RESKEY_db_passwd failed\"; exit 1");
    let parameters =
        [("user", "bob"), ("db_passwd", "c4nary")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let finished = stage.run(RunSpec { parameters: parameters.into(), ..spec(Operation::Start) }).await;
    assert_eq!(finished.output, "login as bob with (secret) failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_run_ends_at_once_and_still_reports() {
    let mut stage = Stage::new();
    stage.agent("echo $$ > DIR/self; sleep 1000");
    stage.runs.start(spec(Operation::Start));
    let file = stage.path("self");
    until("the agent runs", || number_in(&file).is_some()).await;
    stage.runs.abort(RunId(7));
    let finished = stage.result().await;
    assert_eq!((finished.code, finished.timed_out), (None, false));
    assert!(!lives(number_in(&file).unwrap()));
    assert_eq!(stage.runs.running(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_outlived_its_daemon_is_ended_by_the_next_one_and_no_stranger_is() {
    let mut stage = Stage::new();
    stage.agent("trap '' TERM; sleep 1000 & echo $! > DIR/child; echo $$ > DIR/self; wait; sleep 1000; touch DIR/late");
    stage.runs.start(spec(Operation::Start));
    let file = stage.path("self");
    until("the agent runs", || number_in(&file).is_some()).await;
    // A record whose number has gone to another process, and one that was never finished.
    let stranger = stage.path("records/8");
    std::fs::write(&stranger, std::process::id().to_string()).unwrap();
    std::fs::write(stage.path("records/9"), "").unwrap();
    ricci::rgmanager::leftover::end_all(&stage.path("records")).await;
    assert!(!lives(number_in(&file).unwrap()) && !lives(number_in(&stage.path("child")).unwrap()));
    assert!(!stage.path("late").exists());
    assert_eq!(std::fs::read_dir(stage.path("records")).unwrap().count(), 0);
    assert_eq!(stage.result().await.code, Some(137));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_survives_its_run_is_ended_with_it() {
    let stage = Stage::new();
    stage.agent(
        "(trap '' TERM; sh -c 'echo $$ > DIR/child; exec sleep 1000') &
        until [ -s DIR/child ]; do sleep 0.01; done; echo $$ > DIR/self; wait",
    );
    stage.runs.start(spec(Operation::Start));
    let file = stage.path("self");
    until("the agent runs", || number_in(&file).is_some()).await;
    ricci::rgmanager::leftover::end_all(&stage.path("records")).await;
    assert!(!lives(number_in(&stage.path("child")).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_leaves_no_record_when_it_has_ended() {
    let mut stage = Stage::new();
    stage.agent("cat $RGMANAGER_RUN; echo $$");
    let output = stage.run(spec(Operation::Start)).await.output;
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines.len() == 2 && lines[0] == lines[1], "{output}");
    assert_eq!(std::fs::read_dir(stage.path("records")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_checks_delay_no_start() {
    let mut stage = Stage::new();
    stage.agent("[ $1 = monitor ] && sleep 1000; exit 0");
    for id in 0..200 {
        stage.runs.start(RunSpec { id: RunId(id), ..spec(Operation::Monitor) });
    }
    let started = stage.run(RunSpec { id: RunId(1000), ..spec(Operation::Start) }).await;
    assert_eq!(started.code, Some(0));
    for id in 0..200 {
        stage.runs.abort(RunId(id));
    }
    for _ in 0..200 {
        stage.result().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_script_is_asked_for_its_status_and_answers_in_its_own_numbers() {
    let mut stage = Stage::new();
    let path = stage.program("etc/init.d/thing", "echo $*; [ $1 = status ] && exit 3; exit 0");
    let script = |operation| RunSpec { runner: Runner::Script { path: path.clone() }, ..spec(operation) };
    let finished = stage.run(script(Operation::Monitor)).await;
    assert_eq!((finished.code, finished.output.as_str()), (Some(7), "status"));
    assert_eq!(stage.run(script(Operation::Start)).await.output, "start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_handled_by_systemctl_with_a_deadline_of_its_own() {
    let mut stage = Stage::new();
    stage.program("systemctl", "echo $*; [ $2 = is-active ] && exit 3; exit 0");
    let unit = |operation| RunSpec { runner: Runner::Systemd { unit: "nginx".into() }, ..spec(operation) };
    let started = stage.run(unit(Operation::Start)).await;
    assert_eq!((started.code, started.output.as_str()), (Some(0), "--no-ask-password start -- nginx.service"));
    assert_eq!(stage.run(unit(Operation::Monitor)).await.code, Some(7));
    stage.program("systemctl", "echo activating; exit 3");
    assert_eq!(stage.run(unit(Operation::Monitor)).await.code, Some(1));
    stage.program("systemctl", "sleep 1000");
    let stopped = stage.run(RunSpec { timeout_ms: Some(200), ..unit(Operation::Stop) }).await;
    assert!(stopped.timed_out && stopped.code.is_none(), "{stopped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grouping_runs_nothing_and_is_started_between_its_start_and_its_stop() {
    let mut stage = Stage::new();
    for (operation, code) in [
        (Operation::Monitor, 7),
        (Operation::Stop, 0),
        (Operation::Start, 0),
        (Operation::Monitor, 0),
        (Operation::Stop, 0),
        (Operation::Monitor, 7),
    ] {
        let finished = stage.run(RunSpec { runner: Runner::Grouping, ..spec(operation) }).await;
        assert_eq!((finished.code, finished.output.as_str()), (Some(code), ""), "{operation:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_leaves_behind_lives_in_the_cgroup_of_its_resource_and_a_check_does_not() {
    let Some(root) = Cgroups::default_root() else {
        eprintln!("skipped: no cgroup v2 is mounted here");
        return;
    };
    let root = root.join(format!("test-{}", std::process::id()));
    let Ok(cgroups) = Cgroups::open(root.clone()) else {
        eprintln!("skipped: cgroups cannot be made here");
        return;
    };
    let mut stage = Stage::with(Some(cgroups.clone()));
    stage.agent("env | cut -d= -f1; exit 0");
    let names = stage.run(spec(Operation::Monitor)).await.output;
    assert!(!names.lines().any(|name| name.starts_with("CARGO")), "the way through the cgroup leaks: {names}");
    stage.agent("cat /proc/self/cgroup | grep ^0::\n[ $1 = start ] && { sleep 1000 & echo $! > DIR/child; }; exit 0");
    let started = stage.run(spec(Operation::Start)).await;
    assert_eq!(started.code, Some(0), "{started:?}");
    assert!(started.output.ends_with("/service:web/ocf:a"), "{}", started.output);
    let checked = stage.run(spec(Operation::Monitor)).await;
    assert!(checked.output.ends_with("/service:web/:runs"), "{}", checked.output);
    let child = number_in(&stage.path("child")).unwrap();
    // A stop that leaves it, and a start that fails of it: who is in the way is told with the failure.
    stage.agent("[ $1 = start ] && { echo 'address in use' >&2; exit 1; }; exit 0");
    assert_eq!(stage.run(spec(Operation::Stop)).await.output, "");
    let failed = stage.run(spec(Operation::Start)).await;
    let told = format!("address in use\nof an earlier start still run: sleep ({child}); they may hold");
    assert!(failed.code == Some(1) && failed.output.starts_with(&told), "{failed:?}");
    let procs = root.join("service:web/ocf:a/cgroup.procs");
    assert_eq!(std::fs::read_to_string(&procs).unwrap().trim(), child.to_string());
    let pid = rustix::process::Pid::from_raw(i32::try_from(child).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("the cgroup is empty", || std::fs::read_to_string(&procs).unwrap().is_empty()).await;
    cgroups.tidy([ServiceName::parse("web")].iter());
    assert!(root.join("service:web").exists());
    cgroups.tidy([].iter());
    std::fs::remove_dir(&root).unwrap();
    // The parent is ours only if nothing else uses it.
    let _ = std::fs::remove_dir(root.parent().unwrap());
}

//! The whole daemon against one real corosync: a service with an address, an init script and an OCF agent, from the
//! first start to the goodbye.
//!
//! The test runs itself again inside namespaces of its own, so that addresses, processes, files and corosync are
//! seen by nobody else, and everything it started ends with its pid namespace. Needs root, corosync and the packaged
//! resource agents.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops where it cannot go on, and says what it skips"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ricci::rgmanager::cgroup::Cgroups;
use shared::conf::corosync::{RenderOptions, render_corosync_conf};
use shared::ids::{NodeName, RequestId, ServiceName};
use shared::socket::{Ask, PutConf, Reply};
use shared::status::{Answer, ClusterStatus, Command as Verb, Outcome, Phase, Request, ServiceStatus};
use shared::text::{ResultCode, ServiceState};

const INSIDE: &str = "RICCI_TEST_INSIDE_NAMESPACES";
const SOCKET: &str = "/run/cluster/rgmanager.sk";
/// Far above what any step takes; a step that reaches it is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

fn cluster_conf(version: u32, extra: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>
<cluster name=\"story\" config_version=\"{version}\">
  <clusternodes><clusternode name=\"alone\" nodeid=\"7\"/></clusternodes>
  <rm>
    <service name=\"web\" recovery=\"restart\">
      <ip address=\"10.99.0.100/24\"/>
      <script name=\"init\" file=\"/run/story/init\"/>
      <fs name=\"data\" device=\"story\" mountpoint=\"/mnt/data\" fstype=\"tmpfs\"/>
      <ocf name=\"dummy\" type=\"Dummy\" state=\"/run/story/dummy\"><action name=\"monitor\" interval=\"1\"/></ocf>
    </service>{extra}
  </rm>
</cluster>
"
    )
}

#[test]
fn one_node_starts_keeps_hands_over_and_stops_its_service() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "one_node_starts_keeps_hands_over_and_stops_its_service"])
        .env(INSIDE, cgroup().map_or_else(|| "1".into(), |path| path.display().to_string()))
        .stdin(Stdio::null())
        .output()
        .expect("unshare(1) is part of every Linux");
    remove_cgroups();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(
        output.status.success(),
        "inside its namespaces (root and corosync are needed) the test said:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The cgroup of this run of the test, below the one of the test itself.
fn cgroup() -> Option<PathBuf> {
    let root = Cgroups::default_root()?;
    Some(root.with_file_name(format!("story-{}", std::process::id())))
}

/// Everything in them has died with the pid namespace.
fn remove_cgroups() {
    fn remove(path: &Path) {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
            remove(&entry.path());
        }
        let _ = std::fs::remove_dir(path);
    }
    cgroup().iter().for_each(|path| remove(path));
}

fn inside() {
    prepare();
    let mut corosync = start_corosync();
    let daemon = Daemon::start();
    the_service_is_started_as_a_whole();
    a_lost_resource_is_noticed_and_the_service_restarted();
    what_the_kernel_tells_is_noticed_at_once();
    operators_are_obeyed();
    a_new_configuration_comes_into_force();
    let daemon = a_killed_daemon_takes_its_service_over_again(daemon);
    a_second_daemon_refuses_to_start();
    an_intent_survives_a_clean_restart(daemon);
    corosync_gone_means_everything_stopped(&mut corosync);
}

fn the_service_is_started_as_a_whole() {
    let status = settled("web is started", |status| state(status) == Some(ServiceState::Started));
    assert_eq!(status.phase, Phase::Member);
    assert_eq!(service(&status).unwrap().owner, Some(NodeName::from("alone")));
    assert!(has_address());
    assert_eq!(script_log(), ["status", "start"]);
    assert!(std::fs::exists("/run/story/dummy").unwrap());
    assert_eq!((status.quorum.quorate, status.quorum.votes, status.quorum.votes_expected), (true, Some(1), Some(1)));
}

fn a_lost_resource_is_noticed_and_the_service_restarted() {
    std::fs::remove_file("/run/story/dummy").unwrap();
    settled("web is started again", |status| {
        state(status) == Some(ServiceState::Started) && std::fs::exists("/run/story/dummy").unwrap()
    });
    assert!(script_log().iter().any(|verb| verb == "stop"));
}

/// The checks come every ten seconds; what the kernel tells is acted upon long before.
fn what_the_kernel_tells_is_noticed_at_once() {
    let pid = || -> Option<i32> { std::fs::read_to_string("/run/story/pid").ok()?.trim().parse().ok() };
    let mounted = || std::fs::read_to_string("/proc/self/mounts").unwrap().contains(" /mnt/data tmpfs ");
    let whole =
        || has_address() && mounted() && pid().is_some_and(|pid| std::fs::exists(format!("/proc/{pid}")).unwrap());
    let quick = Duration::from_secs(5);
    for (what, fault) in [
        ("the address", &(|| run("ip", &["address", "del", "10.99.0.100/24", "dev", "left"])) as &dyn Fn()),
        ("the mount", &|| run("umount", &["/mnt/data"])),
        ("the process", &|| run("kill", &["-9", &pid().unwrap().to_string()])),
    ] {
        settled("whole", |status| state(status) == Some(ServiceState::Started) && whole());
        let restarts = service(&status()).unwrap().restarts;
        let begun = Instant::now();
        fault();
        settled(what, |status| {
            service(status).is_some_and(|web| web.restarts > restarts && web.state == ServiceState::Started) && whole()
        });
        println!("{what} was lost and the service whole again after {} ms", begun.elapsed().as_millis());
        assert!(begun.elapsed() < quick, "{what} was found by the interval only\n{}", log_text());
    }
}

fn operators_are_obeyed() {
    let service = || ServiceName::parse("web");
    let outcome = request("1", Verb::Disable { service: service() });
    assert_eq!(outcome.code, ResultCode::Success, "{outcome:?}");
    assert!(!has_address());
    assert_eq!(state(&status()), Some(ServiceState::Disabled));
    let outcome = request("2", Verb::Enable { service: service(), on: None, by_domain: false });
    assert_eq!((outcome.code, outcome.owner), (ResultCode::Success, Some(NodeName::from("alone"))));
    assert!(has_address());
    // The same id again is answered the same and does nothing.
    let starts = script_log().len();
    assert_eq!(request("1", Verb::Disable { service: service() }).code, ResultCode::Success);
    assert!(has_address() && !script_log()[starts..].contains(&"stop".to_owned()));
    let nobody = Verb::Disable { service: ServiceName::parse("nobody") };
    let request = Request { id: RequestId::from("3"), command: nobody, origin: "test".into() };
    let reply = ask(&Ask::Request { request });
    assert!(
        matches!(&reply, Reply::Answer { answer: Answer::Refused(why) } if why.code == ResultCode::NoService),
        "{reply:?}"
    );
}

fn a_new_configuration_comes_into_force() {
    let put = |text: String| ask(&Ask::PutConf { text, origin: "test".into() });
    assert!(
        matches!(put("<cluster".into()), Reply::PutConf { result: PutConf::Refused { findings } } if !findings.is_empty())
    );
    let second = "\n    <service name=\"second\"><ocf name=\"d2\" type=\"Dummy\" state=\"/run/story/d2\"/></service>";
    let text = cluster_conf(2, second);
    let reply = put(text.clone());
    assert!(
        matches!(&reply, Reply::PutConf { result: PutConf::Accepted { version, .. } } if version.0 == 2),
        "{reply:?}"
    );
    settled("the new service runs", |status| {
        let second = status.service(&ServiceName::parse("second"));
        second.is_some_and(|service| service.state == ServiceState::Started)
    });
    let begun = Instant::now();
    while std::fs::read_to_string("/etc/cluster/cluster.conf").unwrap() != text {
        assert!(begun.elapsed() < PATIENCE, "cluster.conf is not the new one");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The version before can be brought back.
    let kept = std::fs::read_dir("/var/lib/cluster/conf").unwrap().flatten();
    let mut kept: Vec<String> = kept.map(|entry| entry.file_name().to_string_lossy()[..2].to_owned()).collect();
    kept.sort();
    assert_eq!(kept, ["1-", "2-"]);
    let Reply::Conf { version, text: told, .. } = ask(&Ask::Conf) else { panic!() };
    assert_eq!((version.0, told), (2, text));
}

fn a_killed_daemon_takes_its_service_over_again(mut daemon: Daemon) -> Daemon {
    let before = script_log();
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    assert!(has_address());
    let daemon = Daemon::start();
    let status = settled("web is taken over", |status| {
        status.phase == Phase::Member && state(status) == Some(ServiceState::Started)
    });
    assert!(has_address());
    let since = &script_log()[before.len()..];
    assert!(!since.contains(&"stop".to_owned()) && !since.contains(&"start".to_owned()), "{since:?}\n{status:#?}");
    daemon
}

fn a_second_daemon_refuses_to_start() {
    let output = daemon_command().stderr(Stdio::piped()).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("another rgmanager already answers on"), "{said}");
}

fn an_intent_survives_a_clean_restart(mut daemon: Daemon) {
    request("4", Verb::Disable { service: ServiceName::parse("second") });
    daemon.terminate();
    let status = daemon.child.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(!has_address());
    assert!(!std::fs::exists("/run/story/dummy").unwrap() && !std::fs::exists("/run/story/d2").unwrap());
    assert!(!std::fs::exists(SOCKET).unwrap());
    std::mem::forget(Daemon::start());
    let status = settled("web runs again", |status| state(status) == Some(ServiceState::Started));
    let second = status.service(&ServiceName::parse("second")).unwrap();
    assert_eq!(second.state, ServiceState::Disabled, "{second:?}");
}

fn corosync_gone_means_everything_stopped(corosync: &mut Child) {
    assert!(has_address());
    corosync.kill().unwrap();
    corosync.wait().unwrap();
    let begun = Instant::now();
    while has_address() || std::fs::exists("/run/story/dummy").unwrap() {
        assert!(begun.elapsed() < PATIENCE, "the service runs on without corosync");
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct Daemon {
    child: Child,
}

impl Daemon {
    fn start() -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open("/run/story/log").unwrap();
        let child = daemon_command().stderr(log).spawn().unwrap();
        let begun = Instant::now();
        while UnixStream::connect(SOCKET).is_err() {
            assert!(begun.elapsed() < PATIENCE, "no socket\n{}", log_text());
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child }
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

fn daemon_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rgmanager"));
    match std::env::var(INSIDE).unwrap() {
        none if none == "1" => command.arg("--no-cgroup"),
        path => command.args(["--cgroup", &path]),
    };
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn log_text() -> String {
    std::fs::read_to_string("/run/story/log").unwrap_or_default()
}

fn ask(question: &Ask) -> Reply {
    let mut stream = UnixStream::connect(SOCKET).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{}\n", serde_json::to_string(question).unwrap()).as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}\n{}", log_text()))
}

fn status() -> ClusterStatus {
    match ask(&Ask::Status) {
        Reply::Status { status } => *status,
        other => panic!("{other:?}"),
    }
}

fn service(status: &ClusterStatus) -> Option<&ServiceStatus> {
    status.service(&ServiceName::parse("web"))
}

fn state(status: &ClusterStatus) -> Option<ServiceState> {
    service(status).map(|service| service.state)
}

/// Follows the status stream until it is as wanted.
fn settled(what: &str, wanted: impl Fn(&ClusterStatus) -> bool) -> ClusterStatus {
    let begun = Instant::now();
    loop {
        let status = status();
        if wanted(&status) {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}\n{status:#?}\n{}", log_text());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn request(id: &str, command: Verb) -> Outcome {
    let id = RequestId::from(id);
    let reply = ask(&Ask::Request { request: Request { id: id.clone(), command, origin: "test".into() } });
    assert_eq!(reply, Reply::Answer { answer: Answer::Accepted });
    match ask(&Ask::Await { id }) {
        Reply::Outcome { outcome } => outcome,
        other => panic!("{other:?}"),
    }
}

fn has_address() -> bool {
    let output = Command::new("ip").args(["-o", "address", "show", "dev", "left"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains(" 10.99.0.100/24 ")
}

fn script_log() -> Vec<String> {
    let log = std::fs::read_to_string("/run/story/init.log").unwrap_or_default();
    // Checks come as they please.
    let mut lines: Vec<String> = log.lines().map(str::to_owned).collect();
    let first = lines.first().cloned();
    lines.retain(|line| line != "status");
    first.filter(|line| line == "status").into_iter().chain(lines).collect()
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn prepare() {
    for place in
        ["/dev/shm", "/run", "/var/lib/corosync", "/etc/corosync", "/var/lib", "/var/log", "/usr/local/sbin", "/mnt"]
    {
        run("mount", &["-t", "tmpfs", "story", place]);
    }
    // /etc stays, cluster.conf must not: a directory of ours over it.
    std::fs::create_dir_all("/mnt/upper").unwrap();
    std::fs::create_dir_all("/mnt/work").unwrap();
    run("mount", &["-t", "overlay", "story", "-o", "lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work", "/etc"]);
    for place in ["/etc/cluster", "/etc/corosync", "/var/lib/corosync", "/var/log/cluster", "/run/story"] {
        std::fs::create_dir_all(place).unwrap();
    }
    let conf = shared::conf::load(&cluster_conf(1, "")).conf.unwrap();
    let corosync_conf = render_corosync_conf(&conf, &RenderOptions::default());
    std::fs::write("/etc/corosync/corosync.conf", corosync_conf).unwrap();
    std::fs::write("/etc/corosync/authkey", [7; 128]).unwrap();
    std::fs::write("/etc/hosts", "127.0.0.1 localhost alone\n").unwrap();
    std::fs::write("/etc/cluster/cluster.conf", cluster_conf(1, "")).unwrap();
    let script = "#!/bin/sh\necho $1 >> /run/story/init.log\ncase $1 in\nstart) sleep 100000 & echo $! > /run/story/pid;;\n\
                  stop) kill -9 $(cat /run/story/pid 2>/dev/null) 2>/dev/null; rm -f /run/story/pid;;\n\
                  status) grep -qs sleep /proc/$(cat /run/story/pid 2>/dev/null)/cmdline || exit 3;;\nesac\nexit 0\n";
    write_script("/run/story/init", script);
    // The Filesystem agent wants to load a module for SCSI, whatever is mounted.
    write_script("/usr/local/sbin/modprobe", "#!/bin/sh\n");
    run("ip", &["link", "set", "lo", "up"]);
    run("ip", &["link", "add", "left", "type", "veth", "peer", "name", "right"]);
    run("ip", &["link", "set", "left", "up"]);
    run("ip", &["link", "set", "right", "up"]);
    run("ip", &["address", "add", "10.99.0.1/24", "dev", "left"]);
}

fn write_script(path: &str, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Starts corosync in the foreground on the private loopback. The daemon itself waits until it answers.
fn start_corosync() -> Child {
    let mut command = Command::new("corosync");
    command.arg("-f").stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    command.spawn().expect("corosync is installed")
}

//! Nothing is left behind: after a drop, after the owner was killed, after the keeper itself was killed.

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use common::{SOON, Traces};
use lab::{Lab, LabOptions, Place};

/// Starts a lab that another process owns; gives that process and the lab's folder.
fn foreign_lab(name: &str) -> (std::process::Child, std::path::PathBuf) {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["up", "2", "--foreground", "--name", name])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the lab command runs");
    let mut line = String::new();
    let output = owner.stdout.take().expect("it has an output");
    BufReader::new(output).read_line(&mut line).expect("it says that the lab is up");
    let folder = line.trim().rsplit_once(": ").expect("the lab is up").1.into();
    (owner, folder)
}

#[test]
fn everything_is_gone_when_the_handle_is_dropped() {
    let lab = Lab::create(LabOptions::hosts(2)).unwrap();
    let traces = Traces::of(lab.folder(), 2);
    assert!(!traces.left().is_empty());
    lab.sh_ok(
        Place::Host(1),
        "sleep 1000 & mkdir -p /sys/fs/cgroup/a/b; sleep 1000 & echo $! > /sys/fs/cgroup/a/b/cgroup.procs",
    )
    .unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut running = lab.spawn(Place::Client, &["sleep", "1000"], log.path()).unwrap();
    lab.hang(2).unwrap();
    drop(lab);
    running.wait(SOON).unwrap();
    assert_eq!(traces.left(), [""; 0]);
}

#[test]
fn everything_is_gone_when_the_owner_was_killed() {
    let name = format!("killed-owner-{}", std::process::id());
    let (mut owner, folder) = foreign_lab(&name);
    let traces = Traces::of(&folder, 2);
    let lab = Lab::attach(&name).unwrap();
    lab.sh_ok(Place::Host(2), "(setsid sleep 1000) &").unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    traces.wait_gone();
}

#[test]
fn sweep_removes_what_a_killed_keeper_left() {
    let name = format!("killed-keeper-{}", std::process::id());
    let (mut owner, folder) = foreign_lab(&name);
    let traces = Traces::of(&folder, 2);
    let keeper: i32 =
        std::fs::read_to_string(folder.join("keeper")).unwrap().split(' ').next().unwrap().parse().unwrap();
    let lab = Lab::attach(&name).unwrap();
    lab.sh_ok(Place::Host(2), "(setsid sleep 1000) &").unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(keeper).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(folder.exists());
    lab::wait_for("the sweep", SOON, || {
        lab::sweep().unwrap();
        (!folder.exists()).then_some(())
    })
    .unwrap();
    traces.wait_gone();
}

#[test]
fn a_lab_that_cannot_come_up_says_why_and_leaves_nothing() {
    let name = format!("no-boot-{}", std::process::id());
    // A file cannot be shown at a place where the host has a folder.
    let options = LabOptions::hosts(1).without_bmcs().name(&name).bind("/etc/hostname", "/etc/apt");
    let refused = format!("{:#}", Lab::create(options).unwrap_err());
    assert!(refused.contains("node1 did not boot"), "{refused}");
    assert!(!lab::base_folder().join(&name).exists());
}

#[test]
fn without_root_the_lab_says_that_it_needs_root() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("lab");
    std::fs::copy(env!("CARGO_BIN_EXE_lab"), &program).unwrap();
    let refused = Command::new(program).args(["up", "1"]).uid(65534).output().unwrap();
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && words.contains("needs root"), "{words}");
}

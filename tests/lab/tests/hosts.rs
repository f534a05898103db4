//! Hosts are hosts: own name, network, files, processes, boot id; they reboot, halt and keep their disk.

mod common;

use std::time::{Duration, Instant, SystemTime};

use common::{SOON, deaf, hears, lab, ring0, ring1};
use lab::{Lab, LabOptions, Nic, Place, wait_for};

const REBOOT: &str = "python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x01234567)'";
const HALT: &str = "python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'";

#[test]
fn three_hosts_know_and_reach_each_other_on_every_network() {
    let lab = lab(3);
    for from in 1..=3 {
        assert_eq!(
            lab.sh_ok(Place::Host(from), "hostname; cat /etc/hostname").unwrap(),
            format!("node{from}\nnode{from}\n")
        );
        for to in 1..=3 {
            let names =
                lab.sh_ok(Place::Host(from), &format!("getent hosts node{to} node{to}-r1 node{to}-mgmt")).unwrap();
            let found: Vec<_> = names.lines().filter_map(|line| line.split(' ').next()).collect();
            let expected = Nic::ALL.map(|nic| nic.address(to).to_string());
            assert_eq!(found, [&expected[0], &expected[1], &expected[2]]);
            for nic in Nic::ALL {
                assert!(
                    lab.reaches(Place::Host(from), nic.address(to).into(), SOON).unwrap(),
                    "{from} to {to} on {nic:?}"
                );
            }
        }
    }
    for place in [Place::Client, Place::Luci] {
        assert_eq!(lab.sh_ok(place, "hostname").unwrap().trim(), place.name());
        assert_eq!(lab.sh_ok(place, "getent hosts node2 | cut -d' ' -f1").unwrap().trim(), "10.77.0.12");
        assert!(lab.reaches(place, ring0(2), SOON).unwrap());
        assert!(lab.reaches(Place::Host(1), place.address().into(), SOON).unwrap());
    }
    assert!(
        !lab.reaches(Place::Client, ring1(1), Duration::from_millis(100)).unwrap_or(false),
        "clients have no ring 1"
    );
}

#[test]
fn a_host_sees_only_its_own_processes_and_writes_only_its_own_files() {
    let lab = lab(2);
    lab.put(1, "/etc/deep/new/file", "one", 0o640).unwrap();
    lab.put(1, "/var/run/volatile", "run", 0o644).unwrap();
    assert_eq!(
        lab.sh_ok(Place::Host(1), "cat /etc/deep/new/file /run/volatile; stat -c %a /etc/deep/new/file").unwrap(),
        "onerun640\n"
    );
    assert!(!lab.sh(Place::Host(2), "cat /etc/deep/new/file").unwrap().ok(), "node2 has a disk of its own");
    assert!(!std::path::Path::new("/etc/deep").exists() && !std::path::Path::new("/run/volatile").exists());
    let processes = lab.sh_ok(Place::Host(1), "ls -d /proc/[0-9]* | wc -l").unwrap();
    assert!(processes.trim().parse::<u32>().unwrap() < 10, "{processes}");
    assert!(
        !lab.sh(Place::Host(1), "echo 1 > /proc/sys/kernel/panic").unwrap().ok(),
        "the machine's kernel is out of reach"
    );
    lab.sh_ok(
        Place::Host(1),
        "mkdir /sys/fs/cgroup/web && echo $$ > /sys/fs/cgroup/web/cgroup.procs && grep web /proc/self/cgroup",
    )
    .unwrap();
}

#[test]
fn a_power_cut_keeps_the_disk_loses_the_rest_and_gives_a_new_boot_id() {
    let rc = "echo hello; echo booted >> /var/log/boots; sleep 1000 & touch /run/rc-ran";
    let lab = Lab::create(LabOptions::hosts(1).without_bmcs().rc(rc)).unwrap();
    let ran = || lab.get(1, "/run/rc-ran").ok();
    wait_for("rc", SOON, ran).unwrap();
    let before = lab.boot_id(1).unwrap();
    assert_eq!(before.len(), 36);
    assert_eq!(lab.sh_ok(Place::Host(1), "cat /proc/sys/kernel/random/boot_id").unwrap().trim(), before);
    lab.sh_ok(Place::Host(1), "echo kept > /srv/kept; rm /etc/hosts; touch /tmp/lost /dev/shm/lost").unwrap();

    let begin = SystemTime::now();
    let at = lab.power_off(1).unwrap();
    assert!(at >= begin - Duration::from_millis(1) && at <= SystemTime::now());
    assert!(!lab.is_up(1) && lab.init(1).is_none());
    assert!(lab.sh(Place::Host(1), "true").is_err(), "nothing runs without power");
    assert!(lab.get(1, "/etc/hosts").is_err(), "a removed file stays removed");
    lab.put(1, "/etc/hosts", "written while off\n", 0o644).unwrap();
    assert!(lab.put(1, "/run/x", "", 0o644).is_err(), "/run is not on the disk");

    lab.power_on(1).unwrap();
    wait_for("rc", SOON, ran).unwrap();
    assert_ne!(lab.boot_id(1).unwrap(), before);
    let files = lab.sh_ok(Place::Host(1), "cat /srv/kept /etc/hosts /var/log/boots; ls /tmp /dev/shm").unwrap();
    assert_eq!(files, "kept\nwritten while off\nbooted\nbooted\n/dev/shm:\n\n/tmp:\n");

    assert_eq!(lab.console(1).unwrap(), "hello\nhello\n");

    lab.power_off(1).unwrap();
    lab.wipe(1).unwrap();
    lab.power_on(1).unwrap();
    wait_for("rc", SOON, ran).unwrap();
    assert_eq!(lab.get(1, "/var/log/boots").unwrap(), "booted\n");
    assert!(lab.get(1, "/srv/kept").is_err());
}

#[test]
fn reboot_inside_a_host_boots_it_again_and_halt_leaves_it_off() {
    let lab = lab(2);
    let before = lab.boot_id(1).unwrap();
    lab.sh(Place::Host(1), REBOOT).unwrap();
    let after = wait_for("the reboot", SOON, || lab.boot_id(1).ok().filter(|now| *now != before)).unwrap();
    assert_ne!(after, before);
    assert!(hears(&lab, 2, 1));
    assert_eq!(lab.state().unwrap().hosts[0].boots, 2);

    lab.sh(Place::Host(1), HALT).unwrap();
    wait_for("the halt", SOON, || (!lab.state().unwrap().hosts[0].on).then_some(())).unwrap();
    assert!(deaf(&lab, 2, 1));
    lab.power_on(1).unwrap();
    assert!(hears(&lab, 2, 1));
}

#[test]
fn a_run_ends_with_its_command_not_with_what_it_leaves_behind() {
    let lab = lab(1);
    let left = lab.sh(Place::Host(1), "echo out; echo err >&2; (sleep 1000) & exit 3").unwrap();
    assert_eq!((left.code, left.stdout.as_str(), left.stderr.as_str()), (3, "out\n", "err\n"));
    assert!(left.took < Duration::from_secs(100));
    assert_eq!(lab.exec(Place::Host(1), &["no-such-program"]).unwrap().code, 127);

    let start = Instant::now();
    let late = lab
        .exec_within(Duration::from_millis(300), Place::Host(1), &["sh", "-c", "echo begun; sleep 1001; true"])
        .unwrap();
    assert!(late.timed_out() && late.stdout == "begun\n" && start.elapsed() < Duration::from_secs(100));
    let sleeping = lab.sh_ok(Place::Host(1), "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").unwrap();
    assert!(sleeping.contains("sleep 1000") && !sleeping.contains("sleep 1001"), "{sleeping}");
}

#[test]
fn pid_1_reaps_orphans() {
    let lab = lab(1);
    lab.sh_ok(Place::Host(1), "for i in 1 2 3 4 5; do (sleep 0.05 &) ; done").unwrap();
    let zombies = "cat /proc/[0-9]*/stat | grep -c -e ' Z ' -e sleep";
    wait_for("the orphans to be gone", SOON, || {
        (lab.sh(Place::Host(1), zombies).unwrap().stdout.trim() == "0").then_some(())
    })
    .unwrap();
}

#[test]
fn a_long_running_command_is_ended_by_its_handle_or_by_a_power_cut() {
    let lab = lab(1);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut first = lab.spawn(Place::Host(1), &["sh", "-c", "echo one; exec sleep 2000"], log.path()).unwrap();
    let mut second = lab.spawn(Place::Host(1), &["sleep", "2001"], log.path()).unwrap();
    wait_for("output", SOON, || std::fs::read_to_string(log.path()).unwrap().contains("one").then_some(())).unwrap();
    first.kill().unwrap();
    wait_for("its end in the host", SOON, || {
        (!lab.sh(Place::Host(1), "grep -q '[2]000' /proc/[0-9]*/cmdline").unwrap().ok()).then_some(())
    })
    .unwrap();
    assert!(second.is_running());
    lab.power_off(1).unwrap();
    second.wait(SOON).unwrap();
}

#[test]
fn two_labs_side_by_side_do_not_meet() {
    let (one, two) = (lab(1), lab(2));
    assert_ne!(one.name(), two.name());
    assert!(lab::list().contains(&one.name()) && lab::list().contains(&two.name()));
    assert!(!one.reaches(Place::Host(1), ring0(2), Duration::from_millis(100)).unwrap_or(false));
    assert!(two.reaches(Place::Host(1), ring0(2), SOON).unwrap());
    let refused = Lab::create(LabOptions::hosts(1).without_bmcs().name(one.name())).unwrap_err().to_string();
    assert!(refused.contains("is running"), "{refused}");
    one.down().unwrap();
    assert!(two.sh(Place::Host(2), "true").unwrap().ok());
}

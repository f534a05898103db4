//! `bind-mount` and `force_unmount` with the packaged Filesystem agent: what somebody uses is unmounted all the same where that was
//! asked for, and a mount that somebody takes away by hand is back. (That without `force_unmount` a file system in use stays
//! is in the story of `self_fence`.)

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use shared::ids::ServiceName;
use shared::status::{ClusterStatus, Command as Verb};
use shared::text::{ResultCode, ServiceState};

use super::{
    Daemon, INSIDE, in_namespaces, log_text, prepare, request, run, service, settled, start_corosync, state, status,
};

/// Checks come once an hour: whatever is found meanwhile, the kernel told.
const CONF: &str = "<?xml version=\"1.0\"?><cluster name=\"story\" config_version=\"1\"><clusternodes><clusternode name=\"alone\" \
    nodeid=\"7\"/></clusternodes><rm><service name=\"web\"><fs name=\"data\" device=\"story\" mountpoint=\"/mnt/data\" fstype=\"tmpfs\" \
    force_unmount=\"1\"><action name=\"monitor\" interval=\"3600\"/><bind-mount name=\"again\" source=\"/run/story/source\" \
    mountpoint=\"/mnt/again\" force_unmount=\"1\"><action name=\"monitor\" interval=\"3600\"/></bind-mount></fs></service></rm></cluster>";

#[test]
fn a_bind_mount_is_brought_back_and_those_who_use_it_are_sent_away() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let name = "mounts::a_bind_mount_is_brought_back_and_those_who_use_it_are_sent_away";
    let (status, said) = in_namespaces(name, "1");
    assert!(status.success(), "{said}");
}

fn mounted(directory: &str) -> bool {
    std::fs::read_to_string("/proc/self/mounts").unwrap().contains(&format!(" {directory} "))
}

fn sits_in(directory: &str) -> Child {
    Command::new("sleep").arg("100000").current_dir(directory).stdin(Stdio::null()).spawn().unwrap()
}

fn inside() {
    prepare();
    std::fs::create_dir_all("/run/story/source").unwrap();
    std::fs::create_dir_all("/mnt/again").unwrap();
    std::fs::write("/run/story/source/page", "once more").unwrap();
    std::fs::write("/etc/cluster/cluster.conf", CONF).unwrap();
    let mut corosync = start_corosync();
    let _daemon = Daemon::start();
    let whole = |status: &ClusterStatus| {
        state(status) == Some(ServiceState::Started) && mounted("/mnt/data") && mounted("/mnt/again")
    };
    settled("both are mounted", whole);
    assert_eq!(std::fs::read_to_string("/mnt/again/page").unwrap(), "once more");

    let restarts = service(&status()).unwrap().restarts;
    run("umount", &["/mnt/again"]);
    settled("the bind mount is back", |now| {
        service(now).is_some_and(|web| web.restarts > restarts && web.state == ServiceState::Started) && whole(now)
    });

    let busy = [sits_in("/mnt/again"), sits_in("/mnt/data")];
    let outcome = request("stop", Verb::Stop { service: ServiceName::parse("web") });
    assert_eq!(outcome.code, ResultCode::Success, "{outcome:?}\n{}", log_text());
    assert!(!mounted("/mnt/again") && !mounted("/mnt/data"), "{}", log_text());
    for mut child in busy {
        let signal = child.wait().unwrap().signal();
        assert!([Signal::TERM, Signal::KILL].map(|known| Some(known.as_raw())).contains(&signal), "{signal:?}");
    }
    assert_eq!(std::fs::read_to_string("/run/story/source/page").unwrap(), "once more", "what it shows is not touched");
    corosync.kill().unwrap();
    corosync.wait().unwrap();
}

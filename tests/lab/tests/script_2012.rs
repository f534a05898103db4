//! A script that an administrator wrote for RHEL 6, parsing what the commands print and trusting their exit codes, runs
//! unchanged on today's cluster.

#![expect(clippy::unwrap_used, reason = "a test stops where it cannot look")]

use std::time::Duration;

use lab::Place;
use lab::cluster::{Cluster, ClusterOptions};

const SCRIPT: &str = include_str!("script_2012.sh");
const PAM: &str = include_str!("../../../packaging/pam.d/ricci");
const PASSWORD: &str = "exercise-of-2012";
const READY: Duration = Duration::from_secs(120);

/// The user whose password pairs, and ricci, as packages would set them up.
fn start_ricci(cluster: &Cluster, host: usize) {
    let script = format!(
        "id ricci >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin ricci\n\
         echo 'ricci:{PASSWORD}' | chpasswd\n\
         setsid ricci serve --init direct >>/var/log/cluster/ricci.log 2>&1 </dev/null &\n"
    );
    cluster.lab.sh_ok(Place::Host(host), &script).unwrap();
    lab::wait_for("ricci to listen", READY, || {
        let log = cluster.lab.get(host, "/var/log/cluster/ricci.log").ok()?;
        log.contains("listening").then_some(())
    })
    .unwrap();
}

#[test]
fn a_script_of_2012_runs_unchanged() {
    let mut options = ClusterOptions::web(3);
    options.files =
        vec![("/etc/pam.d/ricci".into(), PAM.into(), 0o644), ("/root/exercise.sh".into(), SCRIPT.into(), 0o755)];
    let cluster = Cluster::boot(options).unwrap();
    cluster.formed().unwrap();
    for host in 1..=3 {
        start_ricci(&cluster, host);
    }
    // By hand, and by cron: no terminal, and hardly any environment. The PATH is that of RHEL's /etc/crontab, before it the folder that
    // stands for /usr/sbin with our programs in it.
    let cron = "env -i HOME=/root LOGNAME=root SHELL=/bin/sh PATH=/opt/cluster/bin:/sbin:/bin:/usr/sbin:/usr/bin";
    for environment in ["HOME=/root", cron] {
        let typed = format!("{environment} /root/exercise.sh node1 {PASSWORD}");
        let done = cluster.lab.sh(Place::Host(2), &typed).unwrap();
        assert!(done.ok(), "{environment}: {}{}\n{}", done.stdout, done.stderr, cluster.log(2));
        assert_eq!(done.stdout.lines().last(), Some("exercise done"), "{environment}: {}", done.stdout);
    }
}

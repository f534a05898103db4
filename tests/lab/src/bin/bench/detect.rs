//! How soon a failure is noticed: the server is killed, its address removed, its directory unmounted, by hand, again and again.
//!
//! Our suite and Pacemaker run the same agents over the same things on one host each, at the interval of 10 s that both have by
//! default. What is measured is the world: the next answered request, the address on the interface, the entry in the table of
//! mounts. What the agents themselves take is read from our log and told apart.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use lab::cluster::{Cluster, ClusterOptions, SERVICE_ADDRESS, web_service};
use lab::{HttpPoller, Lab, Place, epoch_s, wait_for};

use crate::pacemaker;
use crate::phases::spread;
use crate::stamps::{Clock, Line};

/// Pacemaker may need a whole interval and the timeouts of its actions.
const LIMIT: Duration = Duration::from_secs(60);
/// Between a recovery and the next failure, so that each failure meets a service at rest. Pacemaker's checks come every 10 s:
/// the odd number lets the failures fall at other points of its interval each time.
const REST: Duration = Duration::from_millis(1370);
/// An address on its own, so that no server has to be stopped before it is put back.
pub(crate) const ADDRESS: &str = "10.77.0.120";
const MOUNTPOINT: &str = "/srv/mounted";
const SOURCE: &str = "/srv/source";

/// The figures of one suite, in seconds per run.
#[derive(Default)]
pub(crate) struct Detection {
    name: &'static str,
    /// Server killed → first answer to a request sent after the failure.
    answered: Vec<f64>,
    /// The same without what the agents' own stops and starts took; ours only.
    beside_agents: Vec<f64>,
    /// The agent's own check that found it; ours only.
    check: Vec<f64>,
    /// Address removed → on the interface again.
    address: Vec<f64>,
    /// What the agent's own stop and start took of it; ours only.
    address_agent: Vec<f64>,
    /// The same stop and start, run by hand on the other host in the same round: what nobody can be faster than; ours only.
    address_alone: Vec<f64>,
    /// Unmounted → the first run of the agent about it begins; ours only.
    noticed: Vec<f64>,
    /// Unmounted → mounted again.
    mounted: Vec<f64>,
}

/// Measures both, if Pacemaker is to be measured.
pub(crate) fn measure(runs: usize, with_pacemaker: bool) -> Result<Vec<Detection>> {
    let mut all = vec![ours(runs).context("our suite")?];
    if with_pacemaker {
        // Pacemaker needs a whole interval for each failure: whoever does not wait that long has ours.
        print(&all);
        all.push(theirs(runs).context("Pacemaker")?);
    }
    Ok(all)
}

/// Prints them side by side.
#[expect(clippy::print_stdout, reason = "the figures go to the person who asked for them")]
pub(crate) fn print(all: &[Detection]) {
    let row = |title: &str, values: fn(&Detection) -> &Vec<f64>| {
        let mut line = format!("{title:<58}");
        for suite in all {
            line += &format!(" {:<24}", spread(values(suite).clone()));
        }
        println!("{}", line.trim_end());
    };
    let names: String =
        all.iter().map(|suite| format!(" {:<24}", format!("{} (n={})", suite.name, suite.answered.len()))).collect();
    println!("{:<58}{}", "", names.trim_end());
    row("server killed -> answering again", |suite| &suite.answered);
    row("  of it beside the agents' own stops and starts", |suite| &suite.beside_agents);
    row("    of that the check that found it", |suite| &suite.check);
    row("address removed -> back", |suite| &suite.address);
    row("  of it the agent's own stop and start", |suite| &suite.address_agent);
    row("  the same agent run by hand on an idle host", |suite| &suite.address_alone);
    row("unmounted -> the agent is asked", |suite| &suite.noticed);
    row("unmounted -> mounted again", |suite| &suite.mounted);
}

fn ours(runs: usize) -> Result<Detection> {
    let mut options = ClusterOptions::web(2);
    options.rm = format!(
        "<failoverdomains><failoverdomain name=\"first\" ordered=\"1\"><failoverdomainnode name=\"node1\" priority=\"1\"/>\
         </failoverdomain></failoverdomains>\n{}    <service name=\"disk\" domain=\"first\"><bind-mount name=\"b\" \
         source=\"{SOURCE}\" mountpoint=\"{MOUNTPOINT}\"/></service>\n    <service name=\"address\" domain=\"first\">\
         <ip address=\"{ADDRESS}/24\"/></service>\n",
        web_service(" domain=\"first\""),
    );
    options.log_level = "info,ricci::rgmanager=debug".to_owned();
    options.files =
        vec![(format!("{SOURCE}/file"), String::new(), 0o644), (format!("{MOUNTPOINT}/empty"), String::new(), 0o644)];
    let cluster = Cluster::boot(options)?;
    cluster.formed()?;
    for service in ["web", "disk", "address"] {
        cluster.wait_owner(1, service, 1, LIMIT)?;
    }
    let poller = poll(&cluster.lab)?;
    let mut found = Detection { name: "ours", ..Detection::default() };
    for _ in 0..runs {
        let at = kill(&cluster.lab)?;
        let answered = answered_after(&poller, at)?;
        cluster.wait_owner(1, "web", 1, LIMIT)?;
        let lines = log_after(&cluster, at)?;
        found.beside_agents.push(answered - agents_took(&lines, "service:web ", answered, &[" stop", " start"]));
        found.check.push(agents_took(&lines, "service:web ", answered, &[" monitor"]));
        found.answered.push(answered);
        std::thread::sleep(REST);
        let (at, back) = remove_address(&cluster.lab)?;
        cluster.wait_owner(1, "address", 1, LIMIT)?;
        let lines = log_after(&cluster, at)?;
        found.address_agent.push(agents_took(&lines, "service:address ", back, &[" stop", " start"]));
        found.address.push(back);
        found.address_alone.push(address_alone(&cluster.lab)?);
        std::thread::sleep(REST);
        let (at, mounted) = unmount(&cluster.lab)?;
        found.mounted.push(mounted);
        cluster.wait_owner(1, "disk", 1, LIMIT)?;
        let asked = log_after(&cluster, at)?
            .into_iter()
            .find(|line| line.text.contains(" begins: ") && line.text.contains("bind-mount:"));
        found.noticed.push(asked.context("no run of the agent after the unmount")?.at);
        std::thread::sleep(REST);
    }
    Ok(found)
}

fn theirs(runs: usize) -> Result<Detection> {
    let lab = pacemaker::boot_for_detection(SOURCE, MOUNTPOINT)?;
    let poller = poll(&lab)?;
    poller.wait_page(SystemTime::now(), LIMIT, |_| true)?;
    wait_mounted(&lab)?;
    let mut found = Detection { name: "Pacemaker", ..Detection::default() };
    for _ in 0..runs {
        let at = kill(&lab)?;
        found.answered.push(answered_after(&poller, at)?);
        pacemaker::at_rest(&lab)?;
        std::thread::sleep(REST);
        found.address.push(remove_address(&lab)?.1);
        pacemaker::at_rest(&lab)?;
        std::thread::sleep(REST);
        found.mounted.push(unmount(&lab)?.1);
        pacemaker::at_rest(&lab)?;
        std::thread::sleep(REST);
    }
    Ok(found)
}

fn poll(lab: &Lab) -> Result<HttpPoller> {
    let poller = lab.poll_http(SocketAddrV4::new(SERVICE_ADDRESS.parse()?, 80), "/")?;
    poller.wait_page(SystemTime::now(), LIMIT, |_| true)?;
    Ok(poller)
}

/// Does something on the host; the moment right before it, by the clock that all hosts share.
fn harm(lab: &Lab, command: &str) -> Result<f64> {
    let said = lab.sh_ok(Place::Host(1), &format!("date +%s.%N; {command}"))?;
    let first = said.lines().next().unwrap_or_default();
    first.trim().parse().with_context(|| format!("{first:?} is no time"))
}

/// All processes of the server: as long as one of its children lives it goes on answering.
fn kill(lab: &Lab) -> Result<f64> {
    harm(lab, "kill -9 $(pidof apache2)")
}

/// From the failure to the end of the first good answer to a request that was sent after one had failed.
fn answered_after(poller: &HttpPoller, at: f64) -> Result<f64> {
    let answer = wait_for("an answer after the failure", LIMIT, || {
        let answers = poller.answers();
        let failed = answers
            .iter()
            .filter(|answer| epoch_s(answer.sent) > at && !answer.ok())
            .map(|answer| answer.sent)
            .min()?;
        answers.into_iter().filter(|answer| answer.ok() && answer.sent > failed).min_by_key(|answer| answer.ended)
    })?;
    Ok(epoch_s(answer.ended) - at)
}

/// The moment of the removal, and after how long the address was back.
fn remove_address(lab: &Lab) -> Result<(f64, f64)> {
    let at = harm(lab, &format!("ip addr del {ADDRESS}/24 dev eth0"))?;
    let address = ADDRESS.parse()?;
    // Looked at from outside, as often as the machine allows.
    wait_for("the address", LIMIT, || lab.holders(address).contains(&1).then_some(()))?;
    Ok((at, epoch_s(SystemTime::now()) - at))
}

/// The agent's stop of an address that is gone and its start, without any of us.
fn address_alone(lab: &Lab) -> Result<f64> {
    let said = lab.sh_ok(
        Place::Host(2),
        "export OCF_ROOT=/usr/lib/ocf OCF_RA_VERSION_MAJOR=1 OCF_RA_VERSION_MINOR=1 OCF_RESOURCE_INSTANCE=alone \
         OCF_RESOURCE_TYPE=IPaddr2 OCF_RESOURCE_PROVIDER=heartbeat OCF_RESKEY_ip=10.77.0.121 OCF_RESKEY_cidr_netmask=24 \
         OCF_RESKEY_CRM_meta_timeout=20000 HA_LOGFACILITY=none HA_debug=0 HA_RSCTMP=/run/resource-agents\n\
         agent=/usr/lib/ocf/resource.d/heartbeat/IPaddr2\n\
         begun=$(date +%s.%N); $agent stop >/dev/null 2>&1 && $agent start >/dev/null 2>&1 || exit 1\n\
         ended=$(date +%s.%N); ip addr del 10.77.0.121/24 dev eth0; echo $begun $ended",
    )?;
    let mut words = said.split_whitespace().map(str::parse::<f64>);
    let (Some(Ok(begun)), Some(Ok(ended))) = (words.next(), words.next()) else {
        anyhow::bail!("no two moments: {said:?}");
    };
    Ok(ended - begun)
}

fn unmount(lab: &Lab) -> Result<(f64, f64)> {
    let at = harm(lab, &format!("umount {MOUNTPOINT}"))?;
    wait_mounted(lab)?;
    Ok((at, epoch_s(SystemTime::now()) - at))
}

fn wait_mounted(lab: &Lab) -> Result<()> {
    let mounts = PathBuf::from(format!("/proc/{}/mountinfo", lab.init(1).context("node1 has no power")?));
    let wanted = format!(" {MOUNTPOINT} ");
    wait_for("the mount", LIMIT, || {
        std::fs::read_to_string(&mounts).is_ok_and(|text| text.contains(&wanted)).then_some(())
    })
}

fn log_after(cluster: &Cluster, at: f64) -> Result<Vec<Line>> {
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(at);
    Ok(Clock::from(&cluster.lab, 1, moment)?.lines(&cluster.log(1)))
}

/// What these operations of a service's agents took until `until`, in seconds, by the runner's own clock.
fn agents_took(lines: &[Line], service: &str, until: f64, operations: &[&str]) -> f64 {
    let concerned = lines.iter().filter(|line| {
        let wanted = operations.iter().any(|operation| line.text.ends_with(operation));
        wanted && line.text.contains(" begins: ") && line.text.contains(service) && line.at < until
    });
    concerned
        .filter_map(|begun| {
            let number = begun.text.split(" run ").nth(1)?.split(' ').next()?;
            let ended = lines.iter().find(|line| line.text.contains(&format!("run {number} ended with")))?;
            let took: f64 = ended.text.strip_suffix(" ms")?.rsplit(' ').next()?.parse().ok()?;
            // A server may answer before its agent has made sure of it.
            Some((took / 1000.0).min((until - begun.at).max(0.0)))
        })
        .sum()
}

/// Fails unless the promises are kept; for those who want an exit code.
pub(crate) fn judge(all: &[Detection]) -> Result<()> {
    let Some(ours) = all.first() else { return Ok(()) };
    for (what, values, limit) in [
        ("beside the agents, a killed server is back", &ours.beside_agents, 0.100),
        ("a removed address is back", &ours.address, 0.200),
        ("an unmounted directory is noticed", &ours.noticed, 0.100),
    ] {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY);
        ensure!(median <= limit, "{what} within {limit:.3} s at the median was promised, it took {median:.3} s");
    }
    Ok(())
}

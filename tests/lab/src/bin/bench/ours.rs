//! Our suite under the knife: rgmanager on true corosync, its log with the runs of the agents.
//!
//! An agent's end is its beginning plus the run time that the runner measured, not the moment when the daemon took notice,
//! so that what the daemon needs to notice counts as its own.

use std::net::SocketAddrV4;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use lab::cluster::{Cluster, ClusterOptions, SERVICE_ADDRESS};
use lab::{HttpPoller, Place, epoch_s, host_name};
use shared::text::ServiceState;

use crate::TOKEN_MS;
use crate::phases::{Failover, Table, line};
use crate::stamps::{Clock, Line, first, must};

const FORMING: Duration = Duration::from_secs(60);
const FAILOVER: Duration = Duration::from_secs(30);

/// With two nodes the host that is cut, always; the other has the fence device with a delay.
const CUT_OF_TWO: usize = 1;

pub(crate) fn measure(hosts: usize, runs: usize, each: bool) -> Result<Table> {
    let mut options = ClusterOptions::web(hosts);
    options.token_ms = TOKEN_MS;
    options.fence_extra = vec![" action=\"off\"".to_owned(); hosts];
    if hosts == 2 {
        options.fence_extra[1] += " delay=\"2\"";
    }
    options.log_level = "info,ricci::rgmanager=debug".to_owned();
    let cluster = Cluster::boot(options)?;
    let target = SocketAddrV4::new(SERVICE_ADDRESS.parse()?, 80);
    let poller = cluster.lab.poll_http(target, "/")?;
    let mut table = Table::default();
    for number in 1..=runs {
        let owner = settled(&cluster, &poller)?;
        // The cut falls at another point of the token's way each time.
        std::thread::sleep(Duration::from_millis(500 + 97 * u64::try_from(number)?));
        let (run, to) = cut(&cluster, &poller, owner).with_context(|| format!("run {number}"))?;
        if each {
            say(&line(number, owner, to, &run));
        }
        table.runs.push(run);
        cluster.lab.restore(owner)?;
        cluster.lab.power_on(owner).ok();
    }
    Ok(table)
}

#[expect(clippy::print_stdout, reason = "asked for with --each")]
fn say(text: &str) {
    println!("{text}");
}

/// Waits until all are members and the service answers, brings it to where it shall be cut, and says where it is.
fn settled(cluster: &Cluster, poller: &HttpPoller) -> Result<usize> {
    let all: Vec<usize> = (1..=cluster.options.hosts).collect();
    for &host in &all {
        cluster.wait_members(host, &all, FORMING)?;
    }
    cluster.wait_state(1, "web", ServiceState::Started, FORMING)?;
    let mut owner = cluster.owner(1, "web").context("a started service has an owner")?;
    if cluster.options.hosts == 2 && owner != CUT_OF_TWO {
        cluster.lab.sh_ok(Place::Host(owner), &format!("clusvcadm -r web -m {}", host_name(CUT_OF_TWO)))?;
        owner = CUT_OF_TWO;
        cluster.wait_state(1, "web", ServiceState::Started, FORMING)?;
    }
    let name = host_name(owner);
    poller.wait_page(SystemTime::now(), FAILOVER, |page| page == name)?;
    Ok(owner)
}

fn cut(cluster: &Cluster, poller: &HttpPoller, owner: usize) -> Result<(Failover, usize)> {
    let name = host_name(owner);
    let moment = cluster.lab.power_off(owner)?;
    let survivors: Vec<usize> = (1..=cluster.options.hosts).filter(|&host| host != owner).collect();
    let answer = poller
        .wait_page(moment, FAILOVER, |page| page != name)
        .with_context(|| survivors.iter().map(|&host| cluster.log(host)).collect::<String>())?;
    let to = survivors.iter().copied().find(|&host| answer.page() == Some(&host_name(host)));
    let to = to.context("a page names the host that serves it")?;
    cluster.wait_state(to, "web", ServiceState::Started, FAILOVER)?;
    let clock = Clock::from(&cluster.lab, to, moment)?;
    let mut corosync = Vec::new();
    let mut logs = Vec::new();
    for &host in &survivors {
        corosync.extend(clock.lines(&cluster.lab.get(host, "/var/log/cluster/corosync.log")?));
        logs.extend(clock.lines(&cluster.log(host)));
    }
    let here = clock.lines(&cluster.log(to));
    let membership = must(&corosync, "A new membership", &name)?;
    let fence_begins = must(&logs, &format!("fencing node {name}"), "the survivors")?;
    let fence_took = took_ms(&logs, &format!("fence {name} success"))?;
    let fenced = fence_begins + fence_took / 1000.0;
    let address = AgentRun::find(&here, "ip:")?;
    let web = AgentRun::find(&here, "apache:")?;
    let at = |text: &str| must(&logs, text, "the survivors");
    let known = at(&format!("{name} was lost"))?;
    let decided = at(&format!("Fencing {name} by"))?;
    let fence_known = at(&format!("{name} has been fenced"))?;
    let start_decided = at("Starting service service:web on")?;
    let details = vec![
        ("new membership -> known to rgmanager", known - membership),
        ("-> fencing decided (delivered to all)", decided - known),
        ("-> fence agent begins", fence_begins - decided),
        ("fence agent ended -> known to all", fence_known - fenced),
        ("-> start decided (delivered to all)", start_decided - fence_known),
        ("-> agent begins", address.begins - start_decided),
        ("first answer -> apache's agent has ended", web.ends - (epoch_s(answer.ended) - epoch_s(moment))),
    ];
    let run = Failover {
        token_lost: must(&corosync, "A processor failed", &name)?,
        membership,
        fence_begins,
        fenced,
        address_begins: address.begins,
        address_up: address.ends,
        web_begins: web.begins,
        answer: epoch_s(answer.ended) - epoch_s(moment),
        details,
    };
    ensure!(run.fenced <= run.address_begins, "started before the fence agent had ended: {run:?}");
    Ok((run, to))
}

/// One start of an agent.
struct AgentRun {
    begins: f64,
    ends: f64,
}

impl AgentRun {
    /// By the lines `run N begins: service:web RESOURCE start` and `run N ended with … after M ms`.
    fn find(lines: &[Line], resource: &str) -> Result<Self> {
        let begun = lines
            .iter()
            .find(|line| {
                line.text.contains(" begins: ") && line.text.contains(resource) && line.text.ends_with(" start")
            })
            .with_context(|| format!("no start of {resource} in the log"))?;
        let number = begun.text.split(" run ").nth(1).and_then(|rest| rest.split(' ').next());
        let number = number.with_context(|| format!("no number in {:?}", begun.text))?;
        let took = took_ms(lines, &format!("run {number} ended with"))?;
        Ok(Self { begins: begun.at, ends: begun.at + took / 1000.0 })
    }
}

/// The milliseconds at the end of the first line with this text: `… N ms`.
fn took_ms(lines: &[Line], text: &str) -> Result<f64> {
    must(lines, text, "the new owner")?;
    let earliest = first(lines, text);
    let line = lines.iter().find(|line| Some(line.at) == earliest && line.text.contains(text)).context("just seen")?;
    let mut words = line.text.split_whitespace().rev();
    ensure!(words.next() == Some("ms"), "{:?} does not say how long it took", line.text);
    words.next().context("a number")?.parse().with_context(|| format!("{:?} has no number", line.text))
}

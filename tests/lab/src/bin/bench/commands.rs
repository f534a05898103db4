//! How long an administrator waits for `clustat`: wall time of the whole program, beside `crm_mon -1` and `pcs status` of
//! Pacemaker on hosts of the same kind.
//!
//! Small: three hosts with fifty services each, on the lab, also while a fence agent hangs; neither luci nor ricci runs
//! there. Large: 32 nodes with 2,000 services, once held by a true rgmanager whose 31 fellows are away, once all at work as a
//! status served to `clustat` by a control socket, and to `crm_mon` as a CIB in a file, because no machine holds 32 hosts. Times are taken by a small program on the host itself.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use lab::cluster::{Cluster, ClusterOptions};
use lab::{BmcMode, Lab, Place, wait_for};
use shared::text::ServiceState;

use crate::{large, pacemaker};

const HOSTS: usize = 3;
const SERVICES: usize = 50 * HOSTS;
const FORMING: Duration = Duration::from_secs(180);
/// Before rgmanager joins, the agents of all services are asked whether they run here.
const FORMING_LARGE: Duration = Duration::from_secs(600);
const FAILOVER: Duration = Duration::from_secs(60);
/// Of one series of runs.
const SERIES: Duration = Duration::from_secs(300);

/// What is measured, and how often.
#[derive(Args)]
pub(crate) struct Wanted {
    /// Runs of each command; those of other suites are a tenth of it, five at least.
    #[arg(long, default_value_t = 100)]
    runs: usize,
    /// Leave Pacemaker out although it is installed.
    #[arg(long)]
    without_pacemaker: bool,
}

/// A series taken on the spot, for `measure` to print.
#[derive(Args)]
pub(crate) struct Series {
    #[arg(long)]
    runs: usize,
    #[arg(trailing_var_arg = true, required = true)]
    words: Vec<String>,
}

/// Runs the command again and again and prints `minimum median maximum` in microseconds.
pub(crate) fn time(series: &Series) -> Result<()> {
    let (program, arguments) = series.words.split_first().context("no command given")?;
    let mut taken = Vec::new();
    for _ in 0..series.runs {
        let begun = Instant::now();
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("{program} could not be started"))?;
        taken.push(begun.elapsed().as_micros());
        if !status.success() {
            bail!("{program} ended with {status}");
        }
    }
    taken.sort_unstable();
    let (first, last) = (taken.first().context("no runs")?, taken.last().context("no runs")?);
    print(&format!("{first} {} {last}", taken[taken.len() / 2]));
    Ok(())
}

pub(crate) fn measure(wanted: &Wanted) -> Result<()> {
    let others = (wanted.runs / 10).max(5);
    print(&format!(
        "Wall time of the whole command, milliseconds, min / median / max of {} (others: {others}).",
        wanted.runs
    ));
    print("No luci and no ricci runs anywhere: clustat asks rgmanager alone.");
    print(&format!("\n{HOSTS} hosts, {SERVICES} services"));
    small(wanted.runs)?;
    let with_pacemaker = !wanted.without_pacemaker && pacemaker::installed();
    if with_pacemaker {
        small_pacemaker(others)?;
    }
    print(&format!("\n{} nodes, {} services, one rgmanager at work", large::NODES, large::SERVICES));
    true_large(wanted.runs)?;
    print(&format!("\n{} nodes, {} services, all of them at work: a status made up", large::NODES, large::SERVICES));
    large::measure(wanted.runs, with_pacemaker.then_some(others))
}

fn small(runs: usize) -> Result<()> {
    let mut options = ClusterOptions::web(HOSTS);
    options.rm = (1..=SERVICES).fold(String::new(), |mut rm, number| {
        let dummy = format!("<ocf name=\"d{number:03}\" provider=\"heartbeat\" type=\"Dummy\"/>");
        let _ = writeln!(rm, "    <service name=\"s{number:03}\">{dummy}</service>");
        rm
    });
    let cluster = Cluster::boot(options)?;
    let all: Vec<usize> = (1..=HOSTS).collect();
    for &host in &all {
        cluster.wait_members(host, &all, FORMING)?;
    }
    for number in 1..=SERVICES {
        cluster.wait_state(1, &format!("s{number:03}"), ServiceState::Started, FORMING)?;
    }
    series(&cluster.lab, "clustat", runs, &["clustat"])?;
    series(&cluster.lab, "clustat -x", runs, &["clustat", "-x"])?;
    series(&cluster.lab, "clustat -s s001", runs, &["clustat", "-s", "s001"])?;
    cluster.lab.set_bmc(HOSTS, BmcMode::Silent)?;
    cluster.lab.power_off(HOSTS)?;
    wait_for("a fence agent to be at work", FAILOVER, || {
        let status = cluster.status(1)?;
        let victim = status.node(&lab::host_name(HOSTS).into())?;
        victim.fencing.as_ref().filter(|fencing| fencing.step == shared::status::FencingStep::Running).map(|_| ())
    })?;
    series(&cluster.lab, "clustat, a fence hangs", runs, &["clustat"])
}

/// One host holds the state of all services of 32 nodes; the others are away, and the services are not started.
fn true_large(runs: usize) -> Result<()> {
    let mut options = ClusterOptions::web(1);
    options.absent = large::NODES as usize - 1;
    options.fence_daemon = "clean_start=\"1\"".to_owned();
    options.rm = (1..=large::SERVICES).fold(String::new(), |mut rm, number| {
        let dummy = format!("<ocf name=\"d{number:04}\" provider=\"heartbeat\" type=\"Dummy\"/>");
        let _ = writeln!(rm, "    <service name=\"s{number:04}\" autostart=\"0\">{dummy}</service>");
        rm
    });
    let cluster = Cluster::boot(options)?;
    cluster.wait_members(1, &[1], FORMING_LARGE)?;
    cluster.wait_state(1, &format!("s{:04}", large::SERVICES), ServiceState::Disabled, FORMING_LARGE)?;
    series(&cluster.lab, "clustat", runs, &["clustat"])?;
    series(&cluster.lab, "clustat -x", runs, &["clustat", "-x"])?;
    // The exit code of a disabled service is its number, which `time` would take for a failure.
    series(&cluster.lab, "clustat -Q", runs, &["clustat", "-Q"])
}

fn small_pacemaker(runs: usize) -> Result<()> {
    let lab = pacemaker::boot(HOSTS)?;
    pacemaker::online(&lab, HOSTS, 1)?;
    pacemaker::configure_dummies(&lab, SERVICES)?;
    wait_for("all resources of Pacemaker to be started", FORMING, || {
        let text = lab.sh(Place::Host(1), "crm_mon -1").ok()?.stdout;
        (text.matches("Started").count() >= SERVICES).then_some(())
    })
    .with_context(|| lab.sh(Place::Host(1), "crm_mon -1").map(|done| done.stdout).unwrap_or_default())?;
    series(&lab, "crm_mon -1", runs, &["crm_mon", "-1"])?;
    if std::path::Path::new("/usr/sbin/pcs").exists() {
        series(&lab, "pcs status", runs, &["pcs", "status"])
    } else {
        print("pcs is not installed (apt install pcs)");
        Ok(())
    }
}

fn series(lab: &Lab, name: &str, runs: usize, words: &[&str]) -> Result<()> {
    let runs = runs.to_string();
    let mut all = vec!["bench", "time", "--runs", &runs, "--"];
    all.extend(words);
    let done = lab.exec_within(SERIES, Place::Host(1), &all)?;
    if !done.ok() {
        bail!("{name}: {}{}", done.stdout, done.stderr);
    }
    tell(name, &done.stdout)
}

/// One line of the table.
pub(crate) fn tell(name: &str, microseconds: &str) -> Result<()> {
    let times: Vec<f64> = microseconds.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [least, median, most] = times[..] else { bail!("{name}: not three times: {microseconds:?}") };
    print(&format!("{name:<28} {:>8.1} / {:>8.1} / {:>8.1}", least / 1000.0, median / 1000.0, most / 1000.0));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures go to the person who asked for them")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}

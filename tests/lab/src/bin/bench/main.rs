// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measurements on the lab: `bench failover` cuts the power of the host that serves, again and again, and tells where the time
//! until the next answer goes, for our suite and beside it for Pacemaker, if that is installed; `bench commands` tells how long
//! commands take.
//!
//! Started by `cargo xtask bench`. Reads logs of the hosts (they share one clock) and what an HTTP client gets; asks no
//! program for its own opinion of how fast it was.

#![expect(clippy::print_stdout, reason = "the figures go to the person who asked for them")]

mod commands;
mod detect;
mod large;
mod ours;
mod pacemaker;
mod phases;
mod stamps;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use phases::Table;

/// corosync's token while the time of a failover is measured.
const TOKEN_MS: u64 = 1000;

#[derive(Parser)]
#[command(name = "bench", about = "Measurements on hosts made of namespaces (root)")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Power of the owner is cut: the phases until another host answers.
    Failover(Failover),
    /// Wall time of `clustat`, beside that of other suites' commands.
    Commands(commands::Wanted),
    /// Takes one series of times, on the host where it is started.
    #[command(hide = true)]
    Time(commands::Series),
    /// Server killed, address removed, directory unmounted: how soon it is noticed and mended.
    Detect(Detect),
}

/// How often.
#[derive(Args)]
struct Detect {
    /// How often each failure is made.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Leave Pacemaker out although it is installed.
    #[arg(long)]
    without_pacemaker: bool,
}

/// What is measured, and how often.
#[derive(Args)]
struct Failover {
    /// How often the power is cut, per number of hosts.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Numbers of hosts.
    #[arg(long, value_delimiter = ',', default_values_t = [2, 3])]
    hosts: Vec<usize>,
    /// Leave Pacemaker out although it is installed.
    #[arg(long)]
    without_pacemaker: bool,
    /// Show every run.
    #[arg(long)]
    each: bool,
}

fn main() -> Result<()> {
    match Arguments::parse().what {
        What::Failover(wanted) => failover(&wanted),
        What::Detect(wanted) => detect(&wanted),
        What::Commands(wanted) => {
            commands::measure(&wanted)?;
            println!("{}", load());
            Ok(())
        }
        What::Time(series) => commands::time(&series),
    }
}

fn detect(wanted: &Detect) -> Result<()> {
    println!(
        "A failure by hand on the owner; checks every 10 s; address + apache, and a bind mount; one request per 10 ms."
    );
    println!("Seconds, min / median / max. {}", load());
    let with_pacemaker = !wanted.without_pacemaker && pacemaker::installed();
    let all = detect::measure(wanted.runs, with_pacemaker)?;
    detect::print(&all);
    println!("{}", load());
    detect::judge(&all)
}

fn failover(wanted: &Failover) -> Result<()> {
    println!(
        "Power of the owner is cut; token {TOKEN_MS} ms, fence_ipmilan (off), address + apache, one request per 10 ms."
    );
    println!("Seconds, min / median / max. {}", load());
    let with_pacemaker = !wanted.without_pacemaker && pacemaker::installed();
    if !with_pacemaker && !wanted.without_pacemaker {
        println!("Pacemaker is not installed (apt install pacemaker), so there is nothing to compare with.");
    }
    for &hosts in &wanted.hosts {
        let mut tables = vec![("ours", ours::measure(hosts, wanted.runs, wanted.each)?)];
        if with_pacemaker {
            tables.push(("Pacemaker", pacemaker::measure(hosts, wanted.runs, wanted.each)?));
        }
        report(hosts, &tables);
    }
    Ok(())
}

fn report(hosts: usize, tables: &[(&str, Table)]) {
    println!("\n{hosts} hosts");
    if hosts == 2 {
        println!(
            "(two_node; ours: the fence device of the survivor has delay=\"2\", as an administrator of two nodes would \
             set it, so that the survivor fences at once and need not wait for its head start)"
        );
    }
    phases::print(tables);
    println!("{}", load());
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("Load of the machine: {}.", text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

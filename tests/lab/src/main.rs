// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `lab`: labs by hand, with the same meanings as in the library.
//!
//! The same binary is every inner process of a lab (keeper, pid 1 of hosts, the way into a host); those begin with two
//! underscores and are handed to the library.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use lab::{Cut, Lab, LabOptions, Nic, Place};

/// Several cluster hosts on one machine, made of namespaces. Needs root.
#[derive(Parser)]
#[command(name = "lab", version)]
struct Arguments {
    /// Name of the lab.
    #[arg(long, global = true, default_value = "hand")]
    name: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a lab of N powered hosts, node1 to nodeN, each with a BMC; it lives until `lab down`.
    Up {
        hosts: usize,
        /// Folder with programs, seen by the hosts as /opt/cluster/bin.
        #[arg(long)]
        binaries: Option<PathBuf>,
        /// Script that every host runs at boot.
        #[arg(long)]
        rc: Option<PathBuf>,
        /// Stay in the foreground; the lab ends with this process, however it ends.
        #[arg(long)]
        foreground: bool,
    },
    /// End a lab and remove everything of it.
    Down,
    /// Running labs.
    List,
    /// Hosts of the lab.
    Status,
    /// What was done to hosts.
    Events,
    /// Run a command in a host (nodeN), the client or luci's place.
    Exec {
        place: String,
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
    /// Give a host power.
    On { host: String },
    /// Cut a host's power.
    Off { host: String },
    /// Power off and on again.
    Cycle { host: String },
    /// Stop every process; the host's kernel still answers.
    Freeze { host: String },
    /// End a freeze.
    Thaw { host: String },
    /// Nothing runs, nothing answers.
    Hang { host: String },
    /// End a hang.
    Unhang { host: String },
    /// Cut a host from the network: all interfaces, or those named (eth0 eth1 eth2).
    Cut {
        host: String,
        nics: Vec<String>,
        /// Frames vanish, the carrier stays.
        #[arg(long)]
        silent: bool,
    },
    /// Part the rings: groups of hosts, as in `1,2 3`.
    Part { groups: Vec<String> },
    /// Lose this percentage of a host's frames on an interface.
    Loss { host: String, nic: String, percent: u8 },
    /// End all cuts, partitions and losses.
    Heal,
    /// Make a host whole: network, power, thawed.
    Restore { host: String },
    /// Fresh disk for a host without power.
    Wipe { host: String },
    /// Forward 127.0.0.1:PORT of the machine to ADDRESS:PORT as seen from a place, until interrupted.
    Forward { port: u16, place: String, target: SocketAddr },
    /// Remove what labs left whose processes were killed.
    Sweep,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(code) = lab::inside::dispatch(&words) {
        return code_of(code);
    }
    match run(Arguments::parse()) {
        Ok(code) => code_of(code),
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "lab: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn code_of(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn run(arguments: Arguments) -> Result<i32> {
    let name = arguments.name;
    let attach = || Lab::attach(&name);
    match arguments.verb {
        Verb::Up { hosts, binaries, rc, foreground } => {
            let mut options = LabOptions::hosts(hosts).name(&name);
            options.binaries = binaries.map(std::path::absolute).transpose()?;
            options.rc = rc.map(std::fs::read_to_string).transpose().context("cannot read the script")?;
            let lab = if foreground { Lab::create(options)? } else { Lab::create_detached(options)? };
            print(&format!("{name} is up: {}\n", lab.folder().display()))?;
            if foreground {
                wait_for_ever();
            }
        }
        Verb::Down => attach()?.down()?,
        Verb::List => print(&lab::list().iter().map(|name| format!("{name}\n")).collect::<String>())?,
        Verb::Status => print_status(&attach()?)?,
        Verb::Events => print(&attach()?.events()?)?,
        Verb::Exec { place, command } => return exec(&attach()?, place_of(&place)?, &command),
        Verb::On { host } => drop(attach()?.power_on(host_of(&host)?)?),
        Verb::Off { host } => drop(attach()?.power_off(host_of(&host)?)?),
        Verb::Cycle { host } => drop(attach()?.power_cycle(host_of(&host)?)?),
        Verb::Freeze { host } => drop(attach()?.freeze(host_of(&host)?)?),
        Verb::Thaw { host } => drop(attach()?.thaw(host_of(&host)?)?),
        Verb::Hang { host } => drop(attach()?.hang(host_of(&host)?)?),
        Verb::Unhang { host } => drop(attach()?.unhang(host_of(&host)?)?),
        Verb::Cut { host, nics, silent } => {
            let nics = nics.iter().map(|nic| nic_of(nic)).collect::<Result<Vec<_>>>()?;
            let nics = if nics.is_empty() { Nic::ALL.to_vec() } else { nics };
            let how = if silent { Cut::Silent } else { Cut::Carrier };
            attach()?.cut(host_of(&host)?, &nics, how)?;
        }
        Verb::Part { groups } => {
            let groups =
                groups.iter().map(|group| group.split(',').map(host_of).collect()).collect::<Result<Vec<Vec<_>>>>()?;
            let groups: Vec<&[usize]> = groups.iter().map(Vec::as_slice).collect();
            attach()?.partition(&groups, &[Nic::Ring0, Nic::Ring1])?;
        }
        Verb::Loss { host, nic, percent } => drop(attach()?.loss(host_of(&host)?, nic_of(&nic)?, percent)?),
        Verb::Heal => drop(attach()?.heal()?),
        Verb::Restore { host } => drop(attach()?.restore(host_of(&host)?)?),
        Verb::Wipe { host } => drop(attach()?.wipe(host_of(&host)?)?),
        Verb::Forward { port, place, target } => {
            let forward = attach()?.forward(port, place_of(&place)?, target)?;
            print(&format!("{} leads to {target} in {place}\n", forward.local()))?;
            wait_for_ever();
        }
        Verb::Sweep => print(&lab::sweep()?.iter().map(|name| format!("removed {name}\n")).collect::<String>())?,
    }
    Ok(0)
}

/// Until a signal ends the process.
fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn print_status(lab: &Lab) -> Result<()> {
    let mut text = String::new();
    for host in lab.state()?.hosts {
        let power = if host.on { "on" } else { "off" };
        let frozen = if host.frozen { " frozen" } else { "" };
        let cuts: String = host.cuts.iter().map(|(nic, how)| format!(" {}:{how:?}", nic.device())).collect();
        text +=
            &format!("{:8} {power}{frozen}{cuts} boots={} bmc={:?}\n", lab::host_name(host.host), host.boots, host.bmc);
    }
    print(&text)
}

fn exec(lab: &Lab, place: Place, command: &[String]) -> Result<i32> {
    let (program, args) = command.split_first().context("no command given")?;
    let status = lab.command(place, program)?.args(args).stdin(std::process::Stdio::inherit()).status()?;
    Ok(status.code().unwrap_or(1))
}

fn host_of(text: &str) -> Result<usize> {
    text.strip_prefix("node").unwrap_or(text).parse().with_context(|| format!("not a host: {text} (node1, node2, …)"))
}

fn place_of(text: &str) -> Result<Place> {
    Ok(match text {
        "client" => Place::Client,
        "luci" => Place::Luci,
        host => Place::Host(host_of(host)?),
    })
}

fn nic_of(text: &str) -> Result<Nic> {
    match Nic::parse(text) {
        Some(nic) => Ok(nic),
        None => bail!("not an interface: {text} (eth0, eth1, eth2)"),
    }
}

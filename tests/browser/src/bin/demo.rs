//! `cargo xtask demo`: a lab of true hosts, luci, and a working cluster with fencing, an address and a web server. Stays until
//! Ctrl-C (or SIGTERM) and leaves nothing behind.
// SPDX-License-Identifier: MIT OR Apache-2.0

#![expect(clippy::print_stdout, reason = "the demo talks to the person who started it")]

use std::time::Duration;

use anyhow::{Context, Result};
use browser::console::Console;
use browser::suite::Suite;
use clap::Parser;
use lab::cluster::{ClusterOptions, SERVICE_ADDRESS};
use lab::{Place, host_name, wait_for};
use tokio::signal::unix::{SignalKind, signal};

const USER: &str = "admin";
const PASSWORD: &str = "admin-of-the-demo";

#[derive(Parser)]
struct Arguments {
    /// How many hosts.
    #[arg(long, default_value_t = 3)]
    hosts: usize,
    /// Port of luci on 127.0.0.1.
    #[arg(long, default_value_t = 8084)]
    port: u16,
    /// End as soon as the cluster works, to see that it does.
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    lab::sweep().context("what an earlier lab left behind could not be removed")?;
    println!("starting {} hosts and luci …", arguments.hosts);
    let suite = Suite::start(arguments.hosts, arguments.port)?;
    let console = Console::open(&suite.url())?;
    console.set_up(suite.setup_token(), USER, PASSWORD).await?;
    println!("creating the cluster through luci …");
    let nodes: Vec<String> = (1..=arguments.hosts).map(host_name).collect();
    console.create_cluster("demo", &nodes, browser::suite::RICCI_PASSWORD).await?;
    println!("giving it fence devices, an address and a web server …");
    let wanted = ClusterOptions::web(arguments.hosts);
    console
        .change_conf("demo", "fence devices, an address and a web server", |text| with_services(text, &wanted))
        .await?;
    wait_for("the web server to answer at the service address", Duration::from_secs(60), || {
        let url = format!("http://{SERVICE_ADDRESS}/");
        suite.lab.exec(Place::Client, &["curl", "-s", "-m", "1", &url]).ok().filter(|said| said.ok())
    })?;
    explain(&suite, arguments.hosts);
    if !arguments.once {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminated.recv() => {}
        }
    }
    println!("\ntaking everything down …");
    drop(console);
    let Suite { lab, .. } = suite;
    lab.down()?;
    Ok(())
}

/// The cluster.conf that luci made, with the fencing and the service of the sample in it.
fn with_services(text: &str, wanted: &ClusterOptions) -> String {
    let version = text
        .split_once("config_version=\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .and_then(|(number, _)| number.parse::<u64>().ok())
        .unwrap_or(1);
    wanted.conf(version + 1).replace("name=\"lab\"", "name=\"demo\"")
}

fn explain(suite: &Suite, hosts: usize) {
    let name = suite.lab.name();
    println!(
        "
luci      {}   (its certificate is its own; accept it)
log in    {USER} / {PASSWORD}
cluster   demo, {hosts} nodes, service web: address {SERVICE_ADDRESS} and a web server

Try, in another terminal (programs are in target/debug):
  who serves:                 lab --name {name} exec client curl -s http://{SERVICE_ADDRESS}/
  what the cluster says:      lab --name {name} exec node1 clustat
  cut the power of node1:     lab --name {name} off node1      then look at the page, at clustat, and ask who serves
  bring it back:              lab --name {name} on node1
  cut its network instead:    lab --name {name} cut node1      (it is fenced, then its service moves)
  move the service:           lab --name {name} exec node1 clusvcadm -r web -m node2

Ctrl-C ends it.",
        suite.url()
    );
}

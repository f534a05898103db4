//! Pacemaker in the same lab: the same address and web server as a group, the same fence agent, the same corosync.conf.
//!
//! Configured by `cibadmin` alone; read from its log of facts. Used when the package is installed, never required.

use std::fmt::Write;
use std::net::SocketAddrV4;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use lab::cluster::{ClusterOptions, SERVICE_ADDRESS, built_programs};
use lab::{BMC_PASSWORD, BMC_USER, HttpPoller, Lab, LabOptions, Place, bmc_address, epoch_s, host_name, wait_for};

use crate::TOKEN_MS;
use crate::detect;
use crate::phases::{Failover, Table, line};
use crate::stamps::{Clock, must};

/// Its first start waits 20 s for others.
const FORMING: Duration = Duration::from_secs(120);
const FAILOVER: Duration = Duration::from_secs(60);

const LOG: &str = "/var/log/pacemaker/pacemaker.log";

const RC: &str = "mkdir -p /var/log/cluster /var/log/corosync /var/lib/corosync /var/log/pacemaker /run/crm /run/apache2 /run/lock /run/resource-agents
chown hacluster:haclient /run/crm /var/log/pacemaker
chmod 750 /run/crm
corosync
until corosync-quorumtool -s >/dev/null 2>&1; do sleep 0.05; done
setsid pacemakerd >/dev/null 2>&1 </dev/null &
";

pub(crate) fn installed() -> bool {
    ["pacemakerd", "cibadmin", "crm_mon", "crm_resource"].iter().all(|tool| Path::new("/usr/sbin").join(tool).exists())
}

pub(crate) fn measure(hosts: usize, runs: usize, each: bool) -> Result<Table> {
    let lab = boot(hosts)?;
    online(&lab, hosts, 1)?;
    configure(&lab, hosts)?;
    let target = SocketAddrV4::new(SERVICE_ADDRESS.parse()?, 80);
    let poller = lab.poll_http(target, "/")?;
    let mut table = Table::default();
    let mut via = 1;
    for number in 1..=runs {
        let owner = settled(&lab, hosts, via, &poller)?;
        std::thread::sleep(Duration::from_millis(500 + 97 * u64::try_from(number)?));
        let (run, to) = cut(&lab, hosts, &poller, owner).with_context(|| format!("run {number} of Pacemaker"))?;
        if each {
            say(&line(number, owner, to, &run));
        }
        table.runs.push(run);
        via = to;
        lab.restore(owner)?;
        lab.power_on(owner).ok();
    }
    Ok(table)
}

/// Two hosts, all on node1: address and web server as a group, and a bind mount, each checked every 10 s.
pub(crate) fn boot_for_detection(source: &str, mountpoint: &str) -> Result<Lab> {
    let lab = boot(2)?;
    for folder in [source, mountpoint] {
        (1..=2).try_for_each(|host| lab.put(host, format!("{folder}/file"), "", 0o644))?;
    }
    online(&lab, 2, 1)?;
    let mount = [
        ("device", source.to_owned()),
        ("directory", mountpoint.to_owned()),
        ("fstype", "none".to_owned()),
        ("options", "bind".to_owned()),
        ("force_unmount", "false".to_owned()),
    ];
    let mut resources = String::new();
    write_web(&mut resources)?;
    write!(
        resources,
        "<primitive id=\"disk\" class=\"ocf\" provider=\"heartbeat\" type=\"Filesystem\">{}<operations>\
         <op id=\"disk-m\" name=\"monitor\" interval=\"10s\" timeout=\"40s\"/></operations></primitive>",
        attributes("disk", &mount)
    )?;
    let lone = [("ip", detect::ADDRESS.to_owned()), ("cidr_netmask", "24".to_owned()), ("nic", "eth0".to_owned())];
    write!(
        resources,
        "<primitive id=\"lone\" class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\">{}<operations>\
         <op id=\"lone-m\" name=\"monitor\" interval=\"10s\"/></operations></primitive>",
        attributes("lone", &lone)
    )?;
    let place = |id: &str| format!("<rsc_location id=\"l-{id}\" rsc=\"{id}\" score=\"1000\" node=\"node1\"/>");
    let options = "<crm_config><cluster_property_set id=\"cib-bootstrap-options\">\
         <nvpair id=\"p1\" name=\"stonith-enabled\" value=\"false\"/>\
         <nvpair id=\"p2\" name=\"no-quorum-policy\" value=\"ignore\"/>\
         <nvpair id=\"p3\" name=\"load-threshold\" value=\"0%\"/></cluster_property_set></crm_config>";
    put(&lab, "crm_config", options)?;
    put(&lab, "resources", &format!("<resources>{resources}</resources>"))?;
    // After the resources, which they name.
    put(
        &lab,
        "constraints",
        &format!("<constraints>{}{}{}</constraints>", place("web"), place("disk"), place("lone")),
    )?;
    at_rest(&lab)?;
    Ok(lab)
}

/// Waits until nothing is under way.
pub(crate) fn at_rest(lab: &Lab) -> Result<()> {
    wait_for("Pacemaker to come to rest", FORMING, || is_calm(lab, 1)).with_context(|| overview(lab, 1))
}

#[expect(clippy::print_stdout, reason = "asked for with --each")]
fn say(text: &str) {
    println!("{text}");
}

pub(crate) fn boot(hosts: usize) -> Result<Lab> {
    let mut options = ClusterOptions::web(hosts);
    options.token_ms = TOKEN_MS;
    let conf = options.conf(1);
    let compiled = shared::conf::load(&conf).conf.context("the lab's own cluster.conf cannot be read")?;
    let corosync = shared::conf::corosync::render_corosync_conf(&compiled, &Default::default());
    let lab = Lab::create(
        LabOptions::hosts(hosts)
            .powered_off()
            .binaries(built_programs()?)
            .rc(RC)
            .file("/etc/corosync/corosync.conf", corosync, 0o644)
            .file("/etc/corosync/authkey", "0123456789abcdef".repeat(16), 0o400),
    )?;
    for host in 1..=hosts {
        lab.put(host, "/var/www/html/index.html", format!("{}\n", host_name(host)), 0o644)?;
        let status = "<Location /server-status>\nSetHandler server-status\nRequire local\n</Location>\n";
        lab.put(host, "/etc/apache2/conf-enabled/status.conf", status, 0o644)?;
    }
    lab.power_on_all()?;
    Ok(lab)
}

/// `crm_mon -1` of a host.
fn overview(lab: &Lab, host: usize) -> String {
    lab.sh(Place::Host(host), "crm_mon -1 2>&1").map(|done| done.stdout).unwrap_or_default()
}

pub(crate) fn online(lab: &Lab, hosts: usize, via: usize) -> Result<()> {
    let names: Vec<String> = (1..=hosts).map(host_name).collect();
    let all = format!("Online: [ {} ]", names.join(" "));
    wait_for("all hosts online in Pacemaker", FORMING, || overview(lab, via).contains(&all).then_some(()))
        .with_context(|| overview(lab, via))
}

/// So many resources that do nothing.
pub(crate) fn configure_dummies(lab: &Lab, count: usize) -> Result<()> {
    let resources = (1..=count).fold(String::new(), |mut all, number| {
        let _ = write!(all, "<primitive id=\"s{number:03}\" class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\"/>");
        all
    });
    let options = "<crm_config><cluster_property_set id=\"cib-bootstrap-options\">\
                   <nvpair id=\"p1\" name=\"stonith-enabled\" value=\"false\"/>\
                   <nvpair id=\"p3\" name=\"load-threshold\" value=\"0%\"/></cluster_property_set></crm_config>";
    let resources = format!("<resources>{resources}</resources>");
    for (scope, xml) in [("crm_config", options), ("resources", &resources)] {
        let words = ["cibadmin", "--modify", "--allow-create", "--scope", scope, "--xml-text", xml];
        let done = lab.exec(Place::Host(1), &words)?;
        anyhow::ensure!(done.ok(), "cibadmin --scope {scope}: {}{}", done.stdout, done.stderr);
    }
    Ok(())
}

fn configure(lab: &Lab, hosts: usize) -> Result<()> {
    let mut resources = String::new();
    let mut constraints = String::new();
    for host in 1..=hosts {
        let (name, address) = (host_name(host), bmc_address(host));
        let values = [
            ("ip", address.to_string()),
            ("username", BMC_USER.to_owned()),
            ("password", BMC_PASSWORD.to_owned()),
            ("lanplus", "1".to_owned()),
            ("cipher", "3".to_owned()),
            ("power_wait", "0".to_owned()),
            ("pcmk_host_list", name.clone()),
            ("pcmk_reboot_action", "off".to_owned()),
        ];
        write!(
            resources,
            "<primitive id=\"fence-{name}\" class=\"stonith\" type=\"fence_ipmilan\">{}<operations>\
             <op id=\"fence-{name}-m\" name=\"monitor\" interval=\"60s\"/></operations></primitive>",
            attributes(&format!("fence-{name}"), &values)
        )?;
        write!(
            constraints,
            "<rsc_location id=\"l-{name}\" rsc=\"fence-{name}\" score=\"-INFINITY\" node=\"{name}\"/>"
        )?;
    }
    write_web(&mut resources)?;
    let policy = if hosts == 2 { "ignore" } else { "stop" };
    // Without a threshold it does not do its actions one by one when the machine is busy with other things: that would
    // measure the machine.
    let options = format!(
        "<crm_config><cluster_property_set id=\"cib-bootstrap-options\">\
         <nvpair id=\"p1\" name=\"stonith-enabled\" value=\"true\"/>\
         <nvpair id=\"p2\" name=\"no-quorum-policy\" value=\"{policy}\"/>\
         <nvpair id=\"p3\" name=\"load-threshold\" value=\"0%\"/></cluster_property_set></crm_config>"
    );
    let defaults = "<rsc_defaults><meta_attributes id=\"rd\">\
         <nvpair id=\"rd1\" name=\"resource-stickiness\" value=\"100\"/></meta_attributes></rsc_defaults>";
    let steps = [
        ("crm_config", options),
        ("rsc_defaults", defaults.to_owned()),
        ("resources", format!("<resources>{resources}</resources>")),
        ("constraints", format!("<constraints>{constraints}</constraints>")),
    ];
    steps.iter().try_for_each(|(scope, xml)| put(lab, scope, xml))
}

/// Address and web server as a group.
fn write_web(resources: &mut String) -> Result<()> {
    let address = [("ip", SERVICE_ADDRESS.to_owned()), ("cidr_netmask", "24".to_owned()), ("nic", "eth0".to_owned())];
    let web = [
        ("configfile", "/etc/apache2/apache2.conf".to_owned()),
        ("statusurl", "http://127.0.0.1/server-status".to_owned()),
    ];
    write!(
        resources,
        "<group id=\"web\"><primitive id=\"vip\" class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\">{}<operations>\
         <op id=\"vip-m\" name=\"monitor\" interval=\"10s\"/></operations></primitive>\
         <primitive id=\"site\" class=\"ocf\" provider=\"heartbeat\" type=\"apache\">{}<operations>\
         <op id=\"site-m\" name=\"monitor\" interval=\"10s\" timeout=\"20s\"/>\
         <op id=\"site-s\" name=\"start\" interval=\"0\" timeout=\"40s\"/>\
         <op id=\"site-e\" name=\"stop\" interval=\"0\" timeout=\"60s\"/></operations></primitive></group>",
        attributes("vip", &address),
        attributes("site", &web)
    )?;
    Ok(())
}

/// Sets a section of the configuration.
fn put(lab: &Lab, scope: &str, xml: &str) -> Result<()> {
    // Two forms are told apart by the tool: a section that is missing yet must be allowed to be made.
    let words = ["cibadmin", "--modify", "--allow-create", "--scope", scope, "--xml-text", xml];
    let done = lab.exec(Place::Host(1), &words)?;
    anyhow::ensure!(done.ok(), "cibadmin --scope {scope}: {}{}", done.stdout, done.stderr);
    Ok(())
}

fn attributes(id: &str, values: &[(&str, String)]) -> String {
    let pairs: String = values
        .iter()
        .map(|(name, value)| format!("<nvpair id=\"{id}-{name}\" name=\"{name}\" value=\"{value}\"/>"))
        .collect();
    format!("<instance_attributes id=\"{id}-a\">{pairs}</instance_attributes>")
}

/// Waits until all are there and everything runs; says who serves.
fn settled(lab: &Lab, hosts: usize, via: usize, poller: &HttpPoller) -> Result<usize> {
    online(lab, hosts, via)?;
    let calm = || is_calm(lab, via);
    wait_for("Pacemaker to come to rest", FORMING, calm).with_context(|| overview(lab, via))?;
    let answer = poller.wait_page(SystemTime::now(), FAILOVER, |_| true)?;
    (1..=hosts).find(|&host| answer.page() == Some(&host_name(host))).context("a page names the host that serves it")
}

fn is_calm(lab: &Lab, via: usize) -> Option<()> {
    let text = overview(lab, via);
    let busy = ["Starting", "Stopping", "Stopped", "FAILED", "pending"].iter().any(|word| text.contains(word));
    (!busy
        && text.contains("vip")
        && lab.sh(Place::Host(via), "crm_resource --wait --timeout=60").is_ok_and(|done| done.ok()))
    .then_some(())
}

fn cut(lab: &Lab, hosts: usize, poller: &HttpPoller, owner: usize) -> Result<(Failover, usize)> {
    let name = host_name(owner);
    let moment = lab.power_off(owner)?;
    let survivors: Vec<usize> = (1..=hosts).filter(|&host| host != owner).collect();
    let answer = poller
        .wait_page(moment, FAILOVER, |page| page != name)
        .with_context(|| survivors.iter().map(|&host| overview(lab, host)).collect::<String>())?;
    let to = survivors.iter().copied().find(|&host| answer.page() == Some(&host_name(host)));
    let to = to.context("a page names the host that serves it")?;
    // The result of the last start is logged after the page can be had.
    let clock = Clock::from(lab, to, moment)?;
    let log = |host: usize| lab.get(host, LOG).map(|text| clock.lines(&text));
    wait_for("the result of the last start", FAILOVER, || {
        crate::stamps::first(&log(to).ok()?, "Result of start operation for site")
    })?;
    let mut corosync = Vec::new();
    let mut logs = Vec::new();
    for &host in &survivors {
        corosync.extend(clock.lines(&lab.get(host, "/var/log/cluster/corosync.log")?));
        logs.extend(log(host)?);
    }
    let here = log(to)?;
    let fenced = ["Operation 'reboot'", "Operation 'off'"]
        .iter()
        .filter_map(|text| crate::stamps::first(&logs, text))
        .reduce(f64::min)
        .context("no result of fencing in Pacemaker's log")?;
    let requested = ["Requesting fencing", "Requesting peer fencing"]
        .iter()
        .filter_map(|text| crate::stamps::first(&logs, text))
        .reduce(f64::min)
        .context("no request of fencing in Pacemaker's log")?;
    let at = |text: &str| must(&here, text, &host_name(to));
    let run = Failover {
        token_lost: must(&corosync, "A processor failed", &name)?,
        membership: must(&corosync, "A new membership", &name)?,
        fence_begins: requested,
        fenced,
        address_begins: at("Requesting local execution of start operation for vip")?,
        address_up: at("Result of start operation for vip")?,
        web_begins: at("Requesting local execution of start operation for site")?,
        answer: epoch_s(answer.ended) - epoch_s(moment),
        details: Vec::new(),
    };
    Ok((run, to))
}

//! The corosync.conf that follows from a cluster.conf. Called by whoever writes it to a disk; it never reads one.
//!
//! knet with encryption always, one link or two, votes and two_node as in cluster.conf. Times are those of cluster.conf, not
//! corosync's: an administrator who reads `token` there gets exactly that.
//!
//! `totem.config_version` is left out on purpose: it would end corosync on a member that comes back with an old file,
//! while here such a member is given the current configuration when it joins.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::conf::logging::LogSettings;
use crate::conf::model::{Conf, LinkSettings, Node};
use crate::conf::qdevice::Qdevice;
use crate::ids::NodeName;

/// Below this corosync refuses the time between two retransmits of the token, and does not start.
const TOKEN_RETRANSMIT_MS_MIN: u64 = 30;

/// What is not in cluster.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderOptions {
    /// Addresses of the links per node; a node that is not named uses its own name, and its altname as second link.
    pub addresses: BTreeMap<NodeName, Vec<String>>,
    pub logfile: String,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self { addresses: BTreeMap::new(), logfile: "/var/log/cluster/corosync.log".to_owned() }
    }
}

/// The whole text of a corosync.conf.
pub fn render_corosync_conf(conf: &Conf, options: &RenderOptions) -> String {
    let mut text =
        format!("# Made from cluster.conf version {}; changes here are lost at the next version.\n", conf.version);
    render_totem(&mut text, conf, options);
    render_nodes(&mut text, conf, options);
    render_quorum(&mut text, conf);
    render_logging(&mut text, conf, options);
    text
}

// Writing to a String cannot fail, here and below.

fn render_totem(text: &mut String, conf: &Conf, options: &RenderOptions) {
    let _ = write!(
        text,
        "totem {{\n    version: 2\n    cluster_name: {}\n    transport: knet\n    crypto_cipher: aes256\n    \
         crypto_hash: sha256\n    token: {}\n",
        conf.name, conf.totem.token_ms
    );
    // corosync adds 650 ms per node beyond the second unless told not to; the file says what the administrator said.
    text.push_str("    token_coefficient: 0\n");
    if let Some(consensus) = conf.totem.consensus_ms {
        // cman wrote a fifth of the token for two nodes; corosync wants at least 1.2 of it.
        let _ = writeln!(text, "    consensus: {}", consensus.max(conf.totem.token_ms.saturating_mul(6) / 5));
    }
    if let Some(join) = conf.totem.join_ms {
        let _ = writeln!(text, "    join: {join}");
    }
    if let Some(retransmits) = conf.totem.token_retransmits_before_loss
        && conf.totem.token_ms / (u64::from(retransmits) + 1) >= TOKEN_RETRANSMIT_MS_MIN
    {
        let _ = writeln!(text, "    token_retransmits_before_loss_const: {retransmits}");
    }
    let links = conf.nodes.iter().map(|node| addresses(node, options).len()).min().unwrap_or(1);
    if links > 1 {
        let _ = writeln!(text, "    link_mode: {}", conf.totem.link_mode.name());
    }
    for link in 0..links {
        render_link(text, conf, u32::try_from(link).unwrap_or(0));
    }
    text.push_str("}\n");
}

fn render_link(text: &mut String, conf: &Conf, number: u32) {
    let said = conf.totem.links.iter().find(|link| link.number == number).cloned().unwrap_or_default();
    let LinkSettings { port, priority, ping_interval_ms, ping_timeout_ms, pong_count, .. } = said;
    let port = port.map_or(u32::from(conf.cman.port) + number, u32::from);
    let _ = write!(text, "    interface {{\n        linknumber: {number}\n        mcastport: {port}\n");
    if let Some(priority) = priority {
        let _ = writeln!(text, "        knet_link_priority: {priority}");
    }
    // corosync takes the two together or computes both from the token.
    if let (Some(interval), Some(timeout)) = (ping_interval_ms, ping_timeout_ms) {
        let _ = write!(text, "        knet_ping_interval: {interval}\n        knet_ping_timeout: {timeout}\n");
    }
    if let Some(count) = pong_count {
        let _ = writeln!(text, "        knet_pong_count: {count}");
    }
    text.push_str("    }\n");
}

fn render_nodes(text: &mut String, conf: &Conf, options: &RenderOptions) {
    let links = conf.nodes.iter().map(|node| addresses(node, options).len()).min().unwrap_or(1);
    text.push_str("nodelist {\n");
    for node in &conf.nodes {
        let _ = write!(text, "    node {{\n        name: {}\n        nodeid: {}\n", node.name, node.id);
        for (link, address) in addresses(node, options).iter().take(links).enumerate() {
            let _ = writeln!(text, "        ring{link}_addr: {address}");
        }
        if node.votes != 1 {
            let _ = writeln!(text, "        quorum_votes: {}", node.votes);
        }
        text.push_str("    }\n");
    }
    text.push_str("}\n");
}

fn render_quorum(text: &mut String, conf: &Conf) {
    text.push_str("quorum {\n    provider: corosync_votequorum\n");
    // corosync takes two_node or a quorum device, not both.
    let two_node = conf.cman.two_node && conf.qdevice.is_none();
    if two_node {
        text.push_str("    two_node: 1\n");
    } else if let Some(votes) = conf.cman.votes_expected
        && !conf.cman.two_node
    {
        let _ = writeln!(text, "    expected_votes: {votes}");
    }
    // two_node alone would let a rebooted node fence its peer at once; wait_for_all keeps it from that.
    match conf.cman.wait_for_all {
        Some(wait) => {
            let _ = writeln!(text, "    wait_for_all: {}", u8::from(wait));
        }
        None if two_node => text.push_str("    wait_for_all: 1\n"),
        None => {}
    }
    if let Some(device) = &conf.qdevice {
        render_qdevice(text, device, conf.nodes.len());
    }
    text.push_str("}\n");
}

fn render_qdevice(text: &mut String, device: &Qdevice, nodes: usize) {
    let _ = write!(text, "    device {{\n        model: net\n        votes: {}\n", device.votes_of(nodes));
    if let Some(timeout) = device.timeout_ms {
        let _ = writeln!(text, "        timeout: {timeout}");
    }
    if let Some(timeout) = device.sync_timeout_ms {
        let _ = writeln!(text, "        sync_timeout: {timeout}");
    }
    let _ = write!(
        text,
        "        net {{\n            host: {}\n            port: {}\n            algorithm: {}\n",
        device.host,
        device.port,
        device.algorithm.name()
    );
    for (name, value) in [("tie_breaker", &device.tie_breaker), ("tls", &device.tls)] {
        if let Some(value) = value {
            let _ = writeln!(text, "            {name}: {value}");
        }
    }
    text.push_str("        }\n");
    if !device.heuristics.is_empty() {
        let mode = device.heuristics_mode.as_deref().unwrap_or("sync");
        let _ = write!(text, "        heuristics {{\n            mode: {mode}\n");
        for heuristic in &device.heuristics {
            let _ = writeln!(text, "            exec_{}: {}", heuristic.name, heuristic.program);
        }
        text.push_str("        }\n");
    }
    text.push_str("    }\n");
}

fn render_logging(text: &mut String, conf: &Conf, options: &RenderOptions) {
    let defaults = LogSettings {
        to_syslog: Some(true),
        to_logfile: Some(true),
        logfile: Some(options.logfile.clone()),
        ..LogSettings::default()
    };
    let daemon = conf.logging.corosync.or(&conf.logging.all).or(&defaults);
    text.push_str("logging {\n    timestamp: hires\n");
    render_log_settings(text, "    ", &daemon);
    for (subsystem, settings) in &conf.logging.subsystems {
        let _ = write!(text, "    logger_subsys {{\n        subsys: {subsystem}\n");
        render_log_settings(text, "        ", settings);
        text.push_str("    }\n");
    }
    text.push_str("}\n");
}

fn render_log_settings(text: &mut String, indent: &str, settings: &LogSettings) {
    let flag = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let rows = [
        ("to_syslog", settings.to_syslog.map(flag)),
        ("to_logfile", settings.to_logfile.map(flag)),
        ("logfile", settings.logfile.clone()),
        ("syslog_facility", settings.syslog_facility.clone()),
        ("syslog_priority", settings.syslog_priority.clone()),
        ("logfile_priority", settings.logfile_priority.clone()),
        ("debug", settings.debug.map(|on| if on { "on" } else { "off" }.to_owned())),
    ];
    for (name, value) in rows.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let _ = writeln!(text, "{indent}{name}: {value}");
    }
}

fn addresses(node: &Node, options: &RenderOptions) -> Vec<String> {
    options.addresses.get(&node.name).cloned().unwrap_or_else(|| {
        let mut all = vec![node.name.0.clone()];
        all.extend(node.altname.clone());
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(inner: &str) -> Conf {
        let text = format!("<cluster name=\"a\" config_version=\"4\">{inner}</cluster>");
        crate::conf::load(&text).conf.expect("the sample can be read")
    }

    #[test]
    fn two_nodes_wait_for_each_other_at_the_first_start() {
        let conf = conf(
            "<cman two_node=\"1\" expected_votes=\"1\"/><totem token=\"3000\"/><clusternodes><clusternode name=\"x\" nodeid=\"1\"/>\
             <clusternode name=\"y\" nodeid=\"2\"/></clusternodes>",
        );
        let text = render_corosync_conf(&conf, &RenderOptions::default());
        assert!(text.contains("two_node: 1\n    wait_for_all: 1\n"), "{text}");
        assert!(text.contains("token: 3000\n    token_coefficient: 0\n"), "{text}");
        assert!(!text.contains("ring1_addr"), "{text}");
        assert!(!text.contains("expected_votes"), "{text}");
    }

    #[test]
    fn a_second_link_is_used_only_if_every_node_has_one() {
        let node = |name: &str, id: u32, alt: &str| {
            format!("<clusternode name=\"{name}\" nodeid=\"{id}\">{alt}</clusternode>")
        };
        let alt = |name: &str| format!("<altname name=\"{name}-alt\"/>");
        let both =
            conf(&format!("<clusternodes>{}{}</clusternodes>", node("x", 1, &alt("x")), node("y", 2, &alt("y"))));
        let text = render_corosync_conf(&both, &RenderOptions::default());
        assert!(text.contains("ring1_addr: x-alt") && text.contains("link_mode: passive"), "{text}");
        let one = conf(&format!("<clusternodes>{}{}</clusternodes>", node("x", 1, &alt("x")), node("y", 2, "")));
        let text = render_corosync_conf(&one, &RenderOptions::default());
        assert!(!text.contains("ring1_addr") && !text.contains("link_mode"), "{text}");
    }

    #[test]
    fn times_that_corosync_would_refuse_are_not_written() {
        let nodes = "<clusternodes><clusternode name=\"x\" nodeid=\"1\"/></clusternodes>";
        let render = |totem: &str| render_corosync_conf(&conf(&format!("{totem}{nodes}")), &RenderOptions::default());
        // A fifth of the token, as cman had it, against the 1.2 that corosync wants.
        let text = render("<totem token=\"10000\" consensus=\"2000\" token_retransmits_before_loss_const=\"20\"/>");
        assert!(text.contains("consensus: 12000\n"), "{text}");
        assert!(text.contains("token_retransmits_before_loss_const: 20\n"), "{text}");
        let text = render("<totem token=\"400\" token_retransmits_before_loss_const=\"20\"/>");
        assert!(!text.contains("token_retransmits_before_loss_const"), "{text}");
    }
}

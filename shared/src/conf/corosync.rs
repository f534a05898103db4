//! The corosync.conf that follows from a cluster.conf. Called by whoever writes it to a disk; it never reads one.
//!
//! knet with encryption always, one link or two, votes and two_node as in cluster.conf. Times are those of cluster.conf, not
//! corosync's: an administrator who reads `token` there gets exactly that.
//!
//! `totem.config_version` is left out on purpose: it would end corosync on a member that comes back with an old file,
//! while here such a member is given the current configuration when it joins.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::conf::model::{Conf, Node};
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
    let _ = write!(
        text,
        "logging {{\n    to_syslog: yes\n    to_logfile: yes\n    logfile: {}\n    timestamp: hires\n}}\n",
        options.logfile
    );
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
        text.push_str("    link_mode: passive\n");
    }
    for link in 0..links {
        let port = u32::from(conf.cman.port) + u32::try_from(link).unwrap_or(0);
        let _ = write!(text, "    interface {{\n        linknumber: {link}\n        mcastport: {port}\n    }}\n");
    }
    text.push_str("}\n");
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
    if conf.cman.two_node {
        // two_node alone would let a rebooted node fence its peer at once; wait_for_all keeps it from that.
        text.push_str("    two_node: 1\n    wait_for_all: 1\n");
    } else if let Some(votes) = conf.cman.votes_expected {
        let _ = writeln!(text, "    expected_votes: {votes}");
    }
    text.push_str("}\n");
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

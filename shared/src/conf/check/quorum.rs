//! Rules for the quorum device, and for links and timeouts of corosync.

use super::{Context, Rule};
use crate::conf::document::ElementId;
use crate::conf::qdevice::Qdevice;

pub(super) const RULES: &[Rule] =
    &[check_qdevice, check_qdevice_words, check_heuristics, check_waiting, check_links, check_consensus];

/// The element, with what was read of it.
fn qdevice<'a>(ctx: &Context<'a>) -> Option<(ElementId, &'a Qdevice)> {
    let element = ctx.document.select("/cluster/qdevice").first().copied()?;
    Some((element, ctx.reading.conf.as_ref()?.qdevice.as_ref()?))
}

fn check_qdevice(ctx: &mut Context<'_>) {
    let Some((element, device)) = qdevice(ctx) else { return };
    let Some(conf) = &ctx.reading.conf else { return };
    let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if device.host.is_empty() {
        let text = "<qdevice> lacks the attribute host".to_owned();
        ctx.error("qdevice-host", ctx.document.place(element), text, "name the host that runs corosync-qnetd");
    } else if !device.host.chars().all(host) {
        let text = format!("{} cannot be the name of a host", device.host);
        let hint = "use the name by which the other nodes reach it, or its address";
        ctx.error("qdevice-host", ctx.document.attribute_place(element, "host"), text, hint);
    } else if conf.nodes.iter().any(|node| node.name.0.eq_ignore_ascii_case(&device.host)) {
        let text = format!("the quorum device is on {}, a node of this cluster", device.host);
        let hint = "run corosync-qnetd on a host outside the cluster: its word counts when nodes are lost";
        ctx.error("qdevice-on-node", ctx.document.attribute_place(element, "host"), text, hint);
    }
    if conf.cman.two_node
        && let Some(cman) = ctx.document.select("/cluster/cman").first().copied()
    {
        let text = "two_node is set beside <qdevice>, and corosync takes only one of the two".to_owned();
        let hint = "remove two_node and expected_votes from <cman>: the device decides between two halves";
        ctx.error("qdevice-two-node", ctx.document.attribute_place(cman, "two_node"), text, hint);
    }
    let wanted = device.votes_wanted(conf.nodes.len());
    if let Some(votes) = device.votes.filter(|votes| *votes != wanted) {
        let text = format!("the quorum device has {votes} votes, but {} asks for {wanted}", device.algorithm.name());
        let place = ctx.document.attribute_place(element, "votes");
        ctx.error("qdevice-votes", place, text, "remove votes: it follows from the algorithm");
    }
    if conf.nodes.iter().any(|node| node.votes != 1) {
        let text = "with a quorum device each node must have one vote".to_owned();
        let hint = "set votes of every node to 1 or remove the attribute";
        ctx.error("qdevice-node-votes", ctx.document.place(element), text, hint);
    }
}

fn check_qdevice_words(ctx: &mut Context<'_>) {
    let Some((element, _)) = qdevice(ctx) else { return };
    let ids: Vec<String> = match &ctx.reading.conf {
        Some(conf) => conf.nodes.iter().map(|node| node.id.to_string()).collect(),
        None => Vec::new(),
    };
    let words: [(&str, &[&str]); 4] = [
        ("algorithm", &["ffsplit", "lms"]),
        ("tls", &["on", "off", "required"]),
        ("heuristics", &["on", "off", "sync"]),
        ("tie_breaker", &["lowest", "highest"]),
    ];
    for (name, known) in words {
        let Some(word) = ctx.text(element, name) else { continue };
        let is_node = name == "tie_breaker" && ids.iter().any(|id| id == word);
        if !known.contains(&word) && !is_node {
            let text = format!("{name}=\"{word}\" is not known for <qdevice>");
            let more = if name == "tie_breaker" { ", or the id of a node" } else { "" };
            let hint = format!("write one of {}{more}", known.join(", "));
            ctx.error("qdevice-word", ctx.document.attribute_place(element, name), text, hint);
        }
    }
}

fn check_heuristics(ctx: &mut Context<'_>) {
    let Some((element, _)) = qdevice(ctx) else { return };
    let heuristics: Vec<ElementId> = ctx.document.children_named(element, "heuristic").collect();
    ctx.check_names("heuristic", &heuristics, "name", super::same_name);
    for heuristic in heuristics {
        let name = ctx.text(heuristic, "name").unwrap_or_default();
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            let text = format!("{name} cannot be the name of a heuristic");
            let hint = "use letters, digits, \"-\" and \"_\"";
            ctx.error("heuristic-name", ctx.document.attribute_place(heuristic, "name"), text, hint);
        }
        let program = ctx.text(heuristic, "program").unwrap_or_default();
        if !program.starts_with('/') || program.contains(['\n', '{', '}']) {
            let text = format!("\"{program}\" is not a program that a heuristic can run");
            let hint = "write its whole path, and its arguments behind it";
            ctx.error("heuristic-program", ctx.document.place(heuristic), text, hint);
        }
    }
}

fn check_waiting(ctx: &mut Context<'_>) {
    let Some(conf) = &ctx.reading.conf else { return };
    let Some(cman) = ctx.document.select("/cluster/cman").first().copied() else { return };
    if conf.cman.two_node && conf.cman.wait_for_all == Some(false) {
        let text =
            "wait_for_all is off with two_node: a node that starts without its peer fences it at once".to_owned();
        let hint = "remove wait_for_all, unless one of the nodes must start alone without anybody's word";
        ctx.warning("two-node-no-wait", ctx.document.attribute_place(cman, "wait_for_all"), text, hint);
    }
}

fn check_links(ctx: &mut Context<'_>) {
    let Some(totem) = ctx.document.select("/cluster/totem").first().copied() else { return };
    if let Some(mode) =
        ctx.text(totem, "rrp_mode").filter(|mode| !matches!(*mode, "active" | "passive" | "rr" | "none"))
    {
        let text = format!("rrp_mode=\"{mode}\" is not known; the links are used as passive ones");
        let hint = "write passive, active or rr";
        ctx.warning("link-mode", ctx.document.attribute_place(totem, "rrp_mode"), text, hint);
    }
    let mut seen = Vec::new();
    for interface in ctx.document.children_named(totem, "interface").collect::<Vec<_>>() {
        let number = ctx.text(interface, "ringnumber").unwrap_or("0");
        if seen.contains(&number) {
            let text = format!("link {number} is described twice");
            ctx.error("link-duplicate", ctx.document.place(interface), text, "put everything into the first one");
        }
        seen.push(number);
        let pair = (ctx.text(interface, "knet_ping_interval"), ctx.text(interface, "knet_ping_timeout"));
        if pair.0.is_some() != pair.1.is_some() {
            let text = format!("link {number} has only one of knet_ping_interval and knet_ping_timeout");
            let hint = "give both or none; without them corosync computes both from the token";
            ctx.warning("link-ping-pair", ctx.document.place(interface), text, hint);
        }
        for ignored in ["bindnetaddr", "mcastaddr", "broadcast"] {
            if ctx.text(interface, ignored).is_some() {
                let text = format!("{ignored} of <interface> has no effect");
                let place = ctx.document.attribute_place(interface, ignored);
                ctx.info("link-attribute", place, text, "links follow from the names and altnames of the nodes");
            }
        }
    }
}

fn check_consensus(ctx: &mut Context<'_>) {
    let Some(conf) = &ctx.reading.conf else { return };
    let Some(totem) = ctx.document.select("/cluster/totem").first().copied() else { return };
    let least = conf.totem.token_ms.saturating_mul(6) / 5;
    if let Some(consensus) = conf.totem.consensus_ms.filter(|consensus| *consensus < least) {
        let text = format!("consensus is {consensus} ms, and corosync wants at least {least}: it is raised to that");
        let hint = "remove consensus, or make it at least 1.2 times the token";
        ctx.info("consensus-raised", ctx.document.attribute_place(totem, "consensus"), text, hint);
    }
}

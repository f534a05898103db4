//! Rules for the cluster as a whole, its nodes and votes, and for elements that have no effect.

use super::{Context, Rule, same_name_without_case};
use crate::conf::document::ElementId;
use crate::conf::duration::parse_duration_ms;

pub(super) const RULES: &[Rule] = &[
    check_cluster_name,
    check_node_names,
    check_node_ids,
    check_node_count,
    check_two_node,
    check_votes,
    check_single_elements,
    check_elements_without_effect,
    check_transport,
    check_self_protection,
];

/// The original hashed the name and took no more than this.
const CLUSTER_NAME_LENGTH_ORIGINAL: usize = 15;

fn check_cluster_name(ctx: &mut Context<'_>) {
    let Some(root) = ctx.document.root() else { return };
    ctx.check_names("cluster", &[root], "name", super::same_name);
    if let Some(name) = ctx.text(root, "name")
        && name.chars().count() > CLUSTER_NAME_LENGTH_ORIGINAL
    {
        let text =
            format!("the cluster name {name} is longer than the {CLUSTER_NAME_LENGTH_ORIGINAL} characters of RHEL 6");
        let hint = "nothing needs to be done unless nodes of RHEL 6 read this file";
        ctx.info("cluster-name-long", ctx.document.attribute_place(root, "name"), text, hint);
    }
}

/// `watchdog` and `quorum_loss_reboot` of `<rm>`: what cannot be meant would protect nobody, and silently.
fn check_self_protection(ctx: &mut Context<'_>) {
    let Some(&rm) = ctx.document.select("/cluster/rm").first() else { return };
    if let Some(device) = ctx.text(rm, "watchdog").filter(|device| !device.starts_with('/')) {
        let text = format!("watchdog=\"{device}\" is not the path of a device");
        let hint = "write the whole path, e.g. /dev/watchdog";
        ctx.error("watchdog-path", ctx.document.attribute_place(rm, "watchdog"), text, hint);
    }
    if let Some(limit) = ctx.text(rm, "quorum_loss_reboot").filter(|limit| parse_duration_ms(limit) == 0) {
        let text = format!("quorum_loss_reboot=\"{limit}\" is no time, so that no node ever reboots itself");
        let hint = "write a number of seconds or e.g. 2m; leave it out if no node shall reboot itself";
        ctx.error("quorum-loss-reboot-time", ctx.document.attribute_place(rm, "quorum_loss_reboot"), text, hint);
    }
}

fn nodes(ctx: &Context<'_>) -> Vec<ElementId> {
    ctx.document.select("/cluster/clusternodes/clusternode")
}

fn check_node_names(ctx: &mut Context<'_>) {
    let nodes = nodes(ctx);
    ctx.check_names("node", &nodes, "name", same_name_without_case);
    for node in nodes {
        let altnames: Vec<_> = ctx.document.children_named(node, "altname").collect();
        for element in std::iter::once(node).chain(altnames.iter().copied()) {
            let Some(name) = ctx.text(element, "name") else { continue };
            let valid = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':'));
            if !valid {
                let text = format!("{name} cannot be the name of a host");
                let hint = "use the name by which the other nodes reach it, or its address";
                ctx.error("node-name-invalid", ctx.document.attribute_place(element, "name"), text, hint);
            }
        }
        if let Some(third) = altnames.get(1) {
            let text = "a node has more than one altname; only the first is used".to_owned();
            ctx.warning(
                "altname-ignored",
                ctx.document.place(*third),
                text,
                "two links are supported: name and one altname",
            );
        }
    }
    let with = nodes_with_altname(ctx);
    if with.0 > 0 && with.1 > 0 {
        let text = format!("{} nodes have an altname and {} have none", with.0, with.1);
        let place = ctx.document.select("/cluster/clusternodes").first().map(|id| ctx.document.place(*id));
        if let Some(place) = place {
            ctx.error(
                "altname-missing",
                place,
                text,
                "the second link needs an address on every node: add the missing altnames",
            );
        }
    }
}

fn nodes_with_altname(ctx: &Context<'_>) -> (usize, usize) {
    let nodes = nodes(ctx);
    let with = nodes.iter().filter(|node| ctx.document.child(**node, "altname").is_some()).count();
    (with, nodes.len() - with)
}

fn check_node_ids(ctx: &mut Context<'_>) {
    let mut seen: Vec<(u32, &str)> = Vec::new();
    for node in nodes(ctx) {
        let Some(id) = ctx.text(node, "nodeid").and_then(|text| text.parse::<u32>().ok()) else { continue };
        let name = ctx.text(node, "name").unwrap_or_default();
        if id == 0 {
            let text = format!("node {name} has the nodeid 0");
            ctx.error("nodeid-zero", ctx.document.attribute_place(node, "nodeid"), text, "node ids count from 1");
        } else if let Some((_, first)) = seen.iter().find(|(seen, _)| *seen == id) {
            let text = format!("the nodes {first} and {name} both have the nodeid {id}");
            ctx.error(
                "nodeid-duplicate",
                ctx.document.attribute_place(node, "nodeid"),
                text,
                "give each node its own number",
            );
        }
        seen.push((id, name));
    }
}

fn check_node_count(ctx: &mut Context<'_>) {
    let Some(root) = ctx.document.root() else { return };
    if nodes(ctx).is_empty() {
        let text = "the cluster has no nodes".to_owned();
        ctx.error("no-nodes", ctx.document.place(root), text, "add <clusternodes> with a <clusternode> for each node");
    }
}

fn check_two_node(ctx: &mut Context<'_>) {
    let Some(conf) = &ctx.reading.conf else { return };
    let Some(root) = ctx.document.root() else { return };
    let cman = ctx.document.child(root, "cman");
    let count = nodes(ctx).len();
    if conf.cman.two_node && count != 2 {
        let Some(cman) = cman else { return };
        let text = format!("two_node is set, but the cluster has {count} nodes");
        let hint = "remove two_node and expected_votes from <cman>";
        ctx.error("two-node-count", ctx.document.attribute_place(cman, "two_node"), text, hint);
    } else if conf.cman.two_node && conf.cman.votes_expected != Some(1) && conf.qdevice.is_none() {
        let Some(cman) = cman else { return };
        let text = "two_node is set without expected_votes=\"1\"".to_owned();
        let hint = "set expected_votes to 1, as the original demanded";
        ctx.warning("two-node-votes", ctx.document.attribute_place(cman, "two_node"), text, hint);
    } else if !conf.cman.two_node && count == 2 && conf.qdevice.is_none() {
        let place = ctx.document.place(cman.unwrap_or(root));
        let text =
            "two nodes without two_node: when one is lost the other loses quorum and stops all services".to_owned();
        ctx.warning("two-node-missing", place, text, "add <cman two_node=\"1\" expected_votes=\"1\"/>");
    }
}

fn check_votes(ctx: &mut Context<'_>) {
    let Some(conf) = &ctx.reading.conf else { return };
    if conf.cman.two_node {
        for node in nodes(ctx) {
            if ctx.text(node, "votes").is_some_and(|votes| votes != "1") {
                let text = "with two_node each node has one vote".to_owned();
                let place = ctx.document.attribute_place(node, "votes");
                ctx.error("two-node-node-votes", place, text, "set votes to 1 or remove the attribute");
            }
        }
        return;
    }
    let sum = conf.votes();
    if let Some(expected) = conf.cman.votes_expected
        && expected != sum
        && let Some(cman) = ctx.document.select("/cluster/cman").first().copied()
    {
        let place = ctx.document.attribute_place(cman, "expected_votes");
        let text = format!("expected_votes is {expected}, but the votes of all nodes add up to {sum}");
        if expected < sum / 2 + 1 {
            // Two halves could both believe that they have a majority.
            ctx.error("expected-votes-low", place, text, "remove expected_votes: it is computed from the nodes");
        } else {
            ctx.warning("expected-votes-differ", place, text, "remove expected_votes: it is computed from the nodes");
        }
    }
}

fn check_single_elements(ctx: &mut Context<'_>) {
    for path in [
        "/cluster/cman",
        "/cluster/totem",
        "/cluster/qdevice",
        "/cluster/logging",
        "/cluster/fence_daemon",
        "/cluster/clusternodes",
        "/cluster/fencedevices",
        "/cluster/rm",
        "/cluster/rm/failoverdomains",
        "/cluster/rm/resources",
        "/cluster/clusternodes/clusternode/fence",
        "/cluster/clusternodes/clusternode/unfence",
    ] {
        let mut parents = Vec::new();
        for element in ctx.document.select(path) {
            let parent = ctx.document.parent(element);
            if parents.contains(&parent) {
                let text = format!("<{}> stands twice", ctx.document.name(element));
                ctx.error("element-duplicate", ctx.document.place(element), text, "put everything into the first one");
            }
            parents.push(parent);
        }
    }
}

/// Elements of RHEL 6 that nothing reads today, and why.
const WITHOUT_EFFECT: &[(&str, bool, &str)] = &[
    (
        "/cluster/quorumd",
        true,
        "quorum disks are gone; <qdevice> names a host outside the cluster that votes in their place",
    ),
    ("/cluster/cman/multicast", false, "corosync's knet sends to each node by itself"),
    ("/cluster/cman/altmulticast", false, "corosync's knet sends to each node by itself"),
    ("/cluster/dlm", false, "the lock manager is configured in /etc/dlm/dlm.conf"),
    ("/cluster/gfs_controld", false, "GFS2 needs no daemon of its own today"),
    ("/cluster/group", false, "groupd is gone"),
    ("/cluster/clvmd", false, "use lvmlockd"),
    ("/cluster/uidgid", false, "put a file into /etc/corosync/uidgid.d"),
    ("/cluster/fence_xvmd", false, "fence_virtd is configured in /etc/fence_virt.conf"),
    ("/cluster/rm/events", true, "event scripts are not run"),
    ("/cluster/rm/resource-defaults", true, "give the attribute on each resource instead"),
];

fn check_elements_without_effect(ctx: &mut Context<'_>) {
    const KNOWN: [&str; 8] =
        ["cman", "totem", "fence_daemon", "clusternodes", "fencedevices", "rm", "qdevice", "logging"];
    for (path, matters, reason) in WITHOUT_EFFECT {
        let Some(element) = ctx.document.select(path).first().copied() else { continue };
        let text = format!("<{}> has no effect", ctx.document.name(element));
        let place = ctx.document.place(element);
        match matters {
            true => ctx.warning("no-effect", place, text, *reason),
            false => ctx.info("no-effect", place, text, *reason),
        }
    }
    let Some(root) = ctx.document.root() else { return };
    for element in ctx.document.children(root) {
        let name = ctx.document.name(element);
        let path = format!("/cluster/{name}");
        if !KNOWN.contains(&name) && !WITHOUT_EFFECT.iter().any(|(known, _, _)| *known == path) {
            let text = format!("<{name}> is not known");
            ctx.info("unknown-element", ctx.document.place(element), text, "it is kept as it is and has no effect");
        }
    }
}

fn check_transport(ctx: &mut Context<'_>) {
    let Some(cman) = ctx.document.select("/cluster/cman").first().copied() else { return };
    for attribute in ["transport", "broadcast", "keyfile"] {
        if ctx.text(cman, attribute).is_some_and(|value| !matches!(value, "no" | "0" | "knet")) {
            let text = format!("{attribute} of <cman> has no effect: messages travel by knet, encrypted");
            let place = ctx.document.attribute_place(cman, attribute);
            ctx.info("transport-ignored", place, text, "nothing needs to be done");
        }
    }
}

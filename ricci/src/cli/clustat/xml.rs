//! `clustat -x`: the XML that ricci, monitoring plugins and dashboards of the field parse (rhcs.md §1.4). The
//! attribute names, their order and the line breaks are the interface. Pure: a page in, text out.

use std::fmt::Write as _;

use shared::status::{NodeStatus, ServiceStatus};

use super::page::{Page, runs_rgmanager};
use super::text::owner_name;
use crate::cli::clock::Zone;

/// The format's version, which readers compare.
const FORMAT_VERSION: &str = "4.1.1";

/// The whole document.
pub fn render_xml(page: &Page<'_>) -> String {
    let mut out = format!("<?xml version=\"1.0\"?>\n<clustat version=\"{FORMAT_VERSION}\">\n");
    if page.shows_cluster() {
        render_cluster(&mut out, page);
    }
    if page.shows_nodes() {
        let rows: Vec<String> = page.nodes().into_iter().map(node_row).collect();
        list(&mut out, "nodes", &rows);
    }
    if page.shows_services() {
        let rows: Vec<String> = page.services().into_iter().map(|service| group_row(service, page.zone)).collect();
        list(&mut out, "groups", &rows);
    }
    out.push_str("</clustat>\n");
    out
}

fn render_cluster(out: &mut String, page: &Page<'_>) {
    let name = &page.status.cluster;
    // Readers expect a number.
    let generation = page.generation.unwrap_or(0);
    let (name, id) = (escape(name), cluster_id(name));
    put(out, format_args!("  <cluster name=\"{name}\" id=\"{id}\" generation=\"{generation}\"/>\n"));
    let group_member = page.services_known && page.status.nodes.iter().any(|node| node.local && runs_rgmanager(node));
    if page.status.quorum.quorate {
        put(out, format_args!("  <quorum quorate=\"1\" groupmember=\"{}\"/>\n", u8::from(group_member)));
    } else {
        out.push_str("  <quorum quorate=\"0\"\n groupmember=\"0\"/>\n");
    }
}

/// The number that cman made of a cluster's name.
fn cluster_id(name: &str) -> u16 {
    name.bytes().fold(0u16, |id, byte| id.wrapping_shl(1).wrapping_add(u16::from(byte)))
}

fn node_row(node: &NodeStatus) -> String {
    format!(
        "<node name=\"{}\" state=\"{}\" local=\"{}\" estranged=\"{}\" rgmanager=\"{}\" rgmanager_master=\"0\" \
         qdisk=\"0\" nodeid=\"0x{:08x}\"/>",
        escape(node.name.as_str()),
        u8::from(node.online),
        u8::from(node.local),
        u8::from(!node.configured),
        u8::from(runs_rgmanager(node)),
        node.id.0
    )
}

fn group_row(service: &ServiceStatus, zone: Zone) -> String {
    let (flags, flags_text) = match (service.frozen, service.partial) {
        (false, false) => (0, ""),
        (true, false) => (1, "frozen"),
        (false, true) => (2, "partial"),
        (true, true) => (3, "frozen partial"),
    };
    let transition = service.last_transition.unwrap_or_default();
    format!(
        "<group name=\"{}\" state=\"{}\" state_str=\"{}\" flags=\"{flags}\" flags_str=\"{flags_text}\" owner=\"{}\" \
         last_owner=\"{}\" restarts=\"{}\" last_transition=\"{}\" last_transition_str=\"{}\"/>",
        escape(service.name.as_str()),
        service.state.number(),
        service.state.name(),
        escape(owner_name(service.owner.as_ref())),
        escape(owner_name(service.last_owner.as_ref())),
        service.restarts,
        transition.0 / 1000,
        zone.ctime(transition)
    )
}

fn list(out: &mut String, element: &str, rows: &[String]) {
    if rows.is_empty() {
        put(out, format_args!("  <{element}/>\n"));
        return;
    }
    put(out, format_args!("  <{element}>\n"));
    for row in rows {
        put(out, format_args!("    {row}\n"));
    }
    put(out, format_args!("  </{element}>\n"));
}

/// Names may hold what XML reserves; characters that XML cannot hold at all become a question mark.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => put(&mut out, format_args!("&#{};", u32::from(letter))),
            other if other.is_control() => out.push('?'),
            other => out.push(other),
        }
    }
    out
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

//! `clustat` as text: the exact columns that scripts of the field cut (rhcs.md §1.2, §1.3), and below them, after a
//! blank line, what waits for fencing and what to do. Pure: a page in, text out.

use std::fmt::Write as _;

use shared::ids::NodeName;
use shared::status::{FenceAttempt, FenceDeviceRun, FencingStatus, FencingStep, NodeStatus, Reason, ServiceStatus};
use shared::text::ServiceState;

use super::page::{Page, runs_rgmanager};

/// What somebody must look at, and what is on its way or not quite as it should be.
const RED: &str = "31";
const YELLOW: &str = "33";

const STATE_WIDTH: usize = 14;
const NAME_WIDTH_MAX: usize = 64;

/// Waiting services that are named; more are counted.
const WAITING_NAMED: usize = 8;

/// The whole page.
pub fn render_text(page: &Page<'_>) -> String {
    let mut out = String::new();
    if page.shows_cluster() {
        render_head(&mut out, page);
    }
    if page.shows_nodes() {
        if page.status.nodes.is_empty() {
            line(&mut out, "Membership information not available");
        } else {
            render_nodes(&mut out, page);
        }
    }
    if page.shows_services() {
        if page.shows_nodes() {
            out.push('\n');
        }
        if page.long { render_services_long(&mut out, page) } else { render_services(&mut out, page) }
    }
    if page.shows_cluster() {
        render_fencing(&mut out, page);
    }
    out
}

fn render_head(out: &mut String, page: &Page<'_>) {
    line(out, &format!("Cluster Status for {} @ {}", page.status.cluster, page.zone.ctime(page.now)));
    let (word, color) = if page.status.quorum.quorate { ("Quorate", None) } else { ("Inquorate", Some(RED)) };
    line(out, &format!("Member Status: {}", tinted(page, word, color)));
    out.push('\n');
    if page.status.nodes.is_empty() {
        line(out, "Resource Group Manager not running; no service information available.");
        out.push('\n');
    }
}

fn render_nodes(out: &mut String, page: &Page<'_>) {
    let width = (page.width / 2).min(NAME_WIDTH_MAX);
    // The head has one column less between name and id than the rows; scripts have counted on both.
    line(out, &format!(" {}{} Status", fit("Member Name", width), fit("ID", 4)));
    line(out, &format!(" {}{} ------", fit("------ ----", width), fit("----", 4)));
    for node in page.nodes() {
        line(out, &format!(" {} {:>4} {}", fit(node.name.as_str(), width), node.id.0, node_status_text(page, node)));
    }
}

fn node_status_text(page: &Page<'_>, node: &NodeStatus) -> String {
    let (word, color) = if node.online { ("Online", None) } else { ("Offline", Some(RED)) };
    let mut text = tinted(page, word, color);
    if node.local {
        text.push_str(", Local");
    }
    if node.online && !node.configured {
        text.push_str(", Estranged");
    }
    if runs_rgmanager(node) {
        text.push_str(", rgmanager");
    }
    if node.standby {
        text.push_str(", ");
        text.push_str(&tinted(page, "Standby", Some(YELLOW)));
    }
    text
}

fn render_services(out: &mut String, page: &Page<'_>) {
    let services = page.services();
    if services.is_empty() && page.only_service.is_none() {
        return;
    }
    let width = name_width(page.width);
    let mut row = |name: &str, owner: &str, state: &str, color| {
        let state = tinted(page, &fit(state, STATE_WIDTH), color);
        line(out, &format!(" {} {} {state}", fit(name, width), fit(owner, width)));
    };
    row("Service Name", "Owner (Last)", "State", None);
    row("------- ----", "----- ------", "-----", None);
    for service in services {
        row(service.name.as_str(), &owner_text(service, width), &state_text(service), state_color(service));
    }
}

fn state_color(service: &ServiceStatus) -> Option<&'static str> {
    match service.state {
        ServiceState::Failed => Some(RED),
        ServiceState::Recoverable | ServiceState::Recovering => Some(YELLOW),
        _ if service.frozen || service.partial => Some(YELLOW),
        _ => None,
    }
}

/// The text, in this colour where the page has colours.
fn tinted(page: &Page<'_>, text: &str, color: Option<&str>) -> String {
    match color.filter(|_| page.color) {
        Some(color) => format!("\x1b[{color}m{text}\x1b[m"),
        None => text.to_owned(),
    }
}

fn name_width(columns: usize) -> usize {
    (columns.saturating_sub(20) / 2).min(NAME_WIDTH_MAX)
}

fn owner_text(service: &ServiceStatus, width: usize) -> String {
    if !service.state.shows_last_owner() {
        return owner_name(service.owner.as_ref()).to_owned();
    }
    let last: String = owner_name(service.last_owner.as_ref()).chars().take(width.saturating_sub(2)).collect();
    format!("({last})")
}

/// The word for a node that may be none.
pub(super) fn owner_name(node: Option<&NodeName>) -> &str {
    node.map_or("none", NodeName::as_str)
}

fn state_text(service: &ServiceStatus) -> String {
    let flags = match (service.frozen, service.partial) {
        (false, false) => return service.state.name().to_owned(),
        (true, false) => "Z",
        (false, true) => "P",
        (true, true) => "ZP",
    };
    format!("{:<width$}[{flags}]", service.state.name(), width = STATE_WIDTH - 2 - flags.len())
}

fn render_services_long(out: &mut String, page: &Page<'_>) {
    line(out, "Service Information");
    line(out, "------- -----------");
    out.push('\n');
    for service in page.services() {
        let flags = match (service.frozen, service.partial) {
            (false, false) => "none (0)",
            (true, false) => "frozen (1)",
            (false, true) => "partial (2)",
            (true, true) => "frozen, partial (3)",
        };
        line(out, &format!("Service Name      : {}", service.name));
        line(out, &format!("  Current State   : {} ({})", service.state.name(), service.state.number()));
        line(out, &format!("  Flags           : {flags}"));
        line(out, &format!("  Owner           : {}", owner_name(service.owner.as_ref())));
        line(out, &format!("  Last Owner      : {}", owner_name(service.last_owner.as_ref())));
        let transition = page.zone.ctime(service.last_transition.unwrap_or_default());
        line(out, &format!("  Last Transition : {transition}"));
        out.push('\n');
    }
}

/// One block per node that must be fenced before anything goes on: how far it is, what came of the last attempt, who
/// waits, and what helps.
fn render_fencing(out: &mut String, page: &Page<'_>) {
    let status = page.status;
    for node in &status.nodes {
        let due = status.waits_for_fencing_of.contains(&node.name);
        if node.fencing.is_none() && !due {
            continue;
        }
        if !out.ends_with("\n\n") {
            out.push('\n');
        }
        match &node.fencing {
            Some(fencing) => render_victim(out, page, node, fencing),
            None => {
                let head = tinted(page, &format!("Fencing of {}", node.name), Some(RED));
                line(out, &format!("{head}: due, not begun yet"));
            }
        }
        let waiting = services_waiting_for(page, &node.name);
        if !waiting.is_empty() {
            line(out, &format!("  Waiting      : {waiting}"));
        }
        if let Some(fencing) = &node.fencing {
            line(out, &format!("  What to do   : {}", one_line(&fencing.advice)));
        }
    }
}

fn render_victim(out: &mut String, page: &Page<'_>, node: &NodeStatus, fencing: &FencingStatus) {
    let since = page.zone.ctime(fencing.since);
    let head = format!("Fencing of {}", node.name);
    line(out, &format!("{}: {}, since {since}", tinted(page, &head, Some(RED)), step_text(fencing)));
    let last = match &fencing.last {
        Some(attempt) => attempt_text(attempt, &page.zone.ctime(attempt.at)),
        None => "none yet".to_owned(),
    };
    line(out, &format!("  Last attempt : {last}"));
}

fn step_text(fencing: &FencingStatus) -> String {
    let method = fencing.method.as_deref().map(|name| format!(", method '{name}'")).unwrap_or_default();
    let by = fencing.by.as_ref().map(|name| format!(" on {name}")).unwrap_or_default();
    let attempt = fencing.attempt;
    match fencing.step {
        FencingStep::Waiting => format!("attempt {attempt}{method} will run{by} after a pause"),
        FencingStep::Running => format!("attempt {attempt}{method} is running{by}"),
        FencingStep::Unwitnessed => {
            format!(
                "attempt {attempt}{method} is said to be done{by}; waits for the node to come back or for fence_ack_manual"
            )
        }
        FencingStep::NoMethod => "cluster.conf names no method for it".to_owned(),
        FencingStep::NoQuorum => format!("attempt {attempt} waits for quorum"),
    }
}

fn attempt_text(attempt: &FenceAttempt, at: &str) -> String {
    let outcome = if attempt.succeeded { "succeeded" } else { "failed" };
    let head = format!("{outcome} on {}, method '{}', {at}", attempt.by, attempt.method);
    match attempt.devices.last().filter(|_| !attempt.succeeded) {
        Some(run) => format!("{head}: {}", device_text(run)),
        None => head,
    }
}

fn device_text(run: &FenceDeviceRun) -> String {
    let result = match run.code {
        Some(code) => format!("exit code {code}"),
        None => "killed after its timeout or not runnable".to_owned(),
    };
    let output = one_line(&run.output);
    let said = if output.is_empty() { String::new() } else { format!(": {output}") };
    format!("{} (device '{}') {result}{said}", run.agent, run.device)
}

fn services_waiting_for(page: &Page<'_>, victim: &NodeName) -> String {
    if !page.services_known {
        return String::new();
    }
    let waiting: Vec<&str> = page
        .services()
        .into_iter()
        .filter(
            |service| matches!(&service.waits_for, Some(Reason::FencingPending { nodes }) if nodes.contains(victim)),
        )
        .map(|service| service.name.as_str())
        .collect();
    let named = waiting[..waiting.len().min(WAITING_NAMED)].join(", ");
    match waiting.len().saturating_sub(WAITING_NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Padded or cut to exactly this many characters.
fn fit(text: &str, width: usize) -> String {
    format!("{text:<width$.width$}")
}

/// What an agent printed must not look like rows of a table, nor move the cursor.
fn one_line(text: &str) -> String {
    let visible: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

//! What the `--ls…` options print, in the lines of the original. Pure: a document in, text out. Passwords are masked;
//! `--getconf` shows the file as it is.

use std::fmt::Write as _;

use shared::agents::kinds::Kind;
use shared::agents::mapping;
use shared::conf::secret::shown;
use shared::conf::{Document, ElementId};

use super::fault::Fault;

/// The list of one option; `None` if the option is no list.
pub(super) fn render(command: &str, words: &[String], document: &Document) -> Option<Result<String, Fault>> {
    Some(Ok(match command {
        "lsnodes" => named(document, "/cluster/clusternodes/clusternode"),
        "lsfencedev" => named(document, "/cluster/fencedevices/fencedevice"),
        "lsfailoverdomain" => domains(document),
        "lsfenceinst" => return Some(instances(document, words.first().map(String::as_str))),
        "lsservices" => services(document),
        "lsquorum" => tags(document, &[("quorumd", "Quorumd"), ("heuristic", "  heuristic")]),
        "lsmisc" => tags(
            document,
            &[
                ("totem", "Totem"),
                ("uidgid", "UID/GID"),
                ("dlm", "DLM"),
                ("rm", "Resource Manager"),
                ("cman", "CMAN"),
                ("multicast", "Multicast"),
                ("altmulticast", "Alt Multicast"),
                ("fence_daemon", "Fence Daemon"),
                ("logging", "Logging"),
                ("logging_daemon", "  Logging Daemon"),
            ],
        ),
        _ => return None,
    }))
}

/// `a=b, c=d`.
fn attributes(document: &Document, id: ElementId, without: &str) -> String {
    let listed = document.attributes(id).iter().filter(|(name, _)| name != without);
    let listed: Vec<String> = listed.map(|(name, value)| format!("{name}={}", shown(name, value))).collect();
    listed.join(", ")
}

fn name(document: &Document, id: ElementId) -> &str {
    document.attribute(id, "name").unwrap_or_default()
}

fn line(document: &Document, id: ElementId, indent: &str) -> String {
    format!("{indent}{}: {}\n", name(document, id), attributes(document, id, "name"))
}

fn named(document: &Document, path: &str) -> String {
    document.select(path).into_iter().map(|id| line(document, id, "")).collect()
}

fn domains(document: &Document) -> String {
    let mut out = String::new();
    for domain in document.select("/cluster/rm/failoverdomains/failoverdomain") {
        out.push_str(&line(document, domain, ""));
        out.extend(document.children_named(domain, "failoverdomainnode").map(|node| line(document, node, "  ")));
    }
    out
}

fn instances(document: &Document, only: Option<&str>) -> Result<String, Fault> {
    let mut out = String::new();
    for node in document.select("/cluster/clusternodes/clusternode") {
        if only.is_some_and(|only| only != name(document, node)) {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", name(document, node));
        let fence = document.child(node, "fence").into_iter();
        for method in fence.flat_map(|fence| document.children_named(fence, "method")) {
            let _ = writeln!(out, "  {}", name(document, method));
            out.extend(document.children_named(method, "device").map(|device| line(document, device, "    ")));
        }
        if let Some(unfence) = document.child(node, "unfence") {
            out.push_str("  <unfence>\n");
            out.extend(document.children_named(unfence, "device").map(|device| line(document, device, "    ")));
        }
    }
    match only {
        Some(only) if out.is_empty() => {
            Err(Fault::new(format!("Node '{only}' does not currently exist in cluster.conf.")))
        }
        _ => Ok(out),
    }
}

fn services(document: &Document) -> String {
    let mut out = String::new();
    for path in ["/cluster/rm/service", "/cluster/rm/vm", "/cluster/rm/resources"] {
        for id in document.select(path) {
            tree(document, id, 0, &mut out);
        }
    }
    out
}

fn tree(document: &Document, id: ElementId, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let _ = writeln!(out, "{indent}{}: {}", document.name(id), attributes(document, id, ""));
    for child in document.children(id) {
        tree(document, child, depth + 1, out);
    }
}

fn tags(document: &Document, wanted: &[(&str, &str)]) -> String {
    let Some(root) = document.root() else { return String::new() };
    let all = document.descendants(root);
    let mut out = String::new();
    for (tag, title) in wanted {
        for id in all.iter().filter(|id| document.name(**id) == *tag) {
            let _ = writeln!(out, "{title}: {}", attributes(document, *id, ""));
        }
    }
    out
}

/// Attributes of `<service>`, which runs nothing itself and is no type of resource.
const OF_SERVICE: [&str; 11] = [
    "domain",
    "autostart",
    "exclusive",
    "recovery",
    "max_restarts",
    "restart_expire_time",
    "depend",
    "depend_mode",
    "priority",
    "nfslock",
    "nfs_client_cache",
];

/// `--lsserviceopts` and `--lsresourceopts`: the types there are, or the attributes of one.
pub(super) fn render_kinds(command: &str, only: Option<&str>) -> Result<String, Fault> {
    let of_services = command == "lsserviceopts";
    let wanted = |kind: &&Kind| of_services == (kind.name == "vm");
    let Some(only) = only else {
        let service = if of_services { "service - A group of resources\n" } else { "" };
        let kinds = mapping::kinds().iter().filter(wanted);
        let listed: String = kinds.map(|kind| format!("{} - {}\n", kind.name, kind.title)).collect();
        return Ok(format!("{service}{listed}"));
    };
    if of_services && only == "service" {
        return Ok(options_of("service - A group of resources", "name", OF_SERVICE.into_iter()));
    }
    let kind = mapping::kinds().iter().filter(wanted).find(|kind| kind.name == only);
    let kind = kind.ok_or_else(|| Fault::new(format!("there is no type '{only}'; --{command} alone lists all")))?;
    let optional = kind.attributes.iter().map(|attribute| attribute.name).filter(|name| *name != kind.primary);
    Ok(options_of(&format!("{} - {}", kind.name, kind.title), kind.primary, optional))
}

fn options_of(title: &str, primary: &str, optional: impl Iterator<Item = &'static str>) -> String {
    let optional: String = optional.map(|name| format!("    {name}\n")).collect();
    format!("{title}\n  Required Options:\n    {primary}\n  Optional Options:\n{optional}")
}

/// What the metadata of a fence agent says of its parameters; the parameters that every agent has are left out.
pub(super) fn render_fence_agent(agent: &str, metadata: &str) -> Result<String, Fault> {
    const OF_EVERY_AGENT: [&str; 7] = ["verbose", "debug", "version", "help", "option", "action", "separator"];
    let (document, _) = Document::parse(metadata);
    let described = document.select("/resource-agent");
    let Some(top) = described.first() else {
        return Err(Fault::new(format!("{agent} did not describe itself in a way that can be read")));
    };
    let shortdesc = document.attribute(*top, "shortdesc").unwrap_or_default();
    let mut out = format!("{agent} - {shortdesc}\n");
    let parameters: Vec<ElementId> = document
        .select("/resource-agent/parameters/parameter")
        .into_iter()
        .filter(|id| !OF_EVERY_AGENT.contains(&name(&document, *id)))
        .collect();
    for (title, required) in [("Required", true), ("Optional", false)] {
        let _ = writeln!(out, "  {title} Options:");
        for id in parameters.iter().filter(|id| (document.attribute(**id, "required") == Some("1")) == required) {
            let default = document.child(*id, "content").and_then(|content| document.attribute(content, "default"));
            let default = default.map(|default| format!(" (default {default})")).unwrap_or_default();
            let _ = writeln!(out, "    {}{default}", name(&document, *id));
        }
    }
    Ok(out)
}

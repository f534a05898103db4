//! The options of `ccs` that change a cluster.conf, with the effects and the refusals of the original (rhcs.md §6.5).
//! Pure: a document and words in, the changed document out. What the original let through and a cluster could not use
//! is found by the checks afterwards, not here.

use shared::agents::mapping;
use shared::conf::edit::{
    AttributeChanges, Attributes, DomainNodeSpec, DomainSpec, InstanceSpec, MethodSpec, ServiceSpec,
};
use shared::conf::{Document, Edit, ElementId, apply, new_document};
use shared::ids::{ConfVersion, DomainName, NodeId, NodeName, ServiceName};

use super::fault::Fault;
use super::options::{Options, attributes};
use super::{section, splice};

/// A changed configuration.
pub(super) struct Edited {
    pub(super) document: Document,
    /// For stdout.
    pub(super) said: String,
    /// For stderr: what else should be known.
    pub(super) note: Option<String>,
}

/// Fence agents that take access away instead of power: what they took must be given back at boot (rhcs.md §9.3).
const NEED_UNFENCING: [&str; 7] =
    ["fence_scsi", "fence_mpath", "fence_sanlock", "fence_brocade", "fence_cisco_mds", "fence_ifmib", "fence_sanbox2"];

/// Whether the option starts from nothing.
pub(super) fn creates(command: &str) -> bool {
    command == "createcluster"
}

/// Carries out one option; `None` if it is none that changes a cluster.conf.
pub(super) fn edit(command: &str, options: &Options, document: &Document) -> Option<Result<Edited, Fault>> {
    let words = &options.words;
    let mut edited = Edited { document: document.clone(), said: String::new(), note: None };
    let done = match command {
        "createcluster" => return Some(create(words)),
        "setversion" => return Some(set_version(words, edited)),
        "incversion" => increase_version(&mut edited.document).map(|version| edited.said = format!("{version}\n")),
        _ => match one(command, words, options, &mut edited) {
            Ok(false) => return None,
            Ok(true) => increase_version(&mut edited.document).map(drop),
            Err(fault) => Err(fault),
        },
    };
    Some(done.map(|()| edited))
}

/// Whether it was an option of this module or of `section`.
fn one(command: &str, words: &[String], options: &Options, edited: &mut Edited) -> Result<bool, Fault> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let document = &mut edited.document;
    match (command, &words[..]) {
        ("addnode", [name]) => {
            add_node(document, name, options)?;
            edited.said = format!("Node {name} added.\n");
        }
        ("rmnode", [name]) => remove_node(document, name)?,
        ("addalt" | "rmalt", [node, altname]) => set_altname(document, node, altname, command == "addalt")?,
        ("addmethod", [method, node]) => {
            add_method(document, method, node)?;
            edited.said = format!("Method {method} added to {node}.\n");
        }
        ("rmmethod", [method, node]) => {
            remove_method(document, method, node)?;
            edited.said = format!("Method {method} removed from {node}.\n");
        }
        ("addfencedev", [name, rest @ ..]) => add_fence_device(document, name, rest)?,
        ("rmfencedev", [name]) => remove_fence_device(document, name)?,
        ("addfenceinst", [device, node, method, rest @ ..]) => {
            add_instance(document, (device, node, method), rest)?;
            if !options.nounfence {
                mirror_unfencing(document, device, node, rest)?;
            }
        }
        ("rmfenceinst", [device, node, method]) => {
            edited.note = remove_instance(document, device, node, method)?;
        }
        ("addunfenceinst", [device, node, rest @ ..]) => add_unfence(document, device, node, rest)?,
        ("rmunfenceinst", [device, node]) => remove_unfence(document, device, node)?,
        ("addfailoverdomain", [name, flags @ ..]) => add_domain(document, name, flags)?,
        ("rmfailoverdomain", [name]) => remove_domain(document, name)?,
        ("addfailoverdomainnode", [domain, node]) => add_domain_node(document, domain, node, None)?,
        ("addfailoverdomainnode", [domain, node, priority]) => {
            add_domain_node(document, domain, node, Some(parse_priority(priority)?))?;
        }
        ("rmfailoverdomainnode", [domain, node]) => remove_domain_node(document, domain, node)?,
        ("addresource", [kind, rest @ ..]) => add_resource(document, kind, rest)?,
        ("rmresource", [kind, rest @ ..]) => remove_resource(document, kind, rest)?,
        ("addservice" | "addvm", [name, rest @ ..]) => add_service(document, kind_of(command), name, rest)?,
        ("rmservice" | "rmvm", [name]) => remove_service(document, kind_of(command), name)?,
        ("addsubservice", [service, path, rest @ ..]) => *document = section::add_below(document, service, path, rest)?,
        ("rmsubservice", [service, path]) => *document = section::remove_below(document, service, path)?,
        ("addaction", [service, action, rest @ ..]) => {
            *document = section::add_action(document, service, action, rest)?
        }
        ("rmaction", [service, rest @ ..]) => *document = section::remove_actions(document, service, rest)?,
        _ => match section::edit(command, &words, document)? {
            Some(changed) => *document = changed,
            None if super::is_edit_of_words(command) => {
                return Err(Fault::usage(format!("--{command} needs other arguments than these")));
            }
            None => return Ok(false),
        },
    }
    Ok(true)
}

fn kind_of(command: &str) -> &'static str {
    if command.ends_with("vm") { "vm" } else { "service" }
}

/// Words as attributes.
pub(super) fn pairs(words: &[&str]) -> Result<Vec<(String, String)>, Fault> {
    attributes(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
}

fn map(words: &[&str]) -> Result<Attributes, Fault> {
    Ok(pairs(words)?.into_iter().collect())
}

fn create(words: &[String]) -> Result<Edited, Fault> {
    let [name] = words else { return Err(Fault::usage("--createcluster needs the name of the cluster and no more")) };
    let document = new_document(name, &[])?;
    Ok(Edited { document, said: String::new(), note: None })
}

/// The version that a document carries.
pub(super) fn version(document: &Document) -> Result<ConfVersion, Fault> {
    let text = document.root().and_then(|root| document.attribute(root, "config_version"));
    let number = text.and_then(|text| text.trim().parse().ok());
    number.map(ConfVersion).ok_or_else(|| Fault::new("cluster.conf has no config_version; set one with --setversion"))
}

fn set_version(words: &[String], mut edited: Edited) -> Result<Edited, Fault> {
    let number = match words {
        [number] => {
            number.parse().map_err(|_| Fault::new(format!("'{number}' is no version; versions are numbers")))?
        }
        _ => return Err(Fault::usage("--setversion needs a number and no more")),
    };
    apply(&mut edited.document, &Edit::SetVersion { version: ConfVersion(number) })?;
    Ok(edited)
}

fn increase_version(document: &mut Document) -> Result<ConfVersion, Fault> {
    let next = ConfVersion(version(document)?.0.saturating_add(1));
    apply(document, &Edit::SetVersion { version: next })?;
    Ok(next)
}

fn find(document: &Document, path: &str, name: &str) -> Option<ElementId> {
    document.select(path).into_iter().find(|id| document.attribute(*id, "name") == Some(name))
}

fn find_node(document: &Document, name: &str) -> Option<ElementId> {
    find(document, "/cluster/clusternodes/clusternode", name)
}

fn find_device(document: &Document, name: &str) -> Option<ElementId> {
    find(document, "/cluster/fencedevices/fencedevice", name)
}

fn add_node(document: &mut Document, name: &str, options: &Options) -> Result<(), Fault> {
    if find_node(document, name).is_some() {
        return Err(Fault::new(format!("Node '{name}' already exists in cluster.conf")));
    }
    if let Some(id) = options.nodeid {
        let nodes = document.select("/cluster/clusternodes/clusternode");
        if nodes.iter().any(|node| document.attribute(*node, "nodeid") == Some(&id.to_string())) {
            return Err(Fault::new(format!("Nodeid '{id}' already exists in cluster.conf")));
        }
    }
    let (id, votes) = (options.nodeid.map(NodeId), options.votes);
    Ok(apply(document, &Edit::AddNode { name: NodeName::from(name), id, votes, altname: None })?)
}

fn remove_node(document: &mut Document, name: &str) -> Result<(), Fault> {
    if find_node(document, name).is_none() {
        return Err(Fault::new(format!("Unable to find node {name}")));
    }
    Ok(apply(document, &Edit::RemoveNode { name: NodeName::from(name), from_domains: true })?)
}

fn set_altname(document: &mut Document, node: &str, altname: &str, add: bool) -> Result<(), Fault> {
    let element = node_or_fault(document, node)?;
    let present = document.child(element, "altname").and_then(|id| document.attribute(id, "name"));
    let wanted = match (add, present) {
        (true, Some(present)) if present == altname => {
            return Err(Fault::new(format!("Alternate name {altname} for {node} already exists in cluster.conf.")));
        }
        (true, Some(present)) => {
            return Err(Fault::new(format!(
                "{node} has the alternate name {present}; two links are supported, so remove it first with --rmalt"
            )));
        }
        (true, None) => altname,
        (false, Some(present)) if present == altname => "",
        (false, _) => return Err(Fault::new(format!("Alternate name {altname} does not exist for {node}."))),
    };
    let edit = Edit::SetNode {
        name: NodeName::from(node),
        attributes: AttributeChanges::new(),
        altname: Some(wanted.to_owned()),
    };
    Ok(apply(document, &edit)?)
}

fn node_or_fault(document: &Document, node: &str) -> Result<ElementId, Fault> {
    find_node(document, node)
        .ok_or_else(|| Fault::new(format!("Node '{node}' does not currently exist in cluster.conf.")))
}

fn methods_of(document: &Document, node: &str) -> Result<Vec<MethodSpec>, Fault> {
    node_or_fault(document, node)?;
    Ok(MethodSpec::read(document, &NodeName::from(node)).unwrap_or_default())
}

fn set_methods(document: &mut Document, node: &str, methods: Vec<MethodSpec>) -> Result<(), Fault> {
    Ok(apply(document, &Edit::SetFenceMethods { node: NodeName::from(node), methods })?)
}

fn add_method(document: &mut Document, method: &str, node: &str) -> Result<(), Fault> {
    let mut methods = methods_of(document, node)?;
    if methods.iter().any(|known| known.name == method) {
        return Err(Fault::new(format!("Method '{method}' already exists in cluster.conf.")));
    }
    methods.push(MethodSpec { name: method.to_owned(), devices: Vec::new() });
    set_methods(document, node, methods)
}

fn remove_method(document: &mut Document, method: &str, node: &str) -> Result<(), Fault> {
    let mut methods =
        methods_of(document, node).map_err(|_| Fault::new(format!("Node {node} does not exist in cluster.conf.")))?;
    let before = methods.len();
    methods.retain(|known| known.name != method);
    if methods.len() == before {
        return Err(Fault::new(format!("Method {method} is not present for {node}.")));
    }
    set_methods(document, node, methods)
}

fn add_fence_device(document: &mut Document, name: &str, words: &[&str]) -> Result<(), Fault> {
    if find_device(document, name).is_some() {
        return Err(Fault::new(format!("Fence device '{name}' already exists in cluster.conf.")));
    }
    let mut attributes = map(words)?;
    let Some(agent) = attributes.remove("agent") else {
        return Err(Fault::new(format!("fence device '{name}' needs agent=fence_…; --lsfenceopts lists the agents")));
    };
    Ok(apply(document, &Edit::AddFenceDevice { name: name.to_owned(), agent, attributes })?)
}

fn remove_fence_device(document: &mut Document, name: &str) -> Result<(), Fault> {
    if find_device(document, name).is_none() {
        return Err(Fault::new(format!("Fence device '{name}' does not exist in cluster.conf.")));
    }
    Ok(apply(document, &Edit::RemoveFenceDevice { name: name.to_owned() })?)
}

fn add_instance(
    document: &mut Document,
    (device, node, method): (&str, &str, &str),
    words: &[&str],
) -> Result<(), Fault> {
    if find_device(document, device).is_none() {
        return Err(Fault::new(format!("Fence device '{device}' not found.")));
    }
    let mut methods = MethodSpec::read(document, &NodeName::from(node)).unwrap_or_default();
    let Some(found) = methods.iter_mut().find(|known| known.name == method) else {
        return Err(Fault::new(format!("Method '{method}' not found in node '{node}'.")));
    };
    found.devices.push(InstanceSpec { device: device.to_owned(), attributes: map(words)? });
    set_methods(document, node, methods)
}

/// The device gives back at boot what it takes when it fences.
fn mirror_unfencing(document: &mut Document, device: &str, node: &str, words: &[&str]) -> Result<(), Fault> {
    let agent = find_device(document, device).and_then(|id| document.attribute(id, "agent")).unwrap_or_default();
    if !NEED_UNFENCING.contains(&agent) {
        return Ok(());
    }
    let mut attributes = map(words)?;
    attributes.insert("action".to_owned(), "on".to_owned());
    let mirrored = InstanceSpec { device: device.to_owned(), attributes };
    let mut devices = InstanceSpec::read_unfence(document, &NodeName::from(node)).unwrap_or_default();
    if devices.contains(&mirrored) {
        return Ok(());
    }
    devices.push(mirrored);
    Ok(apply(document, &Edit::SetUnfence { node: NodeName::from(node), devices })?)
}

/// The note says what stays behind.
fn remove_instance(document: &mut Document, device: &str, node: &str, method: &str) -> Result<Option<String>, Fault> {
    let mut methods = MethodSpec::read(document, &NodeName::from(node)).unwrap_or_default();
    let before = methods.clone();
    for found in methods.iter_mut().filter(|known| known.name == method) {
        found.devices.retain(|instance| instance.device != device);
    }
    if methods == before {
        return Err(Fault::new(format!(
            "Fence instance '{device}' for node '{node}' in method '{method}' does not exist in cluster.conf."
        )));
    }
    set_methods(document, node, methods)?;
    let unfenced = InstanceSpec::read_unfence(document, &NodeName::from(node)).unwrap_or_default();
    Ok(unfenced
        .iter()
        .any(|instance| instance.device == device)
        .then(|| format!("{node} is still unfenced with {device}; --rmunfenceinst {device} {node} ends that")))
}

fn add_unfence(document: &mut Document, device: &str, node: &str, words: &[&str]) -> Result<(), Fault> {
    if find_device(document, device).is_none() {
        return Err(Fault::new(format!("Fence device '{device}' not found.")));
    }
    node_or_fault(document, node)?;
    let mut devices = InstanceSpec::read_unfence(document, &NodeName::from(node)).unwrap_or_default();
    devices.push(InstanceSpec { device: device.to_owned(), attributes: map(words)? });
    Ok(apply(document, &Edit::SetUnfence { node: NodeName::from(node), devices })?)
}

fn remove_unfence(document: &mut Document, device: &str, node: &str) -> Result<(), Fault> {
    let mut devices = InstanceSpec::read_unfence(document, &NodeName::from(node)).unwrap_or_default();
    let before = devices.len();
    devices.retain(|instance| instance.device != device);
    if devices.len() == before {
        return Err(Fault::new(format!(
            "Unfence instance '{device}' for node '{node}' does not exist in cluster.conf."
        )));
    }
    let is_last = devices.is_empty();
    apply(document, &Edit::SetUnfence { node: NodeName::from(node), devices })?;
    let section = find_node(document, node).and_then(|id| document.child(id, "unfence"));
    if let Some(section) = section.filter(|section| is_last && document.children(*section).next().is_none()) {
        *document = splice::remove(document, section)?;
    }
    Ok(())
}

fn add_domain(document: &mut Document, name: &str, flags: &[&str]) -> Result<(), Fault> {
    if DomainSpec::read(document, &DomainName::from(name)).is_some() {
        return Err(Fault::new(format!("Failover domain '{name}' already exists.")));
    }
    if let Some(flag) = flags.iter().find(|flag| !matches!(**flag, "restricted" | "ordered" | "nofailback")) {
        return Err(Fault::new(format!("Invalid option: {flag}")));
    }
    let domain = DomainSpec {
        name: DomainName::from(name),
        ordered: flags.contains(&"ordered"),
        restricted: flags.contains(&"restricted"),
        nofailback: flags.contains(&"nofailback"),
        nodes: Vec::new(),
    };
    Ok(apply(document, &Edit::AddDomain { domain })?)
}

fn remove_domain(document: &mut Document, name: &str) -> Result<(), Fault> {
    let found = DomainSpec::read(document, &DomainName::from(name));
    let domain =
        found.ok_or_else(|| Fault::new(format!("Unable to find failover domain '{name}' in cluster.conf file.")))?;
    Ok(apply(document, &Edit::RemoveDomain { name: domain.name })?)
}

fn parse_priority(text: &str) -> Result<u32, Fault> {
    let wrong = |text: &str| Fault { text: text.to_owned(), code: 2 };
    let priority: u32 = text.parse().map_err(|_| wrong("Priority must be an integer between 1 and 100"))?;
    if (1..=100).contains(&priority) { Ok(priority) } else { Err(wrong("Priority must be between 1 and 100")) }
}

/// A node that is in the domain already gets the new priority.
fn add_domain_node(document: &mut Document, name: &str, node: &str, priority: Option<u32>) -> Result<(), Fault> {
    let found = DomainSpec::read(document, &DomainName::from(name));
    let mut domain = found.ok_or_else(|| Fault::new(format!("Unable to find failoverdomain '{name}'")))?;
    domain.nodes.retain(|known| known.name.as_str() != node);
    domain.nodes.push(DomainNodeSpec { name: NodeName::from(node), priority });
    Ok(apply(document, &Edit::SetDomain { name: domain.name.clone(), domain })?)
}

fn remove_domain_node(document: &mut Document, name: &str, node: &str) -> Result<(), Fault> {
    let found = DomainSpec::read(document, &DomainName::from(name));
    let domain = found.filter(|domain| domain.nodes.iter().any(|known| known.name.as_str() == node));
    let mut domain =
        domain.ok_or_else(|| Fault::new(format!("Unable to find node '{node}' in failover domain '{name}'.")))?;
    domain.nodes.retain(|known| known.name.as_str() != node);
    Ok(apply(document, &Edit::SetDomain { name: domain.name.clone(), domain })?)
}

fn add_resource(document: &mut Document, kind: &str, words: &[&str]) -> Result<(), Fault> {
    let attributes = map(words)?;
    if let Some(name) = attributes.get("name") {
        let resources = document.select("/cluster/rm/resources");
        let taken = resources
            .iter()
            .flat_map(|resources| document.children_named(*resources, kind))
            .any(|id| document.attribute(id, "name") == Some(name));
        if taken {
            return Err(Fault::new(format!("Duplicate name: {name}")));
        }
    }
    Ok(apply(document, &Edit::AddResource { kind: kind.to_owned(), attributes, actions: Vec::new() })?)
}

fn remove_resource(document: &mut Document, kind: &str, words: &[&str]) -> Result<(), Fault> {
    let wanted = pairs(words)?;
    let matches = |id: &ElementId| {
        !wanted.is_empty() && wanted.iter().all(|(name, value)| document.attribute(*id, name) == Some(value))
    };
    let resources = document.select("/cluster/rm/resources");
    let found = resources.iter().flat_map(|resources| document.children_named(*resources, kind)).find(matches);
    let Some(id) = found else {
        return Err(Fault::new(format!("Unable to find matching resource: {kind}, {}", words.join(", "))));
    };
    match mapping::primary_value(kind, |key| document.attribute(id, key)).map(str::to_owned) {
        Some(name) => apply(document, &Edit::RemoveResource { kind: kind.to_owned(), name })?,
        None => *document = splice::remove(document, id)?,
    }
    Ok(())
}

fn add_service(document: &mut Document, kind: &str, name: &str, words: &[&str]) -> Result<(), Fault> {
    let title = if kind == "vm" { "Virtual machine" } else { "Service" };
    if find(document, &format!("/cluster/rm/{kind}"), name).is_some() {
        return Err(Fault::new(format!("{title} '{name}' already exists in cluster.conf.")));
    }
    let name = ServiceName(format!("{kind}:{name}"));
    Ok(apply(
        document,
        &Edit::AddService { service: ServiceSpec { name, attributes: map(words)?, resources: Vec::new() } },
    )?)
}

fn remove_service(document: &mut Document, kind: &str, name: &str) -> Result<(), Fault> {
    if find(document, &format!("/cluster/rm/{kind}"), name).is_none() {
        let title = if kind == "vm" { "virtual machine" } else { "service" };
        return Err(Fault::new(format!("Unable to find {title}: {name}")));
    }
    Ok(apply(document, &Edit::RemoveService { name: ServiceName(format!("{kind}:{name}")) })?)
}

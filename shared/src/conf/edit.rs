//! Everything that can be changed in a cluster.conf, as values, and their application to a document.
//!
//! Used by the console (each form makes edits) and by the commands that change a configuration. An edit keeps all bytes
//! that it does not concern. It refuses what makes no sense at once (a name taken, a thing in use); whether the whole
//! is sound is found by `check` afterwards. Versions are raised by `SetVersion`, never by the way.

mod stack;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::document::{Document, ElementId};
use super::duration::atoi;
use super::splice::NewElement;
use super::xml;
use crate::agents::mapping;
use crate::ids::{ConfVersion, DomainName, NodeId, NodeName, ServiceName};

/// Attributes of something new. Those with an empty value are left out.
pub type Attributes = BTreeMap<String, String>;

/// Changes of attributes: a value sets, `None` (JSON `null`) or an empty value removes; those not named stay.
pub type AttributeChanges = BTreeMap<String, Option<String>>;

/// One change of a cluster.conf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Edit {
    SetClusterName {
        name: String,
    },
    SetVersion {
        version: ConfVersion,
    },
    /// Also keeps `two_node` and `expected_votes` right: set for the second node, removed for the third (rhcs.md §6.5);
    /// later `expected_votes` follows if it was the sum of the votes.
    AddNode {
        name: NodeName,
        /// The lowest free one if absent.
        #[serde(default)]
        id: Option<NodeId>,
        #[serde(default)]
        votes: Option<u32>,
        #[serde(default)]
        altname: Option<String>,
    },
    SetNode {
        name: NodeName,
        /// Without `name`: a node is renamed by removing and adding it.
        #[serde(default)]
        attributes: AttributeChanges,
        /// Absent: stays. Empty: is removed.
        #[serde(default)]
        altname: Option<String>,
    },
    RemoveNode {
        name: NodeName,
        /// Take it out of its failover domains as well; else it is refused while it is in one.
        #[serde(default)]
        from_domains: bool,
    },
    AddFenceDevice {
        name: String,
        agent: String,
        #[serde(default)]
        attributes: Attributes,
    },
    /// A new `name` is carried over to the nodes that use the device.
    SetFenceDevice {
        name: String,
        attributes: AttributeChanges,
    },
    RemoveFenceDevice {
        name: String,
    },
    /// All fence methods of a node, in the order in which they are tried.
    SetFenceMethods {
        node: NodeName,
        methods: Vec<MethodSpec>,
    },
    /// All unfence devices of a node.
    SetUnfence {
        node: NodeName,
        devices: Vec<InstanceSpec>,
    },
    AddDomain {
        domain: DomainSpec,
    },
    /// The domain as it shall be.
    SetDomain {
        name: DomainName,
        /// May have another name, which is carried over to the services.
        domain: DomainSpec,
    },
    RemoveDomain {
        name: DomainName,
    },
    AddResource {
        kind: String,
        attributes: Attributes,
        /// Attributes of each `<action>`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        actions: Vec<Attributes>,
    },
    /// A new value of the naming attribute is carried over to the references.
    SetResource {
        kind: String,
        name: String,
        attributes: AttributeChanges,
        /// Attributes of each `<action>` as they shall be; absent: they stay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actions: Option<Vec<Attributes>>,
    },
    RemoveResource {
        kind: String,
        name: String,
    },
    AddService {
        service: ServiceSpec,
    },
    /// A new `name` is carried over to the services that depend on it.
    SetService {
        name: ServiceName,
        #[serde(default)]
        attributes: AttributeChanges,
        /// The whole tree as it shall be; absent: stays.
        #[serde(default)]
        resources: Option<Vec<ResourceSpec>>,
    },
    RemoveService {
        name: ServiceName,
    },
    SetCman {
        attributes: AttributeChanges,
    },
    SetTotem {
        attributes: AttributeChanges,
    },
    SetFenceDaemon {
        attributes: AttributeChanges,
    },
    SetRm {
        attributes: AttributeChanges,
    },
    /// What is said of one link; it counts from 0.
    SetLink {
        number: u32,
        attributes: AttributeChanges,
    },
    /// Makes the quorum device if there is none; `two_node` and `expected_votes`, which exclude it, go.
    SetQdevice {
        attributes: AttributeChanges,
        /// All its heuristics as they shall be; absent: they stay.
        #[serde(default)]
        heuristics: Option<Vec<HeuristicSpec>>,
    },
    /// Two nodes get `two_node` back.
    RemoveQdevice,
    /// `<logging>`, or with `daemon` what is said of one daemon, with `subsys` of a subsystem of corosync. An element of a
    /// daemon that says nothing any more goes.
    SetLogging {
        #[serde(default)]
        daemon: Option<String>,
        #[serde(default)]
        subsys: Option<String>,
        attributes: AttributeChanges,
    },
}

/// A heuristic of the quorum device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeuristicSpec {
    pub name: String,
    /// The program with its arguments.
    pub program: String,
}

/// A fence method of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSpec {
    pub name: String,
    /// All must succeed, in this order.
    pub devices: Vec<InstanceSpec>,
}

/// A use of a fence device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceSpec {
    /// Name of the fence device.
    pub device: String,
    #[serde(default)]
    pub attributes: Attributes,
}

/// A failover domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainSpec {
    pub name: DomainName,
    #[serde(default)]
    pub ordered: bool,
    #[serde(default)]
    pub restricted: bool,
    #[serde(default)]
    pub nofailback: bool,
    #[serde(default)]
    pub nodes: Vec<DomainNodeSpec>,
}

/// A node of a failover domain; the priority counts in an ordered one, 1 is preferred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainNodeSpec {
    pub name: NodeName,
    #[serde(default)]
    pub priority: Option<u32>,
}

/// A service or virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// `service:web`, `vm:guest`; the element name and the attribute `name` follow from it.
    pub name: ServiceName,
    /// Without `name`.
    #[serde(default)]
    pub attributes: Attributes,
    #[serde(default)]
    pub resources: Vec<ResourceSpec>,
}

/// A resource in the tree of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceSpec {
    pub kind: String,
    /// Names a definition in `<resources>`; then only `__` attributes have an effect here.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(default)]
    pub attributes: Attributes,
    /// Attributes of each `<action>`: name, depth, interval, timeout.
    #[serde(default)]
    pub actions: Vec<Attributes>,
    #[serde(default)]
    pub children: Vec<ResourceSpec>,
}

/// Why an edit is refused; the document is then as it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditError {
    #[error("this is not a cluster.conf that can be edited: correct it by hand first")]
    NotEditable,
    #[error("there is no {what} {name}")]
    NotFound { what: &'static str, name: String },
    #[error("there is already a {what} {name}")]
    Exists { what: &'static str, name: String },
    #[error("the {what} {name} is used by {}; remove it there first", users.join(", "))]
    InUse { what: &'static str, name: String, users: Vec<String> },
    #[error("a {what} needs the attribute {attribute}")]
    AttributeMissing { what: String, attribute: &'static str },
    #[error("{name} cannot be the name of an attribute or element")]
    NameInvalid { name: String },
    #[error("the value of {name} contains a character that a file cannot hold")]
    ValueInvalid { name: String },
    #[error("the {what} of a {of} cannot be changed")]
    NotChangeable { what: &'static str, of: &'static str },
}

/// Applies one edit. On refusal the document is untouched.
pub fn apply(document: &mut Document, edit: &Edit) -> Result<(), EditError> {
    let editable = document.is_well_formed() && document.root().is_some_and(|root| document.name(root) == "cluster");
    if !editable {
        return Err(EditError::NotEditable);
    }
    let mut editor = Editor { document: document.clone() };
    editor.apply(edit)?;
    // Reading the result back gives the new elements their places, and proves that the text is still well-formed.
    let (edited, findings) = Document::parse(&editor.document.print());
    if !findings.is_empty() {
        return Err(EditError::NotEditable);
    }
    *document = edited;
    Ok(())
}

/// Applies edits one after the other; at the first refusal nothing has changed. Returns its index and reason.
pub fn apply_all(document: &mut Document, edits: &[Edit]) -> Result<(), (usize, EditError)> {
    let mut edited = document.clone();
    for (index, edit) in edits.iter().enumerate() {
        apply(&mut edited, edit).map_err(|error| (index, error))?;
    }
    *document = edited;
    Ok(())
}

/// A cluster.conf for a new cluster: version 1, the nodes numbered from 1, no fencing and no services yet.
pub fn new_document(cluster_name: &str, nodes: &[NodeName]) -> Result<Document, EditError> {
    let text = "<?xml version=\"1.0\"?>\n<cluster name=\"\" config_version=\"1\">\n  <clusternodes/>\n  <fencedevices/>\n  <rm>\n    \
                <failoverdomains/>\n    <resources/>\n  </rm>\n</cluster>\n";
    let (mut document, _) = Document::parse(text);
    apply(&mut document, &Edit::SetClusterName { name: cluster_name.to_owned() })?;
    for name in nodes {
        apply(&mut document, &Edit::AddNode { name: name.clone(), id: None, votes: None, altname: None })?;
    }
    Ok(document)
}

impl MethodSpec {
    /// The fence methods of a node as they stand in the document.
    pub fn read(document: &Document, node: &NodeName) -> Option<Vec<Self>> {
        let node = find(document, "/cluster/clusternodes/clusternode", "name", node.as_str())?;
        let Some(fence) = document.child(node, "fence") else { return Some(Vec::new()) };
        let methods = document.children_named(fence, "method").map(|method| Self {
            name: document.attribute(method, "name").unwrap_or_default().to_owned(),
            devices: InstanceSpec::read_below(document, method),
        });
        Some(methods.collect())
    }
}

impl InstanceSpec {
    fn read_below(document: &Document, parent: ElementId) -> Vec<Self> {
        let devices = document.children_named(parent, "device").map(|device| Self {
            device: document.attribute(device, "name").unwrap_or_default().to_owned(),
            attributes: attributes_without(document, device, "name"),
        });
        devices.collect()
    }

    /// The unfence devices of a node as they stand in the document.
    pub fn read_unfence(document: &Document, node: &NodeName) -> Option<Vec<Self>> {
        let node = find(document, "/cluster/clusternodes/clusternode", "name", node.as_str())?;
        Some(document.child(node, "unfence").map(|unfence| Self::read_below(document, unfence)).unwrap_or_default())
    }
}

impl DomainSpec {
    /// A failover domain as it stands in the document.
    pub fn read(document: &Document, name: &DomainName) -> Option<Self> {
        let domains = document.select("/cluster/rm/failoverdomains/failoverdomain");
        let same = |id: &ElementId| {
            document.attribute(*id, "name").is_some_and(|other| other.eq_ignore_ascii_case(name.as_str()))
        };
        let element = domains.into_iter().find(same)?;
        let flag = |name: &str| document.attribute(element, name).is_some_and(|text| atoi(text) != 0);
        let nodes = document.children_named(element, "failoverdomainnode").map(|node| DomainNodeSpec {
            name: NodeName::from(document.attribute(node, "name").unwrap_or_default()),
            priority: document.attribute(node, "priority").and_then(|priority| priority.trim().parse().ok()),
        });
        Some(Self {
            name: DomainName::from(document.attribute(element, "name").unwrap_or_default()),
            ordered: flag("ordered"),
            restricted: flag("restricted"),
            nofailback: flag("nofailback"),
            nodes: nodes.collect(),
        })
    }
}

impl ServiceSpec {
    /// A service as it stands in the document, so that a form can show it and give it back changed.
    pub fn read(document: &Document, name: &ServiceName) -> Option<Self> {
        let element = find_service(document, name)?;
        Some(Self {
            name: name.clone(),
            attributes: attributes_without(document, element, "name"),
            resources: ResourceSpec::read_below(document, element),
        })
    }
}

impl ResourceSpec {
    /// A shared resource as it stands in the document.
    pub fn read_shared(document: &Document, kind: &str, name: &str) -> Option<Self> {
        let parents = document.select("/cluster/rm/resources");
        let specs = parents.into_iter().flat_map(|parent| Self::read_below(document, parent));
        let value = |spec: &Self| {
            mapping::primary_value(&spec.kind, |key| spec.attributes.get(key).map(String::as_str)).map(str::to_owned)
        };
        specs.into_iter().find(|spec| spec.kind == kind && value(spec).as_deref() == Some(name))
    }

    fn read_below(document: &Document, parent: ElementId) -> Vec<Self> {
        let children = document.children(parent).filter(|child| document.name(*child) != "action");
        let specs = children.map(|child| Self {
            kind: document.name(child).to_owned(),
            reference: document.attribute(child, "ref").map(str::to_owned),
            attributes: attributes_without(document, child, "ref"),
            actions: document.children_named(child, "action").map(|id| attributes_without(document, id, "")).collect(),
            children: Self::read_below(document, child),
        });
        specs.collect()
    }

    fn to_element(&self) -> NewElement {
        let mut attributes = ordered(&self.attributes, primary_of(&self.kind));
        if let Some(reference) = &self.reference {
            attributes.insert(0, ("ref".to_owned(), reference.clone()));
        }
        let actions = self.actions.iter().map(new_action);
        let children = actions.chain(self.children.iter().map(Self::to_element)).collect();
        NewElement { name: self.kind.clone(), attributes, children }
    }
}

fn attributes_without(document: &Document, element: ElementId, left_out: &str) -> Attributes {
    document.attributes(element).iter().filter(|(name, _)| name != left_out).cloned().collect()
}

fn primary_of(kind: &str) -> &'static str {
    mapping::kind(kind).map_or("name", |kind| kind.primary)
}

/// Attributes as they are written: the naming one first, without empty ones.
fn ordered(attributes: &Attributes, first: &str) -> Vec<(String, String)> {
    let given = attributes.iter().filter(|(_, value)| !value.is_empty());
    let mut list: Vec<(String, String)> = given.map(|(name, value)| (name.clone(), value.clone())).collect();
    list.sort_by_key(|(name, _)| name != first);
    list
}

fn find(document: &Document, path: &str, attribute: &str, value: &str) -> Option<ElementId> {
    document.select(path).into_iter().find(|id| document.attribute(*id, attribute) == Some(value))
}

fn find_service(document: &Document, name: &ServiceName) -> Option<ElementId> {
    let (kind, bare) = name.0.split_once(':').unwrap_or(("service", &name.0));
    find(document, &format!("/cluster/rm/{kind}"), "name", bare)
}

struct Editor {
    document: Document,
}

impl Editor {
    fn apply(&mut self, edit: &Edit) -> Result<(), EditError> {
        match edit {
            Edit::SetClusterName { name } => self.set_root("name", name),
            Edit::SetVersion { version } => self.set_root("config_version", &version.to_string()),
            Edit::AddNode { name, id, votes, altname } => self.add_node(name, *id, *votes, altname.as_deref()),
            Edit::SetNode { name, attributes, altname } => self.set_node(name, attributes, altname.as_deref()),
            Edit::RemoveNode { name, from_domains } => self.remove_node(name, *from_domains),
            Edit::AddFenceDevice { name, agent, attributes } => self.add_fence_device(name, agent, attributes),
            Edit::SetFenceDevice { name, attributes } => self.set_fence_device(name, attributes),
            Edit::RemoveFenceDevice { name } => self.remove_fence_device(name),
            Edit::SetFenceMethods { node, methods } => self.set_fence_methods(node, methods),
            Edit::SetUnfence { node, devices } => self.set_unfence(node, devices),
            Edit::AddDomain { domain } => self.add_domain(domain),
            Edit::SetDomain { name, domain } => self.set_domain(name, domain),
            Edit::RemoveDomain { name } => self.remove_domain(name),
            Edit::AddResource { kind, attributes, actions } => self.add_resource(kind, attributes, actions),
            Edit::SetResource { kind, name, attributes, actions } => {
                self.set_resource(kind, name, attributes, actions.as_deref())
            }
            Edit::RemoveResource { kind, name } => self.remove_resource(kind, name),
            Edit::AddService { service } => self.add_service(service),
            Edit::SetService { name, attributes, resources } => {
                self.set_service(name, attributes, resources.as_deref())
            }
            Edit::RemoveService { name } => self.remove_service(name),
            Edit::SetCman { attributes } => self.set_section("cman", attributes),
            Edit::SetTotem { attributes } => self.set_section("totem", attributes),
            Edit::SetFenceDaemon { attributes } => self.set_section("fence_daemon", attributes),
            Edit::SetRm { attributes } => self.set_section("rm", attributes),
            Edit::SetLink { number, attributes } => self.set_link(*number, attributes),
            Edit::SetQdevice { attributes, heuristics } => self.set_qdevice(attributes, heuristics.as_deref()),
            Edit::RemoveQdevice => self.remove_qdevice(),
            Edit::SetLogging { daemon, subsys, attributes } => {
                self.set_logging(daemon.as_deref(), subsys.as_deref(), attributes)
            }
        }
    }

    fn root(&self) -> Result<ElementId, EditError> {
        self.document.root().ok_or(EditError::NotEditable)
    }

    fn set_root(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        check_value(name, value)?;
        let root = self.root()?;
        self.document.set_attribute(root, name, value);
        Ok(())
    }

    /// The element at a path below `<cluster>`, made if it is not there.
    fn ensure(&mut self, path: &[&str]) -> Result<ElementId, EditError> {
        let mut at = self.root()?;
        for name in path {
            at = match self.document.child(at, name) {
                Some(child) => child,
                None => self.document.append(at, &NewElement { name: (*name).to_owned(), ..NewElement::default() }),
            };
        }
        Ok(at)
    }

    fn set_section(&mut self, name: &str, changes: &AttributeChanges) -> Result<(), EditError> {
        let section = self.ensure(&[name])?;
        self.change(section, changes)
    }

    fn change(&mut self, id: ElementId, changes: &AttributeChanges) -> Result<(), EditError> {
        for (name, value) in changes {
            if !xml::is_name(name) {
                return Err(EditError::NameInvalid { name: name.clone() });
            }
            match value.as_deref().filter(|value| !value.is_empty()) {
                Some(value) => {
                    check_value(name, value)?;
                    self.document.set_attribute(id, name, value);
                }
                None => self.document.remove_attribute(id, name),
            }
        }
        Ok(())
    }

    fn append(&mut self, parent: ElementId, element: &NewElement) -> Result<ElementId, EditError> {
        check_element(element)?;
        Ok(self.document.append(parent, element))
    }

    fn node(&self, name: &NodeName) -> Result<ElementId, EditError> {
        find(&self.document, "/cluster/clusternodes/clusternode", "name", name.as_str())
            .ok_or_else(|| EditError::NotFound { what: "node", name: name.0.clone() })
    }

    fn add_node(
        &mut self,
        name: &NodeName,
        id: Option<NodeId>,
        votes: Option<u32>,
        altname: Option<&str>,
    ) -> Result<(), EditError> {
        if self.node(name).is_ok() {
            return Err(EditError::Exists { what: "node", name: name.0.clone() });
        }
        let nodes = self.document.select("/cluster/clusternodes/clusternode");
        let taken: Vec<u32> =
            nodes.iter().filter_map(|node| self.document.attribute(*node, "nodeid")?.trim().parse().ok()).collect();
        let id = match id {
            Some(NodeId(id)) if taken.contains(&id) => {
                return Err(EditError::Exists { what: "node with the id", name: id.to_string() });
            }
            Some(NodeId(id)) => id,
            None => (1..).find(|id| !taken.contains(id)).unwrap_or(u32::MAX),
        };
        let mut attributes = vec![("name".to_owned(), name.0.clone()), ("nodeid".to_owned(), id.to_string())];
        attributes.extend(votes.map(|votes| ("votes".to_owned(), votes.to_string())));
        let children = altname.filter(|altname| !altname.is_empty()).map(new_altname).into_iter().collect();
        let parent = self.ensure(&["clusternodes"])?;
        let votes_before = self.votes();
        self.append(parent, &NewElement { name: "clusternode".to_owned(), attributes, children })?;
        self.adjust_expected_votes(votes_before);
        self.adjust_two_node(nodes.len(), nodes.len() + 1)
    }

    /// The votes of all nodes together.
    fn votes(&self) -> u32 {
        let nodes = self.document.select("/cluster/clusternodes/clusternode");
        let votes =
            |node: &ElementId| self.document.attribute(*node, "votes").and_then(|votes| votes.trim().parse().ok());
        nodes.iter().map(|node| votes(node).unwrap_or(1)).fold(0, u32::saturating_add)
    }

    /// Where `expected_votes` says how many votes the nodes had, it shall say how many they have.
    fn adjust_expected_votes(&mut self, votes_before: u32) {
        let Some(cman) = self.document.select("/cluster/cman").first().copied() else { return };
        let expected = self.document.attribute(cman, "expected_votes").and_then(|text| text.trim().parse::<u32>().ok());
        let two_node = self.document.attribute(cman, "two_node").is_some_and(|text| atoi(text) != 0);
        if expected == Some(votes_before) && !two_node {
            self.document.set_attribute(cman, "expected_votes", &self.votes().to_string());
        }
    }

    /// Two nodes need `two_node`, any other number must not have it (rhcs.md §6.5).
    fn adjust_two_node(&mut self, before: usize, after: usize) -> Result<(), EditError> {
        // two_node counts nodes, not votes: with more than one vote on a node it would be refused.
        let one_vote_each = self
            .document
            .select("/cluster/clusternodes/clusternode")
            .iter()
            .all(|&node| self.document.attribute(node, "votes").is_none_or(|votes| votes.trim() == "1"));
        if after == 2 && one_vote_each && self.document.select("/cluster/qdevice").is_empty() {
            let set = |value: &str| Some(value.to_owned());
            let changes = [("expected_votes".to_owned(), set("1")), ("two_node".to_owned(), set("1"))];
            return self.set_section("cman", &changes.into());
        }
        if before == 2
            && let Some(cman) = self.document.select("/cluster/cman").first().copied()
            && self.document.attribute(cman, "two_node").is_some()
        {
            self.document.remove_attribute(cman, "two_node");
            if self.document.attribute(cman, "expected_votes") == Some("1") {
                self.document.remove_attribute(cman, "expected_votes");
            }
            self.remove_if_bare(cman);
        }
        Ok(())
    }

    fn set_node(
        &mut self,
        name: &NodeName,
        changes: &AttributeChanges,
        altname: Option<&str>,
    ) -> Result<(), EditError> {
        let node = self.node(name)?;
        if changes.contains_key("name") {
            return Err(EditError::NotChangeable { what: "name", of: "node" });
        }
        self.change(node, changes)?;
        match (altname, self.document.child(node, "altname")) {
            (None, _) => {}
            (Some(""), Some(element)) => self.document.remove(element),
            (Some(""), None) => {}
            (Some(altname), Some(element)) => {
                check_value("altname", altname)?;
                self.document.set_attribute(element, "name", altname);
            }
            (Some(altname), None) => {
                self.append(node, &new_altname(altname))?;
            }
        }
        Ok(())
    }

    fn remove_node(&mut self, name: &NodeName, from_domains: bool) -> Result<(), EditError> {
        let node = self.node(name)?;
        let memberships: Vec<ElementId> = self
            .document
            .select("/cluster/rm/failoverdomains/failoverdomain/failoverdomainnode")
            .into_iter()
            .filter(|member| self.document.attribute(*member, "name") == Some(name.as_str()))
            .collect();
        if !from_domains {
            self.refuse_if_used("node", name.as_str(), &memberships)?;
        }
        for membership in memberships {
            self.document.remove(membership);
        }
        let before = self.document.select("/cluster/clusternodes/clusternode").len();
        let votes_before = self.votes();
        self.document.remove(node);
        self.adjust_expected_votes(votes_before);
        self.adjust_two_node(before, before - 1)
    }

    /// Refuses with the names of the elements around the uses: failover domain east, node n1, service:web.
    fn refuse_if_used(&self, what: &'static str, name: &str, uses: &[ElementId]) -> Result<(), EditError> {
        let mut users: Vec<String> = Vec::new();
        for user in uses.iter().map(|id| self.user_of(*id)) {
            if !users.contains(&user) {
                users.push(user);
            }
        }
        if users.is_empty() { Ok(()) } else { Err(EditError::InUse { what, name: name.to_owned(), users }) }
    }

    fn user_of(&self, id: ElementId) -> String {
        let mut at = Some(id);
        while let Some(id) = at {
            let name =
                || self.document.attribute(id, "name").or(self.document.attribute(id, "ref")).unwrap_or_default();
            match self.document.name(id) {
                "clusternode" => return format!("node {}", name()),
                "failoverdomain" => return format!("failover domain {}", name()),
                kind @ ("service" | "vm") => return format!("{kind}:{}", name()),
                _ => at = self.document.parent(id),
            }
        }
        self.document.place(id).path
    }

    fn device_uses(&self, name: &str) -> Vec<ElementId> {
        let fence = self.document.select("/cluster/clusternodes/clusternode/fence/method/device");
        let unfence = self.document.select("/cluster/clusternodes/clusternode/unfence/device");
        let uses = fence.into_iter().chain(unfence);
        uses.filter(|device| self.document.attribute(*device, "name") == Some(name)).collect()
    }

    fn fence_device(&self, name: &str) -> Result<ElementId, EditError> {
        find(&self.document, "/cluster/fencedevices/fencedevice", "name", name)
            .ok_or_else(|| EditError::NotFound { what: "fence device", name: name.to_owned() })
    }

    fn add_fence_device(&mut self, name: &str, agent: &str, attributes: &Attributes) -> Result<(), EditError> {
        if self.fence_device(name).is_ok() {
            return Err(EditError::Exists { what: "fence device", name: name.to_owned() });
        }
        let mut all = vec![("name".to_owned(), name.to_owned()), ("agent".to_owned(), agent.to_owned())];
        all.extend(ordered(attributes, "").into_iter().filter(|(key, _)| key != "name" && key != "agent"));
        let parent = self.ensure(&["fencedevices"])?;
        self.append(parent, &NewElement { name: "fencedevice".to_owned(), attributes: all, children: Vec::new() })?;
        Ok(())
    }

    fn set_fence_device(&mut self, name: &str, changes: &AttributeChanges) -> Result<(), EditError> {
        let device = self.fence_device(name)?;
        if let Some(new_name) = new_name(changes, "name", "fence device", name)? {
            if self.fence_device(new_name).is_ok() {
                return Err(EditError::Exists { what: "fence device", name: new_name.to_owned() });
            }
            for instance in self.device_uses(name) {
                self.document.set_attribute(instance, "name", new_name);
            }
        }
        self.change(device, changes)
    }

    fn remove_fence_device(&mut self, name: &str) -> Result<(), EditError> {
        let device = self.fence_device(name)?;
        self.refuse_if_used("fence device", name, &self.device_uses(name))?;
        self.document.remove(device);
        Ok(())
    }

    fn set_fence_methods(&mut self, node: &NodeName, methods: &[MethodSpec]) -> Result<(), EditError> {
        let node = self.node(node)?;
        let wanted: Vec<NewElement> = methods.iter().map(new_method).collect();
        for method in methods {
            self.check_devices_exist(&method.devices)?;
        }
        self.reconcile_below(node, "fence", &wanted)
    }

    fn set_unfence(&mut self, node: &NodeName, devices: &[InstanceSpec]) -> Result<(), EditError> {
        let node = self.node(node)?;
        self.check_devices_exist(devices)?;
        let wanted: Vec<NewElement> = devices.iter().map(new_instance).collect();
        self.reconcile_below(node, "unfence", &wanted)
    }

    fn check_devices_exist(&self, devices: &[InstanceSpec]) -> Result<(), EditError> {
        devices.iter().try_for_each(|instance| self.fence_device(&instance.device).map(drop))
    }

    /// Makes the children of `<fence>` or `<unfence>` the wanted ones; without any, the section is not made.
    fn reconcile_below(&mut self, node: ElementId, section: &str, wanted: &[NewElement]) -> Result<(), EditError> {
        wanted.iter().try_for_each(check_element)?;
        let section = match self.document.child(node, section) {
            Some(section) => section,
            None if wanted.is_empty() => return Ok(()),
            None => self.document.append(node, &NewElement { name: section.to_owned(), ..NewElement::default() }),
        };
        self.document.reconcile(section, wanted, |name| matches!(name, "method" | "device"), key_by_name);
        Ok(())
    }

    /// Names of failover domains compare without case (rhcs.md §3.5).
    fn domain(&self, name: &DomainName) -> Result<ElementId, EditError> {
        let same = |id: &ElementId| {
            self.document.attribute(*id, "name").is_some_and(|other| other.eq_ignore_ascii_case(name.as_str()))
        };
        let domains = self.document.select("/cluster/rm/failoverdomains/failoverdomain");
        domains
            .into_iter()
            .find(same)
            .ok_or_else(|| EditError::NotFound { what: "failover domain", name: name.0.clone() })
    }

    fn domain_uses(&self, name: &DomainName) -> Vec<ElementId> {
        let uses =
            ["/cluster/rm/service", "/cluster/rm/vm", "/cluster/rm/resources/service", "/cluster/rm/resources/vm"];
        let services = uses.into_iter().flat_map(|path| self.document.select(path));
        let of_domain = |id: &ElementId| {
            self.document.attribute(*id, "domain").is_some_and(|domain| domain.eq_ignore_ascii_case(name.as_str()))
        };
        services.filter(of_domain).collect()
    }

    fn add_domain(&mut self, spec: &DomainSpec) -> Result<(), EditError> {
        if self.domain(&spec.name).is_ok() {
            return Err(EditError::Exists { what: "failover domain", name: spec.name.0.clone() });
        }
        let parent = self.ensure(&["rm", "failoverdomains"])?;
        let flags = [("ordered", spec.ordered), ("restricted", spec.restricted), ("nofailback", spec.nofailback)];
        let mut attributes = vec![("name".to_owned(), spec.name.0.clone())];
        attributes.extend(flags.map(|(name, on)| (name.to_owned(), u8::from(on).to_string())));
        let children = domain_nodes(spec);
        self.append(parent, &NewElement { name: "failoverdomain".to_owned(), attributes, children })?;
        Ok(())
    }

    fn set_domain(&mut self, name: &DomainName, spec: &DomainSpec) -> Result<(), EditError> {
        let domain = self.domain(name)?;
        if !spec.name.0.eq_ignore_ascii_case(name.as_str()) && self.domain(&spec.name).is_ok() {
            return Err(EditError::Exists { what: "failover domain", name: spec.name.0.clone() });
        }
        if spec.name != *name {
            check_value("name", spec.name.as_str())?;
            for service in self.domain_uses(name) {
                self.document.set_attribute(service, "domain", spec.name.as_str());
            }
            self.document.set_attribute(domain, "name", spec.name.as_str());
        }
        for (flag, on) in [("ordered", spec.ordered), ("restricted", spec.restricted), ("nofailback", spec.nofailback)]
        {
            let was_on = self.document.attribute(domain, flag).is_some_and(|text| atoi(text) != 0);
            if on != was_on {
                self.document.set_attribute(domain, flag, if on { "1" } else { "0" });
            }
        }
        let wanted = domain_nodes(spec);
        wanted.iter().try_for_each(check_element)?;
        self.document.reconcile(domain, &wanted, |name| name == "failoverdomainnode", key_by_name);
        Ok(())
    }

    fn remove_domain(&mut self, name: &DomainName) -> Result<(), EditError> {
        let domain = self.domain(name)?;
        self.refuse_if_used("failover domain", name.as_str(), &self.domain_uses(name))?;
        self.document.remove(domain);
        Ok(())
    }

    fn resource(&self, kind: &str, name: &str) -> Result<ElementId, EditError> {
        let found = self.document.select("/cluster/rm/resources").into_iter().find_map(|resources| {
            self.document
                .children_named(resources, kind)
                .find(|id| mapping::primary_value(kind, |key| self.document.attribute(*id, key)) == Some(name))
        });
        found.ok_or_else(|| EditError::NotFound { what: "resource", name: format!("{kind}:{name}") })
    }

    fn resource_uses(&self, kind: &str, name: &str) -> Vec<ElementId> {
        let rms = self.document.select("/cluster/rm");
        let all = rms.into_iter().flat_map(|rm| self.document.descendants(rm));
        all.filter(|id| self.document.name(*id) == kind && self.document.attribute(*id, "ref") == Some(name)).collect()
    }

    fn add_resource(&mut self, kind: &str, attributes: &Attributes, actions: &[Attributes]) -> Result<(), EditError> {
        let Some(name) = mapping::primary_value(kind, |key| attributes.get(key).map(String::as_str)) else {
            return Err(EditError::AttributeMissing {
                what: format!("resource of type {kind}"),
                attribute: primary_of(kind),
            });
        };
        if self.resource(kind, name).is_ok() {
            return Err(EditError::Exists { what: "resource", name: format!("{kind}:{name}") });
        }
        let parent = self.ensure(&["rm", "resources"])?;
        let attributes = ordered(attributes, primary_of(kind));
        let children = actions.iter().map(new_action).collect();
        self.append(parent, &NewElement { name: kind.to_owned(), attributes, children })?;
        Ok(())
    }

    fn set_resource(
        &mut self,
        kind: &str,
        name: &str,
        changes: &AttributeChanges,
        actions: Option<&[Attributes]>,
    ) -> Result<(), EditError> {
        let resource = self.resource(kind, name)?;
        let naming = mapping::kind(kind)
            .and_then(|row| row.primary_instead)
            .filter(|_| self.document.attribute(resource, primary_of(kind)).is_none())
            .unwrap_or(primary_of(kind));
        if let Some(new_name) = new_name(changes, naming, "resource", name)? {
            if self.resource(kind, new_name).is_ok() {
                return Err(EditError::Exists { what: "resource", name: format!("{kind}:{new_name}") });
            }
            for reference in self.resource_uses(kind, name) {
                self.document.set_attribute(reference, "ref", new_name);
            }
        }
        self.change(resource, changes)?;
        if let Some(actions) = actions {
            let wanted: Vec<NewElement> = actions.iter().map(new_action).collect();
            wanted.iter().try_for_each(check_element)?;
            self.document.reconcile(resource, &wanted, |name| name == "action", key_of_resource);
        }
        Ok(())
    }

    fn remove_resource(&mut self, kind: &str, name: &str) -> Result<(), EditError> {
        let resource = self.resource(kind, name)?;
        self.refuse_if_used("resource", &format!("{kind}:{name}"), &self.resource_uses(kind, name))?;
        self.document.remove(resource);
        Ok(())
    }

    fn service(&self, name: &ServiceName) -> Result<ElementId, EditError> {
        find_service(&self.document, name).ok_or_else(|| EditError::NotFound { what: "service", name: name.0.clone() })
    }

    fn dependents(&self, name: &ServiceName) -> Vec<ElementId> {
        let services =
            ["/cluster/rm/service", "/cluster/rm/vm"].into_iter().flat_map(|path| self.document.select(path));
        let depends = |id: &ElementId| {
            self.document.attribute(*id, "depend").is_some_and(|depend| ServiceName::parse(depend.trim()) == *name)
        };
        services.filter(depends).collect()
    }

    fn add_service(&mut self, spec: &ServiceSpec) -> Result<(), EditError> {
        let name = ServiceName::parse(spec.name.as_str());
        if self.service(&name).is_ok() {
            return Err(EditError::Exists { what: "service", name: name.0 });
        }
        let kind = name.0.split(':').next().unwrap_or("service").to_owned();
        if !matches!(kind.as_str(), "service" | "vm") {
            return Err(EditError::NameInvalid { name: name.0 });
        }
        let mut attributes = vec![("name".to_owned(), name.bare().to_owned())];
        attributes.extend(ordered(&spec.attributes, "").into_iter().filter(|(key, _)| key != "name"));
        let children = spec.resources.iter().map(ResourceSpec::to_element).collect();
        let parent = self.ensure(&["rm"])?;
        self.append(parent, &NewElement { name: kind, attributes, children })?;
        Ok(())
    }

    fn set_service(
        &mut self,
        name: &ServiceName,
        changes: &AttributeChanges,
        resources: Option<&[ResourceSpec]>,
    ) -> Result<(), EditError> {
        let name = ServiceName::parse(name.as_str());
        let service = self.service(&name)?;
        if let Some(bare) = new_name(changes, "name", "service", name.bare())? {
            let renamed = ServiceName(format!("{}:{bare}", self.document.name(service)));
            if self.service(&renamed).is_ok() {
                return Err(EditError::Exists { what: "service", name: renamed.0 });
            }
            for dependent in self.dependents(&name) {
                self.document.set_attribute(dependent, "depend", renamed.as_str());
            }
        }
        self.change(service, changes)?;
        if let Some(resources) = resources {
            let mut wanted: Vec<NewElement> = resources.iter().map(ResourceSpec::to_element).collect();
            wanted.extend(self.actions_of(service));
            wanted.iter().try_for_each(check_element)?;
            self.document.reconcile(service, &wanted, |_| true, key_of_resource);
        }
        Ok(())
    }

    /// `<action>` elements of the service itself, which a tree of resources does not speak of and which stay.
    fn actions_of(&self, service: ElementId) -> Vec<NewElement> {
        let actions = self.document.children_named(service, "action").map(|action| NewElement {
            name: "action".to_owned(),
            attributes: self.document.attributes(action).to_vec(),
            children: Vec::new(),
        });
        actions.collect()
    }

    fn remove_service(&mut self, name: &ServiceName) -> Result<(), EditError> {
        let name = ServiceName::parse(name.as_str());
        let service = self.service(&name)?;
        self.refuse_if_used("service", name.as_str(), &self.dependents(&name))?;
        self.document.remove(service);
        Ok(())
    }
}

fn new_action(action: &Attributes) -> NewElement {
    NewElement { name: "action".to_owned(), attributes: ordered(action, "name"), children: Vec::new() }
}

fn new_altname(name: &str) -> NewElement {
    let attributes = vec![("name".to_owned(), name.to_owned())];
    NewElement { name: "altname".to_owned(), attributes, children: Vec::new() }
}

fn new_method(method: &MethodSpec) -> NewElement {
    NewElement {
        name: "method".to_owned(),
        attributes: vec![("name".to_owned(), method.name.clone())],
        children: method.devices.iter().map(new_instance).collect(),
    }
}

fn new_instance(instance: &InstanceSpec) -> NewElement {
    let mut attributes = vec![("name".to_owned(), instance.device.clone())];
    attributes.extend(ordered(&instance.attributes, "").into_iter().filter(|(key, _)| key != "name"));
    NewElement { name: "device".to_owned(), attributes, children: Vec::new() }
}

fn domain_nodes(spec: &DomainSpec) -> Vec<NewElement> {
    let nodes = spec.nodes.iter().map(|node| {
        let mut attributes = vec![("name".to_owned(), node.name.0.clone())];
        attributes.extend(node.priority.map(|priority| ("priority".to_owned(), priority.to_string())));
        NewElement { name: "failoverdomainnode".to_owned(), attributes, children: Vec::new() }
    });
    nodes.collect()
}

fn key_by_name(_: &str, attributes: &[(String, String)]) -> String {
    attributes.iter().find(|(key, _)| key == "name").map(|(_, value)| value.clone()).unwrap_or_default()
}

/// Tells resources of one type apart: reference, naming attribute, or for actions name and depth.
fn key_of_resource(kind: &str, attributes: &[(String, String)]) -> String {
    let value = |name: &str| attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    if kind == "action" {
        return format!("{} {}", value("name").unwrap_or_default(), value("depth").unwrap_or_default());
    }
    match value("ref") {
        Some(reference) => format!("ref {reference}"),
        None => format!("name {}", mapping::primary_value(kind, value).unwrap_or_default()),
    }
}

/// The name that changes give a thing, if it is another than it has.
fn new_name<'c>(
    changes: &'c AttributeChanges,
    attribute: &'static str,
    what: &'static str,
    old: &str,
) -> Result<Option<&'c str>, EditError> {
    match changes.get(attribute) {
        None => Ok(None),
        Some(Some(name)) if !name.is_empty() => Ok(Some(name.as_str()).filter(|name| *name != old)),
        Some(_) => Err(EditError::AttributeMissing { what: what.to_owned(), attribute }),
    }
}

fn check_value(name: &str, value: &str) -> Result<(), EditError> {
    if value.chars().all(xml::is_xml_char) { Ok(()) } else { Err(EditError::ValueInvalid { name: name.to_owned() }) }
}

fn check_element(element: &NewElement) -> Result<(), EditError> {
    if !xml::is_name(&element.name) {
        return Err(EditError::NameInvalid { name: element.name.clone() });
    }
    for (name, value) in &element.attributes {
        if !xml::is_name(name) {
            return Err(EditError::NameInvalid { name: name.clone() });
        }
        check_value(name, value)?;
    }
    element.children.iter().try_for_each(check_element)
}

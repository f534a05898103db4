//! Deleting a thing that is in use: the edits that take it out of everything that uses it, and then away, as one change.

use std::collections::BTreeMap;

use shared::conf::edit::{Edit, InstanceSpec, MethodSpec, ResourceSpec, ServiceSpec};
use shared::ids::DomainName;

use super::AppError;
use super::conf::Current;

fn conf(current: &Current) -> Result<&shared::conf::model::Conf, AppError> {
    let unreadable = || AppError::Conflict("the configuration cannot be read; correct it as text first".into());
    current.loaded.conf.as_ref().ok_or_else(unreadable)
}

/// Services lose the failover domain and may then run on every node.
pub fn domain(current: &Current, name: &DomainName) -> Result<Vec<Edit>, AppError> {
    let uses = |domain: &Option<DomainName>| {
        domain.as_ref().is_some_and(|used| used.as_str().eq_ignore_ascii_case(name.as_str()))
    };
    let users = conf(current)?.services.iter().filter(|service| uses(&service.domain));
    let mut edits: Vec<Edit> = users
        .map(|service| Edit::SetService {
            name: service.name.clone(),
            attributes: BTreeMap::from([("domain".to_owned(), None)]),
            resources: None,
        })
        .collect();
    edits.push(Edit::RemoveDomain { name: name.clone() });
    Ok(edits)
}

/// Fence methods lose the device; a method that is then empty goes, too.
pub fn fence_device(current: &Current, name: &str) -> Result<Vec<Edit>, AppError> {
    let document = &current.loaded.document;
    let keep = |device: &InstanceSpec| device.device != name;
    let mut edits = Vec::new();
    for node in &conf(current)?.nodes {
        let before = MethodSpec::read(document, &node.name).unwrap_or_default();
        let mut methods = before.clone();
        for method in &mut methods {
            method.devices.retain(keep);
        }
        methods.retain(|method| !method.devices.is_empty());
        if methods != before {
            edits.push(Edit::SetFenceMethods { node: node.name.clone(), methods });
        }
        let before = InstanceSpec::read_unfence(document, &node.name).unwrap_or_default();
        let devices: Vec<_> = before.iter().filter(|device| keep(device)).cloned().collect();
        if devices != before {
            edits.push(Edit::SetUnfence { node: node.name.clone(), devices });
        }
    }
    edits.push(Edit::RemoveFenceDevice { name: name.to_owned() });
    Ok(edits)
}

/// The tree without the references to a resource; what stood below one takes its place.
fn without(tree: Vec<ResourceSpec>, kind: &str, name: &str) -> Vec<ResourceSpec> {
    let mut kept = Vec::new();
    for mut spec in tree {
        spec.children = without(std::mem::take(&mut spec.children), kind, name);
        if spec.kind == kind && spec.reference.as_deref() == Some(name) {
            kept.append(&mut spec.children);
        } else {
            kept.push(spec);
        }
    }
    kept
}

/// Services lose the shared resource; what was nested in it moves up.
pub fn resource(current: &Current, kind: &str, name: &str) -> Result<Vec<Edit>, AppError> {
    let mut edits = Vec::new();
    for service in &conf(current)?.services {
        let Some(spec) = ServiceSpec::read(&current.loaded.document, &service.name) else { continue };
        let tree = without(spec.resources.clone(), kind, name);
        if tree != spec.resources {
            edits.push(Edit::SetService {
                name: service.name.clone(),
                attributes: BTreeMap::new(),
                resources: Some(tree),
            });
        }
    }
    edits.push(Edit::RemoveResource { kind: kind.to_owned(), name: name.to_owned() });
    Ok(edits)
}

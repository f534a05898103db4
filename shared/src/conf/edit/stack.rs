//! Edits of what corosync runs on: single links, the quorum device, logging.

use super::{AttributeChanges, EditError, Editor, HeuristicSpec, check_element, key_by_name};
use crate::conf::document::ElementId;
use crate::conf::splice::NewElement;

impl Editor {
    /// What is said of one link; an element that says nothing any more goes.
    pub(super) fn set_link(&mut self, number: u32, changes: &AttributeChanges) -> Result<(), EditError> {
        let text = number.to_string();
        let of_link =
            |editor: &Self, id: &ElementId| editor.document.attribute(*id, "ringnumber").map_or("0", str::trim) == text;
        let found = self.document.select("/cluster/totem/interface").into_iter().find(|id| of_link(self, id));
        self.set_element(&["totem"], "interface", &[("ringnumber", &text)], found, changes)
    }

    /// Also takes `two_node` and `expected_votes` away: with a device, corosync counts by itself.
    pub(super) fn set_qdevice(
        &mut self,
        changes: &AttributeChanges,
        heuristics: Option<&[HeuristicSpec]>,
    ) -> Result<(), EditError> {
        let device = self.ensure(&["qdevice"])?;
        self.change(device, changes)?;
        if let Some(heuristics) = heuristics {
            let wanted: Vec<NewElement> = heuristics.iter().map(new_heuristic).collect();
            wanted.iter().try_for_each(check_element)?;
            self.document.reconcile(device, &wanted, |name| name == "heuristic", key_by_name);
        }
        if let Some(cman) = self.document.select("/cluster/cman").first().copied() {
            self.document.remove_attribute(cman, "two_node");
            self.document.remove_attribute(cman, "expected_votes");
            self.remove_if_bare(cman);
        }
        Ok(())
    }

    pub(super) fn remove_qdevice(&mut self) -> Result<(), EditError> {
        let device = self.document.select("/cluster/qdevice").first().copied();
        let device =
            device.ok_or_else(|| EditError::NotFound { what: "quorum device", name: "in this cluster".to_owned() })?;
        self.document.remove(device);
        let nodes = self.document.select("/cluster/clusternodes/clusternode").len();
        self.adjust_two_node(nodes, nodes)
    }

    pub(super) fn set_logging(
        &mut self,
        daemon: Option<&str>,
        subsys: Option<&str>,
        changes: &AttributeChanges,
    ) -> Result<(), EditError> {
        let Some(daemon) = daemon else { return self.set_section("logging", changes) };
        let of_daemon = |editor: &Self, id: &ElementId| {
            editor.document.attribute(*id, "name").map(str::trim) == Some(daemon)
                && editor.document.attribute(*id, "subsys").map(str::trim) == subsys
        };
        let elements = self.document.select("/cluster/logging/logging_daemon");
        let found = elements.into_iter().find(|id| of_daemon(self, id));
        let mut naming = vec![("name", daemon)];
        naming.extend(subsys.map(|subsys| ("subsys", subsys)));
        self.set_element(&["logging"], "logging_daemon", &naming, found, changes)
    }

    /// Changes an element that is told from its neighbours by some attributes: it is made when something is to be said, and
    /// goes when nothing is.
    fn set_element(
        &mut self,
        above: &[&str],
        name: &str,
        naming: &[(&str, &str)],
        found: Option<ElementId>,
        changes: &AttributeChanges,
    ) -> Result<(), EditError> {
        let says_something = changes.values().flatten().any(|value| !value.is_empty());
        let element = match found {
            Some(element) => element,
            None if !says_something => return Ok(()),
            None => {
                let parent = self.ensure(above)?;
                let attributes = naming.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                self.append(parent, &NewElement { name: name.to_owned(), attributes, children: Vec::new() })?
            }
        };
        self.change(element, changes)?;
        let bare =
            self.document.attributes(element).iter().all(|(name, _)| naming.iter().any(|(known, _)| known == name));
        if bare && self.document.children(element).next().is_none() {
            self.document.remove(element);
        }
        Ok(())
    }

    pub(super) fn remove_if_bare(&mut self, element: ElementId) {
        if self.document.attributes(element).is_empty() && self.document.children(element).next().is_none() {
            self.document.remove(element);
        }
    }
}

fn new_heuristic(spec: &HeuristicSpec) -> NewElement {
    let attributes = vec![("name".to_owned(), spec.name.clone()), ("program".to_owned(), spec.program.clone())];
    NewElement { name: "heuristic".to_owned(), attributes, children: Vec::new() }
}

//! Changes of a document that leave every other byte alone: one attribute, one element, the order of elements.
//!
//! Used by `edit` only, which knows what the changes mean. A new element gets a line of its own, indented like its
//! neighbours, with the line end of the file.

use super::document::{Child, Document, Element, ElementId};
use super::xml;

/// An element that is to be: its attributes in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NewElement {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<NewElement>,
}

impl Document {
    /// Sets an attribute; the rest of the start tag stays as it is. A value that is there already changes nothing.
    pub(super) fn set_attribute(&mut self, id: ElementId, name: &str, value: &str) {
        if self.attribute(id, name) == Some(value) {
            return;
        }
        let span = self.span(id, name);
        let element = self.element_mut(id);
        if let Some((index, span)) = span {
            element.start.replace_range(span.value, &xml::escape(value, span.quote));
            value.clone_into(&mut element.attributes[index].1);
            return;
        }
        let Ok((name_range, spans)) = xml::scan_tag(&element.start) else { return };
        // Another attribute on a line of its own wants this one on a line of its own, too.
        let (at, space) = match spans.last() {
            Some(last) => (last.whole.end, element.start[last.whole.start..last.name.start].to_owned()),
            None => (name_range.end, " ".to_owned()),
        };
        element.start.insert_str(at, &format!("{space}{name}=\"{}\"", xml::escape(value, '"')));
        element.attributes.push((name.to_owned(), value.to_owned()));
    }

    /// Removes an attribute and the white space before it.
    pub(super) fn remove_attribute(&mut self, id: ElementId, name: &str) {
        if let Some((index, span)) = self.span(id, name) {
            let element = self.element_mut(id);
            element.start.replace_range(span.whole, "");
            element.attributes.remove(index);
        }
    }

    /// Puts a new element behind everything in `parent`.
    pub(super) fn append(&mut self, parent: ElementId, new: &NewElement) -> ElementId {
        let indent = self.child_indent(parent);
        let own_indent = self.indent(parent).unwrap_or_default();
        let line_end = self.line_end();
        self.open(parent);
        let id = self.create(new, parent, &indent);
        let children = &mut self.element_mut(parent).children;
        let last = children.iter().rposition(|child| !matches!(child, Child::Text(text) if text.trim().is_empty()));
        let at = last.map_or(0, |index| index + 1);
        // White space up to the next line end belongs to what stands before it.
        let rest: String = children
            .get(at)
            .map(|child| match child {
                Child::Text(text) => text.clone(),
                _ => String::new(),
            })
            .unwrap_or_default();
        if !rest.contains('\n') {
            children.truncate(at);
            children.push(Child::Text(format!("{line_end}{own_indent}")));
        }
        children.insert(at, Child::Element(id));
        children.insert(at, Child::Text(format!("{line_end}{indent}")));
        id
    }

    /// Removes an element, and the line that it leaves empty.
    pub(super) fn remove(&mut self, id: ElementId) {
        let Some(parent) = self.parent(id) else { return };
        let children = &mut self.element_mut(parent).children;
        let Some(at) = children.iter().position(|child| *child == Child::Element(id)) else { return };
        children.remove(at);
        let line_ends_here = match children.get(at) {
            Some(Child::Text(after)) => after.trim_start_matches([' ', '\t', '\r']).starts_with('\n'),
            Some(_) => false,
            None => true,
        };
        if let Some(Child::Text(before)) = at.checked_sub(1).and_then(|before| children.get_mut(before))
            && line_ends_here
            && let Some(line_start) = before.rfind('\n')
            && before[line_start..].trim().is_empty()
        {
            let keep = before[..line_start].strip_suffix('\r').unwrap_or(&before[..line_start]).len();
            before.truncate(keep);
        }
    }

    /// Makes the children of `parent` that `ours` picks be the wanted ones, in this order: what is there already is kept
    /// with its bytes and changed where it differs, the rest removed or added. Children of children likewise.
    pub(super) fn reconcile(
        &mut self,
        parent: ElementId,
        wanted: &[NewElement],
        ours: fn(&str) -> bool,
        key: fn(&str, &[(String, String)]) -> String,
    ) {
        let mut present: Vec<ElementId> = self.children(parent).filter(|child| ours(self.name(*child))).collect();
        let mut order = Vec::new();
        for new in wanted {
            let wanted_key = key(&new.name, &new.attributes);
            let same_key =
                |id: &ElementId| self.name(*id) == new.name && key(self.name(*id), self.attributes(*id)) == wanted_key;
            // Of several with one key, the one that needs no change is taken first.
            let exact = present.iter().position(|id| same_key(id) && self.has_attributes(*id, &new.attributes));
            let found = exact.or_else(|| present.iter().position(same_key));
            order.push(found.map(|index| present.remove(index)));
        }
        for gone in present {
            self.remove(gone);
        }
        let mut ids = Vec::new();
        for (new, found) in wanted.iter().zip(order) {
            match found {
                Some(id) => {
                    self.set_attributes(id, &new.attributes);
                    self.reconcile(id, &new.children, ours, key);
                    ids.push(id);
                }
                None => ids.push(self.append(parent, new)),
            }
        }
        self.reorder(parent, &ids);
    }

    fn has_attributes(&self, id: ElementId, wanted: &[(String, String)]) -> bool {
        let present = self.attributes(id);
        present.len() == wanted.len() && wanted.iter().all(|attribute| present.contains(attribute))
    }

    /// Exactly these attributes; those that are there keep their place, and empty ones, which say nothing, stay.
    fn set_attributes(&mut self, id: ElementId, wanted: &[(String, String)]) {
        let said = self.attributes(id).iter().filter(|(_, value)| !value.is_empty());
        let present: Vec<String> = said.map(|(name, _)| name.clone()).collect();
        for name in present.iter().filter(|name| !wanted.iter().any(|(wanted, _)| wanted == *name)) {
            self.remove_attribute(id, name);
        }
        for (name, value) in wanted {
            self.set_attribute(id, name, value);
        }
    }

    /// Puts the elements into this order, in the places that they have now.
    fn reorder(&mut self, parent: ElementId, order: &[ElementId]) {
        let mut next = order.iter();
        for child in &mut self.element_mut(parent).children {
            if matches!(child, Child::Element(id) if order.contains(id))
                && let Some(id) = next.next()
            {
                *child = Child::Element(*id);
            }
        }
    }

    fn create(&mut self, new: &NewElement, parent: ElementId, indent: &str) -> ElementId {
        let attributes: Vec<String> =
            new.attributes.iter().map(|(name, value)| format!(" {name}=\"{}\"", xml::escape(value, '"'))).collect();
        let empty = new.children.is_empty();
        let id = ElementId(self.elements.len());
        self.elements.push(Element {
            start: format!("<{}{}{}>", new.name, attributes.concat(), if empty { "/" } else { "" }),
            name: new.name.clone(),
            attributes: new.attributes.clone(),
            children: Vec::new(),
            end: if empty { String::new() } else { format!("</{}>", new.name) },
            parent: Some(parent),
            line: 0,
            column: 0,
            ordinal: None,
        });
        if !empty {
            let line_end = self.line_end();
            let inner = format!("{indent}{}", self.indent_unit());
            let mut children = Vec::new();
            for child in &new.children {
                children.push(Child::Text(format!("{line_end}{inner}")));
                children.push(Child::Element(self.create(child, id, &inner)));
            }
            children.push(Child::Text(format!("{line_end}{indent}")));
            self.element_mut(id).children = children;
        }
        id
    }

    /// Makes `<name/>` ready for children.
    fn open(&mut self, id: ElementId) {
        let element = self.element_mut(id);
        if let Some(start) = element.start.strip_suffix("/>") {
            element.start = format!("{}>", start.trim_end());
            element.end = format!("</{}>", element.name);
        }
    }

    /// The white space before an element that begins a line.
    fn indent(&self, id: ElementId) -> Option<String> {
        let siblings = match self.parent(id) {
            Some(parent) => &self.element(parent).children,
            None => &self.top,
        };
        let at = siblings.iter().position(|child| *child == Child::Element(id))?;
        let Some(Child::Text(before)) = at.checked_sub(1).and_then(|before| siblings.get(before)) else { return None };
        let line = &before[before.rfind('\n')? + 1..];
        line.trim().is_empty().then(|| line.to_owned())
    }

    fn child_indent(&self, parent: ElementId) -> String {
        let neighbour = self.children(parent).filter_map(|child| self.indent(child)).last();
        neighbour.unwrap_or_else(|| format!("{}{}", self.indent(parent).unwrap_or_default(), self.indent_unit()))
    }

    /// One step of indentation, as the children of the top element show it.
    fn indent_unit(&self) -> String {
        let shown = self.root().and_then(|root| self.children(root).find_map(|child| self.indent(child)));
        shown.filter(|indent| !indent.is_empty()).unwrap_or_else(|| "  ".to_owned())
    }

    fn line_end(&self) -> &'static str {
        let windows = |child: &Child| matches!(child, Child::Text(text) if text.contains("\r\n"));
        let found = self.top.iter().any(windows)
            || self.root().is_some_and(|root| self.element(root).children.iter().any(windows));
        if found { "\r\n" } else { "\n" }
    }
}

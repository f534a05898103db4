//! The lossless tree of a cluster.conf: every byte of the file is kept, so that `print` gives back what was parsed.
//!
//! Everything that reads or edits a configuration starts here. A text that is not well-formed gives a document as
//! well, holding the text as it is, with findings that say where and why; such a document is never edited.
//! Meaning (nodes, services) is the duty of `view`.

use std::collections::BTreeMap;

use super::finding::{Finding, Place};
use super::parse;
use super::xml::{self, AttributeSpan};

/// Attributes that tell siblings of the same name apart in a path, in order of preference.
const NAMING_ATTRIBUTES: [&str; 7] = ["name", "ref", "address", "unit", "SID", "InstanceName", "instance"];

/// Names an element of one document. Valid until the document is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementId(pub(super) usize);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Child {
    Element(ElementId),
    /// White space and other character data, references included.
    Text(String),
    /// Comment, CDATA, processing instruction, declaration, document type; or the rest of a text that is not well-formed.
    Verbatim(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// The start tag as written, from `<` to `>`.
    pub(super) start: String,
    pub(super) name: String,
    /// Names and values as they are meant, in document order.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<Child>,
    /// The end tag as written; empty for `<name/>`.
    pub(super) end: String,
    pub(super) parent: Option<ElementId>,
    pub(super) line: u32,
    pub(super) column: u32,
    /// Which one it is, from 1, of several siblings that a path would else not tell apart.
    pub(super) ordinal: Option<usize>,
}

/// A parsed cluster.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub(super) elements: Vec<Element>,
    pub(super) top: Vec<Child>,
    pub(super) byte_order_mark: bool,
    pub(super) well_formed: bool,
}

impl Document {
    /// Reads a text. Findings of this step are all errors: with any of them the document cannot be used for more
    /// than printing it.
    pub fn parse(text: &str) -> (Self, Vec<Finding>) {
        parse::parse(text)
    }

    /// The text, byte for byte as it was parsed but for the edits made.
    pub fn print(&self) -> String {
        let mut out = String::new();
        if self.byte_order_mark {
            out.push('\u{feff}');
        }
        self.print_children(&self.top, &mut out);
        out
    }

    fn print_children(&self, children: &[Child], out: &mut String) {
        for child in children {
            match child {
                Child::Text(text) | Child::Verbatim(text) => out.push_str(text),
                // Depth is bounded by the parser, so this cannot exhaust the stack.
                Child::Element(id) => {
                    let element = self.element(*id);
                    out.push_str(&element.start);
                    self.print_children(&element.children, out);
                    out.push_str(&element.end);
                }
            }
        }
    }

    /// Whether the text was well-formed XML within the limits.
    pub fn is_well_formed(&self) -> bool {
        self.well_formed
    }

    /// The one element at the top.
    pub fn root(&self) -> Option<ElementId> {
        self.top.iter().find_map(|child| match child {
            Child::Element(id) => Some(*id),
            _ => None,
        })
    }

    pub(super) fn element(&self, id: ElementId) -> &Element {
        &self.elements[id.0]
    }

    pub(super) fn element_mut(&mut self, id: ElementId) -> &mut Element {
        &mut self.elements[id.0]
    }

    /// The element's name as written, prefix included.
    pub fn name(&self, id: ElementId) -> &str {
        &self.element(id).name
    }

    pub fn parent(&self, id: ElementId) -> Option<ElementId> {
        self.element(id).parent
    }

    /// The element's children that are elements, in document order.
    pub fn children(&self, id: ElementId) -> impl Iterator<Item = ElementId> + '_ {
        self.element(id).children.iter().filter_map(|child| match child {
            Child::Element(id) => Some(*id),
            _ => None,
        })
    }

    /// The children with this name, in document order.
    pub fn children_named<'a>(&'a self, id: ElementId, name: &'a str) -> impl Iterator<Item = ElementId> + 'a {
        self.children(id).filter(move |child| self.name(*child) == name)
    }

    /// The first child with this name.
    pub fn child(&self, id: ElementId, name: &str) -> Option<ElementId> {
        self.children_named(id, name).next()
    }

    /// All elements below this one in document order, without the element itself.
    pub fn descendants(&self, id: ElementId) -> Vec<ElementId> {
        let mut found = Vec::new();
        let mut waiting: Vec<ElementId> = self.children(id).collect();
        waiting.reverse();
        while let Some(next) = waiting.pop() {
            found.push(next);
            let from = waiting.len();
            waiting.extend(self.children(next));
            waiting[from..].reverse();
        }
        found
    }

    /// The character data directly in an element, references resolved; what cannot be resolved stays as written.
    pub fn text(&self, id: ElementId) -> String {
        let mut text = String::new();
        for child in &self.elements[id.0].children {
            match child {
                Child::Element(_) => {}
                Child::Text(raw) => {
                    // Line by line, because line breaks count as blanks where attributes are resolved.
                    for line in raw.split_inclusive('\n') {
                        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
                        text.push_str(&xml::unescape(line).unwrap_or_else(|_| line.to_owned()));
                        text.push_str(end);
                    }
                }
                Child::Verbatim(raw) => {
                    let cdata = raw.strip_prefix("<![CDATA[").and_then(|raw| raw.strip_suffix("]]>"));
                    text.push_str(cdata.unwrap_or_default());
                }
            }
        }
        text
    }

    /// All attributes in document order, references resolved.
    pub fn attributes(&self, id: ElementId) -> &[(String, String)] {
        &self.element(id).attributes
    }

    /// The value of an attribute.
    pub fn attribute(&self, id: ElementId, name: &str) -> Option<&str> {
        self.element(id).attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The elements at a path such as `/cluster/rm/service[@name='web']` or `/cluster/clusternodes/clusternode`,
    /// in document order. A path as `Place` carries it leads back to its element.
    pub fn select(&self, path: &str) -> Vec<ElementId> {
        let steps = split_path(path);
        let Some((first, rest)) = steps.split_first() else { return Vec::new() };
        let mut found: Vec<ElementId> = self.root().filter(|root| self.matches(*root, first)).into_iter().collect();
        for step in rest {
            found = found
                .into_iter()
                .flat_map(|parent| {
                    let matching: Vec<_> = self.children(parent).filter(|child| self.matches(*child, step)).collect();
                    match step.position {
                        Some(position) => matching.into_iter().skip(position - 1).take(1).collect(),
                        None => matching,
                    }
                })
                .collect();
        }
        found
    }

    fn matches(&self, id: ElementId, step: &Step<'_>) -> bool {
        self.name(id) == step.name && step.condition.is_none_or(|(key, value)| self.attribute(id, key) == Some(value))
    }

    /// Where the element starts, and the path that leads to it.
    pub fn place(&self, id: ElementId) -> Place {
        let element = self.element(id);
        Place { line: element.line, column: element.column, path: self.path(id) }
    }

    /// The place of one attribute: its element's line and column where the start tag begins, with `/@name` behind
    /// the path.
    pub fn attribute_place(&self, id: ElementId, name: &str) -> Place {
        let mut place = self.place(id);
        let element = self.element(id);
        if let Some((_, span)) = self.span(id, name) {
            (place.line, place.column) = advance((place.line, place.column), &element.start[..span.name.start]);
        }
        place.path = format!("{}/@{name}", place.path);
        place
    }

    pub(super) fn span(&self, id: ElementId, name: &str) -> Option<(usize, AttributeSpan)> {
        let start = &self.element(id).start;
        let (_, spans) = xml::scan_tag(start).ok()?;
        spans.into_iter().enumerate().find(|(_, span)| &start[span.name.clone()] == name)
    }

    fn path(&self, id: ElementId) -> String {
        let mut steps = Vec::new();
        let mut at = Some(id);
        while let Some(id) = at {
            steps.push(self.step(id));
            at = self.parent(id);
        }
        steps.reverse();
        format!("/{}", steps.join("/"))
    }

    fn step(&self, id: ElementId) -> String {
        let name = self.name(id);
        // There is one root; its name says enough.
        if self.parent(id).is_none() {
            return name.to_owned();
        }
        let ordinal = self.element(id).ordinal.map(|ordinal| format!("[{ordinal}]")).unwrap_or_default();
        match self.naming_attribute(id) {
            Some((key, value)) => format!("{name}[@{key}={}]{ordinal}", quoted(value)),
            None => format!("{name}{ordinal}"),
        }
    }

    fn naming_attribute(&self, id: ElementId) -> Option<(&'static str, &str)> {
        let naming = NAMING_ATTRIBUTES.iter().find_map(|key| self.attribute(id, key).map(|value| (*key, value)));
        naming.filter(|(_, value)| !value.is_empty())
    }

    /// Gives ordinals to the elements that need one. Done once, so that a path costs no look at the siblings.
    pub(super) fn number_siblings(&mut self) {
        type Group<'a> = (Option<ElementId>, &'a str, Option<(&'a str, &'a str)>);
        // An element counts among all of its name, and among those with the same naming attribute if it has one.
        let mut counts: BTreeMap<Group<'_>, usize> = BTreeMap::new();
        let mut numbers: Vec<(Group<'_>, usize)> = Vec::new();
        for index in 0..self.elements.len() {
            let id = ElementId(index);
            let group = (self.parent(id), self.name(id), self.naming_attribute(id));
            let by_name = (group.0, group.1, None);
            for counted in [Some(by_name), Some(group).filter(|group| *group != by_name)].into_iter().flatten() {
                *counts.entry(counted).or_default() += 1;
            }
            numbers.push((group, counts[&group]));
        }
        let ordinals: Vec<Option<usize>> =
            numbers.iter().map(|(group, number)| Some(*number).filter(|_| counts[group] > 1)).collect();
        for (element, ordinal) in self.elements.iter_mut().zip(ordinals) {
            element.ordinal = ordinal;
        }
    }
}

fn quoted(value: &str) -> String {
    if value.contains('\'') { format!("\"{value}\"") } else { format!("'{value}'") }
}

/// Line and column after `text`, both counted from 1, columns in characters.
pub(super) fn advance((line, column): (u32, u32), text: &str) -> (u32, u32) {
    let (mut line, mut column) = (line, column);
    for c in text.chars() {
        if c == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    (line, column)
}

struct Step<'a> {
    name: &'a str,
    condition: Option<(&'a str, &'a str)>,
    position: Option<usize>,
}

fn split_path(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = path.trim_start_matches('/');
    while !rest.is_empty() {
        let name_end = rest.find(['/', '[']).unwrap_or(rest.len());
        let mut step = Step { name: &rest[..name_end], condition: None, position: None };
        rest = &rest[name_end..];
        while let Some(inner) = rest.strip_prefix('[') {
            rest = if let Some(condition) = inner.strip_prefix('@') {
                let Some((key, value)) = condition.split_once('=') else { return Vec::new() };
                let Some(quote) = value.chars().next() else { return Vec::new() };
                let Some(length) = value[1..].find(quote) else { return Vec::new() };
                step.condition = Some((key, &value[1..=length]));
                value[length + 2..].strip_prefix(']').unwrap_or_default()
            } else {
                let Some((position, after)) = inner.split_once(']') else { return Vec::new() };
                step.position = position.parse().ok().filter(|position| *position > 0);
                after
            };
        }
        steps.push(step);
        rest = rest.trim_start_matches('/');
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "<cluster><rm>\n  <service name='a/b'/>\n  <service name='x'><ip/><ip/></service>\n</rm></cluster>";

    #[test]
    fn a_path_leads_back_to_its_element() {
        let (document, findings) = Document::parse(TEXT);
        assert!(findings.is_empty(), "{findings:?}");
        let mut paths = Vec::new();
        for id in document.descendants(document.root().unwrap()) {
            let place = document.place(id);
            assert_eq!(document.select(&place.path), [id], "{}", place.path);
            paths.push(format!("{}:{} {}", place.line, place.column, place.path));
        }
        assert_eq!(
            paths,
            [
                "1:10 /cluster/rm",
                "2:3 /cluster/rm/service[@name='a/b']",
                "3:3 /cluster/rm/service[@name='x']",
                "3:21 /cluster/rm/service[@name='x']/ip[1]",
                "3:26 /cluster/rm/service[@name='x']/ip[2]",
            ]
        );
    }

    #[test]
    fn the_place_of_an_attribute_is_its_own_line_and_column() {
        let (document, _) = Document::parse("<cluster\n   name='a'\n version='1'/>");
        let root = document.root().unwrap();
        let place = document.attribute_place(root, "version");
        assert_eq!((place.line, place.column, place.path.as_str()), (3, 2, "/cluster/@version"));
    }
}

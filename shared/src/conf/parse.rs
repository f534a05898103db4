//! Text → lossless tree, over quick-xml's events. Called by `Document::parse` only.
//!
//! quick-xml says where one thing ends and the next begins; the bytes of each thing are taken from the text itself, so
//! nothing can be lost. What quick-xml does not check (attributes, references, one root, control characters) is
//! checked here. Document types with an internal subset are refused: entities have no use in a cluster.conf, and
//! expanding them is how a small file becomes a large one.

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError};
use quick_xml::events::Event;

use super::document::{Child, Document, Element, ElementId, advance};
use super::finding::{Finding, Place, Severity};
use super::xml;

/// Largest cluster.conf. 2,000 services with their resources are about 600 KiB.
pub const BYTES_MAX: usize = 1 << 20;
/// Deepest nesting. A real resource tree is seldom deeper than 8.
pub const DEPTH_MAX: usize = 64;
/// Most elements.
pub const ELEMENTS_MAX: usize = 50_000;

/// Nobody reads further than this many faults of the XML itself.
const FINDINGS_MAX: usize = 50;

pub(super) fn parse(text: &str) -> (Document, Vec<Finding>) {
    let (byte_order_mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let document = Document { elements: Vec::new(), top: Vec::new(), byte_order_mark, well_formed: false };
    let mut parser = Parser {
        body,
        document,
        open: Vec::new(),
        at: 0,
        line: 1,
        column: 1,
        findings: Vec::new(),
        doctype_seen: false,
    };
    if body.len() > BYTES_MAX {
        parser.report(
            "too-large",
            (1, 1),
            format!("the file has {} bytes; at most {BYTES_MAX} are accepted", body.len()),
            "a cluster.conf is a few kilobytes; check that this is the right file",
        );
        parser.keep_rest();
    } else {
        parser.check_characters();
        parser.run();
    }
    parser.document.well_formed = parser.findings.is_empty();
    parser.document.number_siblings();
    (parser.document, parser.findings)
}

struct Parser<'t> {
    body: &'t str,
    document: Document,
    /// Elements whose end tag has not come yet, outermost first.
    open: Vec<ElementId>,
    /// Bytes of the body that are in the document already, and the line and column of the next.
    at: usize,
    line: u32,
    column: u32,
    findings: Vec<Finding>,
    doctype_seen: bool,
}

/// Why reading cannot go on: the reason is among the findings.
struct Stopped;

impl<'t> Parser<'t> {
    fn run(&mut self) {
        let mut reader = Reader::from_str(self.body);
        reader.config_mut().check_comments = true;
        loop {
            let event = reader.read_event();
            let end = usize::try_from(reader.buffer_position()).unwrap_or(self.body.len()).min(self.body.len());
            let outcome = match event {
                Ok(Event::Eof) => {
                    self.finish();
                    return;
                }
                Ok(event) => self.take(&event, end),
                Err(error) => {
                    let offset = usize::try_from(reader.error_position()).unwrap_or(self.at);
                    self.report_error(&error, offset);
                    Err(Stopped)
                }
            };
            if outcome.is_err() {
                self.keep_rest();
                return;
            }
        }
    }

    /// Puts the next thing, which ends before byte `end`, into the tree.
    fn take(&mut self, event: &Event<'_>, end: usize) -> Result<(), Stopped> {
        let raw = &self.body[self.at..end];
        match event {
            Event::Start(_) => self.take_element(raw, false)?,
            Event::Empty(_) => self.take_element(raw, true)?,
            Event::End(_) => {
                if let Some(id) = self.open.pop() {
                    self.document.element_mut(id).end = raw.to_owned();
                }
            }
            Event::Text(_) => self.take_text(raw),
            Event::GeneralRef(_) => self.take_reference(raw),
            Event::CData(_) => {
                self.refuse_outside_root("a CDATA section");
                self.push(Child::Verbatim(raw.to_owned()));
            }
            Event::Decl(_) => self.take_declaration(raw),
            Event::DocType(_) => self.take_document_type(raw)?,
            Event::PI(instruction) => {
                if instruction.target().eq_ignore_ascii_case("xml") {
                    self.malformed(
                        "an XML declaration stands after the start of the file",
                        "move it to the first byte",
                    );
                }
                if !xml::is_name(instruction.target()) {
                    self.malformed("a processing instruction has no valid name", "remove it");
                }
                self.push(Child::Verbatim(raw.to_owned()));
            }
            Event::Comment(_) | Event::Eof => self.push(Child::Verbatim(raw.to_owned())),
        }
        (self.line, self.column) = advance((self.line, self.column), raw);
        self.at = end;
        if self.findings.len() >= FINDINGS_MAX { Err(Stopped) } else { Ok(()) }
    }

    fn take_element(&mut self, raw: &str, empty: bool) -> Result<(), Stopped> {
        if self.open.is_empty() && self.document.root().is_some() {
            self.malformed("a second element stands at the top", "a cluster.conf has one <cluster> around everything");
        }
        if self.open.len() >= DEPTH_MAX {
            self.limit(format!("elements are nested deeper than {DEPTH_MAX}"));
            return Err(Stopped);
        }
        if self.document.elements.len() >= ELEMENTS_MAX {
            self.limit(format!("there are more than {ELEMENTS_MAX} elements"));
            return Err(Stopped);
        }
        let (name, attributes) = self.read_tag(raw);
        let id = ElementId(self.document.elements.len());
        self.document.elements.push(Element {
            start: raw.to_owned(),
            name,
            attributes,
            children: Vec::new(),
            end: String::new(),
            parent: self.open.last().copied(),
            line: self.line,
            column: self.column,
            ordinal: None,
        });
        self.push(Child::Element(id));
        if !empty {
            self.open.push(id);
        }
        Ok(())
    }

    fn read_tag(&mut self, raw: &str) -> (String, Vec<(String, String)>) {
        match xml::scan_tag(raw) {
            Ok((name, spans)) => {
                let value = |span: &xml::AttributeSpan| xml::unescape(&raw[span.value.clone()]).unwrap_or_default();
                let attributes = spans.iter().map(|span| (raw[span.name.clone()].to_owned(), value(span))).collect();
                (raw[name].to_owned(), attributes)
            }
            Err(error) => {
                let place = advance((self.line, self.column), &raw[..error.at().min(raw.len())]);
                self.report("malformed-xml", place, error.to_string(), tag_hint(&error));
                (String::new(), Vec::new())
            }
        }
    }

    fn take_text(&mut self, raw: &str) {
        if self.open.is_empty() && !raw.trim().is_empty() {
            self.malformed("text stands outside of the top element", "remove it, or make it a comment <!-- … -->");
        }
        if let Some(offset) = raw.find("]]>") {
            let place = advance((self.line, self.column), &raw[..offset]);
            self.report("malformed-xml", place, "\"]]>\" stands in text".to_owned(), "write ]]&gt; instead");
        }
        self.push(Child::Text(raw.to_owned()));
    }

    fn take_reference(&mut self, raw: &str) {
        self.refuse_outside_root("a reference");
        if xml::resolve(raw.trim_start_matches('&').trim_end_matches(';')).is_none() {
            let text = format!("the reference {raw} is not defined");
            self.malformed(
                &text,
                "only &amp; &lt; &gt; &quot; &apos; and character numbers are known; write & as &amp;",
            );
        }
        self.push(Child::Text(raw.to_owned()));
    }

    fn take_declaration(&mut self, raw: &str) {
        if self.at != 0 {
            self.malformed("an XML declaration stands after the start of the file", "move it to the first byte");
        }
        if !is_declaration(raw) {
            self.malformed("the XML declaration cannot be read", "write <?xml version=\"1.0\" encoding=\"UTF-8\"?>");
        }
        self.push(Child::Verbatim(raw.to_owned()));
    }

    fn take_document_type(&mut self, raw: &str) -> Result<(), Stopped> {
        if raw.contains('[') {
            self.report(
                "entities-refused",
                (self.line, self.column),
                "the document type defines entities or elements of its own".to_owned(),
                "remove the part in square brackets after <!DOCTYPE …; write the values out where they are used",
            );
            return Err(Stopped);
        }
        if self.document.root().is_some() || self.doctype_seen {
            self.malformed("a document type stands in the wrong place", "put it once, before <cluster>, or remove it");
        }
        self.doctype_seen = true;
        self.push(Child::Verbatim(raw.to_owned()));
        Ok(())
    }

    fn finish(&mut self) {
        if let Some(id) = self.open.last() {
            let element = self.document.element(*id);
            let text = format!("<{}> from line {} is never closed", element.name, element.line);
            let hint = format!("add </{}>; the file may have been cut off", element.name);
            self.malformed(&text, &hint);
        } else if self.document.root().is_none() && self.findings.is_empty() {
            self.malformed(
                "the file contains no element",
                "a cluster.conf begins with <cluster name=… config_version=…>",
            );
        }
    }

    /// Control characters cannot be written in XML at all. One finding for all of them: the file is probably not text.
    fn check_characters(&mut self) {
        if let Some((offset, c)) = self.body.char_indices().find(|(_, c)| !xml::is_xml_char(*c)) {
            let place = advance((1, 1), &self.body[..offset]);
            let text = format!("the character U+{:04X} is not allowed in XML", u32::from(c));
            self.report("malformed-xml", place, text, "remove it; check that this is a text file");
        }
    }

    fn push(&mut self, child: Child) {
        let children = match self.open.last() {
            Some(id) => &mut self.document.elements[id.0].children,
            None => &mut self.document.top,
        };
        // A reference splits text into several events; in the tree it is one text.
        if let (Some(Child::Text(before)), Child::Text(text)) = (children.last_mut(), &child) {
            before.push_str(text);
            return;
        }
        children.push(child);
    }

    /// Keeps what was not read as it is, so that printing still gives the text.
    fn keep_rest(&mut self) {
        let rest = self.body[self.at..].to_owned();
        self.push(Child::Verbatim(rest));
        self.at = self.body.len();
    }

    fn refuse_outside_root(&mut self, what: &str) {
        if self.open.is_empty() {
            self.malformed(&format!("{what} stands outside of the top element"), "remove it");
        }
    }

    fn malformed(&mut self, text: &str, hint: &str) {
        self.report("malformed-xml", (self.line, self.column), text.to_owned(), hint);
    }

    fn limit(&mut self, text: String) {
        self.report("too-large", (self.line, self.column), text, "check that this is a cluster.conf");
    }

    fn report_error(&mut self, error: &Error, offset: usize) {
        let offset =
            (self.at..=offset.clamp(self.at, self.body.len())).rev().find(|at| self.body.is_char_boundary(*at));
        let place = advance((self.line, self.column), &self.body[self.at..offset.unwrap_or(self.at)]);
        let hint = match error {
            Error::IllFormed(IllFormedError::MismatchedEndTag { expected, .. }) => {
                format!("close <{expected}> first")
            }
            Error::IllFormed(IllFormedError::UnmatchedEndTag(name)) => {
                format!("remove </{name}> or add <{name}> before it")
            }
            Error::IllFormed(IllFormedError::UnclosedReference) => "write & as &amp;".to_owned(),
            Error::Syntax(_) => "the file may have been cut off".to_owned(),
            _ => "correct the XML at this place".to_owned(),
        };
        let text = error.to_string();
        let text = text.strip_prefix("syntax error: ").or(text.strip_prefix("ill-formed document: ")).unwrap_or(&text);
        self.report("malformed-xml", place, text.to_owned(), &hint);
    }

    fn report(&mut self, rule: &str, (line, column): (u32, u32), text: String, hint: &str) {
        let path = match self.open.last() {
            Some(id) => self.document.place(*id).path,
            None => "/".to_owned(),
        };
        let place = Place { line, column, path };
        self.findings.push(Finding {
            rule: rule.to_owned(),
            severity: Severity::Error,
            place,
            text,
            hint: hint.to_owned(),
        });
    }
}

/// Whether this is `<?xml version=… encoding=… standalone=…?>`; the last two may be absent.
fn is_declaration(raw: &str) -> bool {
    let Some(inner) = raw.strip_prefix("<?").and_then(|rest| rest.strip_suffix("?>")) else { return false };
    // It has the form of a tag, so it is read like one.
    let as_tag = format!("<{inner}>");
    let Ok((_, spans)) = xml::scan_tag(&as_tag) else { return false };
    let given: Vec<(&str, &str)> =
        spans.iter().map(|span| (&as_tag[span.name.clone()], &as_tag[span.value.clone()])).collect();
    let Some((("version", "1.0" | "1.1"), rest)) = given.split_first() else { return false };
    let is_encoding = |value: &str| {
        value.starts_with(|c: char| c.is_ascii_alphabetic())
            && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    };
    match rest {
        [] => true,
        [("encoding", value)] => is_encoding(value),
        [("standalone", value)] => matches!(*value, "yes" | "no"),
        [("encoding", value), ("standalone", alone)] => is_encoding(value) && matches!(*alone, "yes" | "no"),
        _ => false,
    }
}

fn tag_hint(error: &xml::TagError) -> &'static str {
    match error {
        xml::TagError::Name { .. } => "names begin with a letter and contain letters, digits, \"-\", \"_\" and \".\"",
        xml::TagError::SpaceMissing { .. } => "put a space between the attributes",
        xml::TagError::ValueMissing { .. } => "write name=\"value\"",
        xml::TagError::QuoteMissing { .. } => "put the value in double quotes",
        xml::TagError::LessThan { .. } => "write < as &lt;; or a quote is missing before this place",
        xml::TagError::Duplicate { .. } => "keep one of the two",
        xml::TagError::Reference { .. } => "write & as &amp;",
        xml::TagError::TooMany { .. } => "check that this is a cluster.conf",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What parsing says about a text; the text itself must come back whatever it says.
    fn said(text: &str) -> String {
        let (document, findings) = Document::parse(text);
        assert_eq!(document.print(), text);
        assert_eq!(document.is_well_formed(), findings.is_empty());
        let lines: Vec<_> = findings
            .iter()
            .map(|f| {
                format!("{}:{} {} {}: {} | {}", f.place.line, f.place.column, f.place.path, f.rule, f.text, f.hint)
            })
            .collect();
        lines.join("\n")
    }

    #[test]
    fn what_is_not_well_formed_is_said_with_its_place() {
        let table: &[(&str, &str)] = &[
            (
                "",
                "1:1 / malformed-xml: the file contains no element | a cluster.conf begins with <cluster name=… config_version=…>",
            ),
            ("<a><b></a>", "1:7 /a/b malformed-xml: expected `</b>`, but `</a>` was found | close <b> first"),
            ("<a>\n<b x='1' x='2'/></a>", "2:10 /a malformed-xml: attribute x stands twice | keep one of the two"),
            (
                "<a/><b/>",
                "1:5 / malformed-xml: a second element stands at the top | a cluster.conf has one <cluster> around everything",
            ),
            (
                "<a>\n <b>",
                "2:5 /a/b malformed-xml: <b> from line 2 is never closed | add </b>; the file may have been cut off",
            ),
            (
                "<a>&nbsp;</a>",
                "1:4 /a malformed-xml: the reference &nbsp; is not defined | only &amp; &lt; &gt; &quot; &apos; and character numbers are known; write & as &amp;",
            ),
            (
                "<a/>garbage",
                "1:5 / malformed-xml: text stands outside of the top element | remove it, or make it a comment <!-- … -->",
            ),
            (
                "<a>\u{1}</a>",
                "1:4 / malformed-xml: the character U+0001 is not allowed in XML | remove it; check that this is a text file",
            ),
            (
                "</a>",
                "1:1 / malformed-xml: close tag `</a>` does not match any open tag | remove </a> or add <a> before it",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(said(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn several_faults_are_told_at_once() {
        let told = said("<a>\n<b x=1/>\n<c y='&foo;'/>\n</a>");
        assert_eq!(told.lines().count(), 2, "{told}");
    }

    #[test]
    fn an_entity_bomb_is_refused_before_it_goes_off() {
        let bomb = "<?xml version=\"1.0\"?>\n<!DOCTYPE c [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>\n<c>&b;</c>";
        assert!(said(bomb).starts_with("2:1 / entities-refused: "), "{}", said(bomb));
    }

    #[test]
    fn a_document_type_without_definitions_is_kept() {
        assert_eq!(said("<!DOCTYPE cluster SYSTEM \"cluster.dtd\"><cluster/>"), "");
    }

    #[test]
    fn a_file_cut_off_at_any_byte_is_an_error_and_is_kept() {
        let whole = "<?xml version=\"1.0\"?>\n<!-- c --><cluster name='é'>&amp;<![CDATA[x]]><a b=\"c\"/></cluster>";
        assert_eq!(said(whole), "");
        for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            assert_ne!(said(&whole[..end]), "", "cut at {end}: {:?}", &whole[..end]);
        }
    }

    #[test]
    fn too_deep_too_many_and_too_large_are_refused() {
        assert!(said(&"<a>".repeat(100)).contains("nested deeper than 64"));
        assert!(said(&format!("<a>{}</a>", "<b/>".repeat(60_000))).contains("more than 50000 elements"));
        assert!(said(&"x".repeat(BYTES_MAX + 1)).contains("at most 1048576"));
    }
}

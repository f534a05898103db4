//! The little XML of the original protocol: a document at a time, read from bytes that come in pieces, and written back.
//! Bounded in size by the caller and in depth here; knows no document types, so that no entity can grow.

use quick_xml::XmlVersion;
use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// Deeper than any message, and than any cluster.conf within one.
const DEPTH_MAX: usize = 64;

/// One element. Text between elements is not kept: the protocol has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    /// Everything between the tags, as it was sent; for configurations.
    pub(super) inner: String,
}

impl Element {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// With one more attribute.
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.attributes.push((name.to_owned(), value.into()));
        self
    }

    /// With one more element inside.
    pub(super) fn holding(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// As text, on one line unless `inner` has lines. What stands in `inner` is XML already.
    pub(super) fn render(&self) -> String {
        let mut out = format!("<{}", self.name);
        for (name, value) in &self.attributes {
            out.push_str(&format!(" {name}=\"{}\"", escape_value(value)));
        }
        if self.children.is_empty() && self.inner.is_empty() {
            out.push_str("/>");
            return out;
        }
        out.push('>');
        out.push_str(&self.inner);
        for child in &self.children {
            out.push_str(&child.render());
        }
        out.push_str(&format!("</{}>", self.name));
        out
    }
}

/// What XML cannot hold at all becomes a question mark, and line ends survive the reader.
fn escape_value(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for letter in escape(value).chars() {
        match letter {
            '\n' | '\t' | '\r' => out.push_str(&format!("&#{};", u32::from(letter))),
            letter if letter.is_control() => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}

/// The one document that these bytes are. `None`: not yet, or never.
pub(super) fn parse(bytes: &[u8]) -> Option<Element> {
    let text = std::str::from_utf8(bytes).ok()?;
    // A document ends with a bracket: most pieces need no look.
    if !text.trim_end().ends_with('>') {
        return None;
    }
    let mut reader = Reader::from_str(text);
    // Open elements with the place where their content begins.
    let mut open: Vec<(Element, usize)> = Vec::new();
    let mut root = None;
    loop {
        let before = position(&reader)?;
        match reader.read_event().ok()? {
            Event::Start(tag) if open.len() < DEPTH_MAX && root.is_none() => {
                open.push((element(&tag)?, position(&reader)?));
            }
            Event::Empty(tag) if root.is_none() => close(element(&tag)?, &mut open, &mut root),
            Event::End(_) => {
                let (mut ended, begins) = open.pop()?;
                ended.inner = text.get(begins..before)?.to_owned();
                close(ended, &mut open, &mut root);
            }
            Event::Eof => return root.filter(|_| open.is_empty()),
            Event::Text(words) if open.is_empty() && !words.chars().all(char::is_whitespace) => return None,
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) | Event::Comment(_) | Event::Decl(_) => {}
            Event::Start(_) | Event::Empty(_) | Event::DocType(_) | Event::PI(_) => return None,
        }
    }
}

fn position(reader: &Reader<&[u8]>) -> Option<usize> {
    usize::try_from(reader.buffer_position()).ok()
}

fn close(ended: Element, open: &mut [(Element, usize)], root: &mut Option<Element>) {
    match open.last_mut() {
        Some((parent, _)) => parent.children.push(ended),
        None => *root = Some(ended),
    }
}

fn element(tag: &BytesStart<'_>) -> Option<Element> {
    let mut element = Element::new(tag.name().as_ref());
    for attribute in tag.attributes() {
        let attribute = attribute.ok()?;
        let value = attribute.normalized_value(XmlVersion::default()).ok()?.into_owned();
        element.attributes.push((attribute.key.as_ref().to_owned(), value));
    }
    Some(element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_there_when_its_last_byte_is_there_and_not_before() {
        let whole =
            b"<?xml version=\"1.0\"?>\n<ricci version=\"1.0\"><a b='c&amp;&#10;d'/><x><!-- k --><y/> </x></ricci>\n";
        for length in 0..whole.len() - 1 {
            assert!(parse(&whole[..length]).is_none(), "{length}");
        }
        let root = parse(whole).unwrap();
        assert_eq!(root.attribute("version"), Some("1.0"));
        assert_eq!(root.child("a").unwrap().attribute("b"), Some("c&\nd"));
        assert_eq!(root.child("x").unwrap().inner, "<!-- k --><y/> ");
    }

    #[test]
    fn what_is_no_single_document_is_none() {
        let deep = format!("{}{}", "<a>".repeat(DEPTH_MAX + 1), "</a>".repeat(DEPTH_MAX + 1));
        for text in ["", "GET / HTTP/1.1", "<a></b>", "<a/><b/>", "x<a/>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", &deep]
        {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let written = Element::new("var").with("value", "<\"&'\n\u{1}>").holding(Element::new("b"));
        let read = parse(written.render().as_bytes()).unwrap();
        assert_eq!(read.attribute("value"), Some("<\"&'\n?>"));
        assert_eq!(read.child("b"), Some(&Element::new("b")));
    }
}

//! Changes of the text of a cluster.conf in elements that `shared::conf::edit` has no word for (logging, quorumd, actions
//! of a service, …): the attributes of one element, a new child, an element gone. Every other byte stays. Finds its
//! elements through the document and reads the result back, so that nothing that is not well-formed comes out.

use std::ops::Range;

use shared::conf::{Document, ElementId};

use super::fault::Fault;

/// Where an element stands in the text, in bytes.
struct Span {
    /// `<name …>`.
    tag: Range<usize>,
    /// Where the end tag begins; `None` for `<name/>`.
    end_tag: Option<usize>,
    /// Behind everything of it.
    end: usize,
}

/// Gives the element exactly these attributes.
pub(super) fn set_attributes(
    document: &Document,
    id: ElementId,
    attributes: &[(String, String)],
) -> Result<Document, Fault> {
    let text = document.print();
    let span = span(document, &text, id)?;
    let close = if span.end_tag.is_none() { "/>" } else { ">" };
    replace(&text, span.tag, &format!("{}{close}", open_tag(document.name(id), attributes)))
}

/// Puts `<name attributes/>` behind the other children of `parent`.
pub(super) fn append(
    document: &Document,
    parent: ElementId,
    name: &str,
    attributes: &[(String, String)],
) -> Result<Document, Fault> {
    let text = document.print();
    let span = span(document, &text, parent)?;
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let own = indent(&text, span.tag.start).unwrap_or_default().to_owned();
    let sibling = document.children(parent).last().and_then(|child| self::span(document, &text, child).ok());
    let inner = sibling.and_then(|sibling| indent(&text, sibling.tag.start).map(str::to_owned));
    let inner = inner.unwrap_or_else(|| format!("{own}{}", unit(document, &text)));
    let child = format!("{}/>", open_tag(name, attributes));
    match span.end_tag {
        None => {
            let tag = text[span.tag.clone()].trim_end_matches("/>").trim_end();
            let whole = format!("{tag}>{line_end}{inner}{child}{line_end}{own}</{}>", document.name(parent));
            replace(&text, span.tag, &whole)
        }
        Some(end_tag) => {
            // Everything up to the white space before the end tag stays where it is.
            let content = text[span.tag.end..end_tag].trim_end();
            let at = span.tag.end + content.len();
            replace(&text, at..end_tag, &format!("{line_end}{inner}{child}{line_end}{own}"))
        }
    }
}

/// Takes the element away, and the line that it leaves empty.
pub(super) fn remove(document: &Document, id: ElementId) -> Result<Document, Fault> {
    let text = document.print();
    let span = span(document, &text, id)?;
    let mut range = span.tag.start..span.end;
    let rest = &text[range.end..];
    let line_ends_here = rest.trim_start_matches([' ', '\t', '\r']).starts_with('\n');
    if let Some(indent) = indent(&text, range.start)
        && line_ends_here
    {
        range.start -= indent.len();
        range.end += rest.find('\n').map_or(0, |at| at + 1);
    }
    replace(&text, range, "")
}

fn replace(text: &str, range: Range<usize>, by: &str) -> Result<Document, Fault> {
    let mut text = text.to_owned();
    text.replace_range(range, by);
    let (document, findings) = Document::parse(&text);
    match findings.first() {
        None => Ok(document),
        Some(finding) => Err(Fault::new(format!("a value cannot stand in a cluster.conf: {}", finding.text))),
    }
}

fn open_tag(name: &str, attributes: &[(String, String)]) -> String {
    let attributes: String = attributes.iter().map(|(name, value)| format!(" {name}=\"{}\"", escape(value))).collect();
    format!("<{name}{attributes}")
}

fn escape(value: &str) -> String {
    value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\n', "&#10;")
        .replace('\r', "&#13;")
        .replace('\t', "&#9;")
}

fn span(document: &Document, text: &str, id: ElementId) -> Result<Span, Fault> {
    let place = document.place(id);
    let start = offset(text, place.line, place.column);
    let found = start.and_then(|start| {
        let tag = start..tag_end(text, start)?;
        if text[tag.clone()].ends_with("/>") {
            return Some(Span { end: tag.end, tag, end_tag: None });
        }
        let end_tag = end_tag(text, tag.end)?;
        Some(Span { end: tag_end(text, end_tag)?, tag, end_tag: Some(end_tag) })
    });
    found.ok_or_else(|| Fault::new(format!("{} cannot be found in the text; correct it by hand", place.path)))
}

/// Line and column count from 1, columns in characters; a byte order mark is not counted.
fn offset(text: &str, line: u32, column: u32) -> Option<usize> {
    let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    for _ in 1..line {
        at += text[at..].find('\n')? + 1;
    }
    let characters = usize::try_from(column).ok()?.checked_sub(1)?;
    let (columns, _) = text[at..].char_indices().nth(characters)?;
    text[at + columns..].starts_with('<').then_some(at + columns)
}

fn tag_end(text: &str, start: usize) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text[start..].char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '>') => return Some(start + at + 1),
            _ => {}
        }
    }
    None
}

/// Where the end tag of the element begins whose content starts at `from`.
fn end_tag(text: &str, from: usize) -> Option<usize> {
    let (mut at, mut depth) = (from, 0_u32);
    loop {
        let open = at + text[at..].find('<')?;
        let rest = &text[open..];
        let behind = |mark: &str| rest.find(mark).map(|found| open + found + mark.len());
        at = if rest.starts_with("<!--") {
            behind("-->")?
        } else if rest.starts_with("<![CDATA[") {
            behind("]]>")?
        } else if rest.starts_with("<?") {
            behind("?>")?
        } else if rest.starts_with("</") {
            if depth == 0 {
                return Some(open);
            }
            depth -= 1;
            tag_end(text, open)?
        } else {
            let end = tag_end(text, open)?;
            depth += u32::from(!text[open..end].ends_with("/>"));
            end
        };
    }
}

/// The white space before something that begins a line.
fn indent(text: &str, start: usize) -> Option<&str> {
    let line = &text[text[..start].rfind('\n')? + 1..start];
    line.trim().is_empty().then_some(line)
}

/// One step of indentation, as the children of the top element show it.
fn unit(document: &Document, text: &str) -> String {
    let shown = document.root().and_then(|root| {
        let child = document.children(root).next()?;
        let place = document.place(child);
        indent(text, offset(text, place.line, place.column)?).map(str::to_owned)
    });
    shown.filter(|shown| !shown.is_empty()).unwrap_or_else(|| "  ".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<cluster name='é'>\n  <!-- <rm> -->\n  <rm a='>'>\n    <service name=\"x\"/><!-- stays -->\n  </rm>\n</cluster>\n";

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn edited(edit: impl Fn(&Document) -> Result<Document, Fault>) -> String {
        edit(&Document::parse(TEXT).0).unwrap().print()
    }

    fn at(document: &Document, path: &str) -> ElementId {
        document.select(path)[0]
    }

    #[test]
    fn only_the_attributes_of_the_element_change() {
        let text = edited(|document| set_attributes(document, at(document, "/cluster/rm"), &pairs(&[("b", "<\"&")])));
        assert_eq!(text, TEXT.replace("<rm a='>'>", "<rm b=\"&lt;&quot;&amp;\">"));
    }

    #[test]
    fn a_new_child_gets_a_line_of_its_own() {
        let text = edited(|document| append(document, at(document, "/cluster/rm"), "vm", &pairs(&[("name", "v")])));
        assert_eq!(text, TEXT.replace("stays -->\n", "stays -->\n    <vm name=\"v\"/>\n"));
        let text = edited(|document| append(document, at(document, "/cluster/rm/service"), "ip", &[]));
        assert_eq!(text, TEXT.replace("<service name=\"x\"/>", "<service name=\"x\">\n      <ip/>\n    </service>"));
    }

    #[test]
    fn a_removed_element_takes_its_empty_line_along_and_nothing_else() {
        let text = edited(|document| remove(document, at(document, "/cluster/rm/service")));
        assert_eq!(text, TEXT.replace("<service name=\"x\"/>", ""));
        let text = edited(|document| remove(document, at(document, "/cluster/rm")));
        assert_eq!(text, "<cluster name='é'>\n  <!-- <rm> -->\n</cluster>\n");
    }
}

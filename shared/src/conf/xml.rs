//! The smallest pieces of XML: names, attributes inside the raw text of a start tag, references, escaping.
//!
//! Used by the parser and by edits of the document, which change the bytes of one attribute and nothing else.
//! Knows nothing about cluster.conf.

use std::ops::Range;

use thiserror::Error;

/// More attributes than this on one element are not a cluster.conf; keeps the search for duplicates cheap.
pub(super) const ATTRIBUTES_MAX: usize = 256;

/// Where one attribute stands inside the raw text of its start tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AttributeSpan {
    /// From the first white space before the name to the closing quote.
    pub(super) whole: Range<usize>,
    pub(super) name: Range<usize>,
    /// Between the quotes.
    pub(super) value: Range<usize>,
    pub(super) quote: char,
}

/// A start tag that cannot be read. The offset counts bytes from the `<`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum TagError {
    #[error("the element has no valid name")]
    Name { at: usize },
    #[error("a space is missing between two attributes")]
    SpaceMissing { at: usize },
    #[error("attribute {name} has no value")]
    ValueMissing { name: String, at: usize },
    #[error("the value of attribute {name} is not in quotes")]
    QuoteMissing { name: String, at: usize },
    #[error("the value of attribute {name} contains \"<\"")]
    LessThan { name: String, at: usize },
    #[error("attribute {name} stands twice")]
    Duplicate { name: String, at: usize },
    #[error("the value of attribute {name} contains the reference {reference}, which is not defined")]
    Reference { name: String, reference: String, at: usize },
    #[error("the element has more than {ATTRIBUTES_MAX} attributes")]
    TooMany { at: usize },
}

impl TagError {
    /// Bytes from the start of the tag.
    pub(super) fn at(&self) -> usize {
        match self {
            Self::Name { at }
            | Self::SpaceMissing { at }
            | Self::ValueMissing { at, .. }
            | Self::QuoteMissing { at, .. }
            | Self::LessThan { at, .. }
            | Self::Duplicate { at, .. }
            | Self::Reference { at, .. }
            | Self::TooMany { at } => *at,
        }
    }
}

/// The name and the attributes of a raw start tag (`<name …>` or `<name …/>`).
pub(super) fn scan_tag(raw: &str) -> Result<(Range<usize>, Vec<AttributeSpan>), TagError> {
    let bytes = raw.as_bytes();
    let end = raw.len() - if raw.ends_with("/>") { 2 } else { 1 };
    let name_end = scan_name(raw, 1, end).ok_or(TagError::Name { at: 1 })?;
    let mut spans: Vec<AttributeSpan> = Vec::new();
    let mut at = name_end;
    loop {
        let start = at;
        at = skip_space(bytes, at, end);
        if at == end {
            return Ok((1..name_end, spans));
        }
        if at == start {
            return Err(TagError::SpaceMissing { at });
        }
        let span = scan_attribute(raw, start, at, end)?;
        let name = &raw[span.name.clone()];
        if spans.iter().any(|earlier| &raw[earlier.name.clone()] == name) {
            return Err(TagError::Duplicate { name: name.to_owned(), at });
        }
        at = span.whole.end;
        spans.push(span);
        if spans.len() > ATTRIBUTES_MAX {
            return Err(TagError::TooMany { at });
        }
    }
}

fn scan_attribute(raw: &str, start: usize, name_start: usize, end: usize) -> Result<AttributeSpan, TagError> {
    let bytes = raw.as_bytes();
    let name_end = scan_name(raw, name_start, end).ok_or(TagError::Name { at: name_start })?;
    let name = || raw[name_start..name_end].to_owned();
    let equals = skip_space(bytes, name_end, end);
    if equals == end || bytes[equals] != b'=' {
        return Err(TagError::ValueMissing { name: name(), at: name_end });
    }
    let open = skip_space(bytes, equals + 1, end);
    let quote = match bytes.get(open) {
        Some(b'"') if open < end => '"',
        Some(b'\'') if open < end => '\'',
        _ => return Err(TagError::QuoteMissing { name: name(), at: open }),
    };
    let value_start = open + 1;
    let length = raw[value_start..end].find(quote).ok_or_else(|| TagError::QuoteMissing { name: name(), at: open })?;
    let value = value_start..value_start + length;
    if let Some(offset) = raw[value.clone()].find('<') {
        return Err(TagError::LessThan { name: name(), at: value.start + offset });
    }
    if let Err((offset, reference)) = unescape(&raw[value.clone()]) {
        return Err(TagError::Reference { name: name(), reference, at: value.start + offset });
    }
    Ok(AttributeSpan { whole: start..value.end + 1, name: name_start..name_end, value, quote })
}

fn skip_space(bytes: &[u8], mut at: usize, end: usize) -> usize {
    while at < end && matches!(bytes[at], b' ' | b'\t' | b'\r' | b'\n') {
        at += 1;
    }
    at
}

/// The end of the name that starts at `start`.
fn scan_name(raw: &str, start: usize, end: usize) -> Option<usize> {
    let text = &raw[start..end];
    if !text.chars().next().is_some_and(is_name_start) {
        return None;
    }
    Some(start + text.find(|c| !is_name_char(c)).unwrap_or(text.len()))
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, ':' | '_') || (!c.is_ascii() && c.is_alphabetic())
}

fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || c.is_ascii_digit()
        || matches!(c, '-' | '.' | '\u{b7}')
        || (!c.is_ascii() && c.is_alphanumeric())
}

/// Whether the text may be the name of an element or attribute.
pub(super) fn is_name(text: &str) -> bool {
    scan_name(text, 0, text.len()) == Some(text.len())
}

/// Whether XML 1.0 allows the character at all.
pub(super) fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && c != '\u{fffe}' && c != '\u{ffff}')
}

/// The value an attribute's raw text stands for: references replaced, white space made spaces. On failure the
/// offset and the text of the reference that is not defined.
pub(super) fn unescape(raw: &str) -> Result<String, (usize, String)> {
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    while let Some(c) = raw[at..].chars().next() {
        match c {
            '&' => {
                let rest = &raw[at..];
                let end =
                    rest.find(';').unwrap_or(rest.len().min(rest.find(char::is_whitespace).unwrap_or(rest.len())));
                let inner = &rest[1..end.max(1)];
                let resolved = if rest[end..].starts_with(';') { resolve(inner) } else { None };
                let Some(resolved) = resolved else {
                    return Err((at, format!("&{}", inner.chars().take(20).collect::<String>())));
                };
                out.push(resolved);
                at += end + 1;
            }
            // A line end inside an attribute is one space, also when it is written as two bytes.
            '\r' => {
                out.push(' ');
                at += if raw[at..].starts_with("\r\n") { 2 } else { 1 };
            }
            '\n' | '\t' => {
                out.push(' ');
                at += 1;
            }
            other => {
                out.push(other);
                at += other.len_utf8();
            }
        }
    }
    Ok(out)
}

/// The character behind a reference, given the text between `&` and `;`. Only what XML itself defines.
pub(super) fn resolve(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let number = match digits.strip_prefix('x') {
                Some(hexadecimal) if hexadecimal.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    u32::from_str_radix(hexadecimal, 16).ok()?
                }
                None if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
                _ => return None,
            };
            char::from_u32(number).filter(|c| is_xml_char(*c))
        }
    }
}

/// The raw text of a value inside the given quotes.
pub(super) fn escape(value: &str, quote: char) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if quote == '"' => out.push_str("&quot;"),
            '\'' if quote == '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' => out.push_str("&#9;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_however_they_are_written() {
        let raw = "<fs\tname = 'a&quot;b'\n  device=\"/dev/sd a\"  />";
        let (name, spans) = scan_tag(raw).unwrap();
        assert_eq!(&raw[name], "fs");
        let read: Vec<_> =
            spans.iter().map(|s| (&raw[s.name.clone()], unescape(&raw[s.value.clone()]).unwrap())).collect();
        assert_eq!(read, [("name", "a\"b".to_owned()), ("device", "/dev/sd a".to_owned())]);
    }

    #[test]
    fn what_is_not_an_attribute_is_refused_with_its_name() {
        for (raw, expected) in [
            ("<a b>", "attribute b has no value"),
            ("<a b=c>", "the value of attribute b is not in quotes"),
            ("<a b='c'd='e'>", "a space is missing between two attributes"),
            ("<a b='c' b='d'>", "attribute b stands twice"),
            ("<a b='&nbsp;'>", "the value of attribute b contains the reference &nbsp, which is not defined"),
            ("<a b='x & y'>", "the value of attribute b contains the reference &, which is not defined"),
            ("<a b='&#0;'>", "the value of attribute b contains the reference &#0, which is not defined"),
            ("<1>", "the element has no valid name"),
        ] {
            assert_eq!(scan_tag(raw).unwrap_err().to_string(), expected, "{raw}");
        }
    }

    #[test]
    fn a_value_survives_escaping_and_reading_back() {
        for quote in ['"', '\''] {
            let value = "a<b>&\"'\t\r\n 中é&amp;";
            assert_eq!(unescape(&escape(value, quote)).unwrap(), value);
        }
    }
}

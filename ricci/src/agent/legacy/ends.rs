//! Where a document ends, told from its bytes as they come, each looked at once: the original protocol has no lengths, and
//! reading all anew for every piece would cost whoever sends a long document the square of its length.
//!
//! Only counts brackets, outside of quotes, comments and the like. Whether what has ended is XML is for `xml` to say.

/// How far the document is.
#[derive(Debug, Default)]
pub(super) struct Ends {
    place: Place,
    depth: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Text,
    /// Behind `<`.
    Open,
    /// In a tag: the quote that is open, whether it is an end tag, whether the last byte was a slash.
    Tag { quote: Option<u8>, is_end: bool, slash: bool },
    /// Behind `<!`, with what came since.
    Bang { seen: usize, is_comment: bool },
    /// Until these bytes, of which so many have come.
    Until { end: &'static [u8], seen: usize },
    /// The top element is closed, or there will never be one.
    Over,
}

const CDATA: &[u8] = b"[CDATA[";

impl Ends {
    /// Takes the next bytes; true once the top element is closed, and from then on.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            self.place = self.next(*byte);
        }
        self.place == Place::Over
    }

    fn next(&mut self, byte: u8) -> Place {
        match self.place {
            Place::Over => Place::Over,
            Place::Text if byte == b'<' => Place::Open,
            Place::Text => Place::Text,
            Place::Open => match byte {
                b'!' => Place::Bang { seen: 0, is_comment: false },
                b'?' => Place::Until { end: b"?>", seen: 0 },
                b'/' => Place::Tag { quote: None, is_end: true, slash: false },
                _ => Place::Tag { quote: None, is_end: false, slash: false },
            },
            Place::Bang { seen, is_comment } => after_bang(seen, is_comment, byte),
            Place::Tag { quote: Some(quote), is_end, .. } => {
                Place::Tag { quote: Some(quote).filter(|quote| *quote != byte), is_end, slash: false }
            }
            Place::Tag { quote: None, is_end, slash } => match byte {
                b'"' | b'\'' => Place::Tag { quote: Some(byte), is_end, slash: false },
                b'>' => self.tag_closed(is_end, slash),
                _ => Place::Tag { quote: None, is_end, slash: byte == b'/' },
            },
            Place::Until { end, seen } => until(end, seen, byte),
        }
    }

    fn tag_closed(&mut self, is_end: bool, is_empty: bool) -> Place {
        if is_end {
            self.depth = self.depth.saturating_sub(1);
        } else if !is_empty {
            self.depth += 1;
        }
        if self.depth == 0 { Place::Over } else { Place::Text }
    }
}

fn after_bang(seen: usize, is_comment: bool, byte: u8) -> Place {
    match (seen, byte) {
        (0, b'-') => Place::Bang { seen: 1, is_comment: true },
        (1, b'-') if is_comment => Place::Until { end: b"-->", seen: 0 },
        (at, byte) if !is_comment && CDATA.get(at) == Some(&byte) => {
            if at + 1 == CDATA.len() {
                Place::Until { end: b"]]>", seen: 0 }
            } else {
                Place::Bang { seen: at + 1, is_comment: false }
            }
        }
        // A document type, which nobody may send.
        _ => Place::Over,
    }
}

/// The ends are bytes that are all alike before the last: one more of them leaves as many seen.
fn until(end: &'static [u8], seen: usize, byte: u8) -> Place {
    let last = end.len() - 1;
    match byte {
        _ if seen == last && byte == end[last] => Place::Text,
        _ if seen == last && byte == end[0] => Place::Until { end, seen },
        _ if seen < last && byte == end[seen] => Place::Until { end, seen: seen + 1 },
        _ => Place::Until { end, seen: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes are needed before the end is seen, given one by one and given at once.
    fn end_of(text: &str) -> Option<usize> {
        let mut ends = Ends::default();
        let one_by_one = text.bytes().position(|byte| ends.feed(&[byte])).map(|at| at + 1);
        assert_eq!(Ends::default().feed(text.as_bytes()), one_by_one.is_some(), "{text}");
        one_by_one
    }

    #[test]
    fn a_document_ends_with_the_bracket_that_closes_its_top_element() {
        for text in [
            "<a/>",
            "<a></a>",
            "<?xml version='1.0'?>\n<!-- <b> -- --->\n<a b='>' c=\"</a>\"><b/><b d='/'>x</b></a>",
            "<a><![CDATA[</a> ]] ]]]></a>",
            "<a><!-- </a> --></a>",
            "<a b='\"'/>",
        ] {
            assert_eq!(end_of(text), Some(text.len()), "{text}");
            assert_eq!(end_of(&format!("{text}\n\n")), Some(text.len()), "{text}");
        }
    }

    #[test]
    fn what_has_no_end_yet_is_waited_for_and_a_document_type_is_not() {
        for text in ["", "GET / HTTP/1.1\r\n\r\n", "<a", "<a><b></b>", "<a b='/>", "<!-- <a/>", "<a><![CDATA[</a>"] {
            assert_eq!(end_of(text), None, "{text}");
        }
        assert_eq!(end_of("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"), Some(3));
    }
}

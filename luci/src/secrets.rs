//! Secrets of a cluster.conf in the text editor: shown as marks, put back when the edited text comes home. Which
//! attributes are secret is decided in `shared::conf::secret`, for all programs alike.

use shared::conf::sealed::referred;
pub use shared::conf::secret::{MASK, is_secret};

/// Spans of the values of secret attributes in the text of an XML document.
fn spans(text: &str) -> Vec<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(offset) = text[at..].find('=') {
        let equals = at + offset;
        at = equals + 1;
        let before = text[..equals].trim_end();
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
        let name = &before[before.trim_end_matches(is_name).len()..];
        let value_at = at + (text[at..].len() - text[at..].trim_start().len());
        let Some(quote) = bytes.get(value_at).copied().filter(|byte| matches!(byte, b'"' | b'\'')) else { continue };
        if !is_secret(name) {
            continue;
        }
        let start = value_at + 1;
        let end = text[start..].find(char::from(quote)).map_or(text.len(), |length| start + length);
        // A reference says where the secret lies; people may see and move it.
        if end > start && referred(&text[start..end]).is_none() {
            found.push(start..end);
        }
        at = end;
    }
    found
}

fn sign(number: usize) -> String {
    format!("[secret {number}]")
}

/// The text with every secret replaced by a mark that `put_back` understands.
pub fn mark(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (number, span) in (1..).zip(spans(text)) {
        out.push_str(&text[from..span.start]);
        out.push_str(&sign(number));
        from = span.end;
    }
    out.push_str(&text[from..]);
    out
}

/// Puts the secrets of `base` back where an edited text still has their marks.
pub fn put_back(edited: &str, base: &str) -> String {
    let mut text = edited.to_owned();
    for (number, span) in (1..).zip(spans(base)) {
        text = text.replace(&sign(number), &base[span]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = r#"<fencedevices><!-- passwd= --><fencedevice name="a" login='admin' passwd="hunter2"/>
<fencedevice passwd_script="/bin/x" snmp_priv_passwd = 'geheim' community="private"/></fencedevices>"#;

    #[test]
    fn an_edited_text_gets_its_secrets_back_unless_they_were_replaced() {
        let marked = mark(CONF);
        for secret in ["hunter2", "geheim", "\"private\""] {
            assert!(!marked.contains(secret), "{secret} is shown");
        }
        assert!(marked.contains("login='admin'") && marked.contains("/bin/x"));
        assert_eq!(put_back(&marked, CONF), CONF);
        let changed = marked.replace("[secret 1]", "new");
        assert_eq!(put_back(&changed, CONF), CONF.replace("hunter2", "new"));
    }

    #[test]
    fn text_that_is_not_quite_xml_does_no_harm() {
        for text in ["=", "passwd=", "passwd=\"", "passwd='x", "äpasswd=\"ü\"", ""] {
            assert_eq!(put_back(&mark(text), text), text);
        }
    }
}

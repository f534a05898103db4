//! A text of the catalogue as a page shows it: escaped, its marks turned into tags, its places filled with escaped values.

use std::fmt;

use super::{Language, catalogue, spoken};

/// Safe in a page, in text and in attributes in double quotes (there without marks).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// The text with this key in the language of the request. Between back quotes it is code, between `**` strong. A
    /// text that the catalogue does not have is marked, so that the tests of the pages find it.
    pub fn said(english: &str) -> Self {
        let language = spoken();
        match catalogue().text(english, language) {
            Some(text) => Self(marked(text)),
            None if language == Language::English => Self(marked(english)),
            None => Self(format!("<span lang=\"en\" data-missing>{}</span>", marked(english))),
        }
    }

    /// A finished English sentence in the language of the request, or as it is, marked as English.
    pub fn told(english: &str) -> Self {
        let language = spoken();
        match catalogue().translate(english, language) {
            Some(text) => Self(escaped(&text)),
            None => Self(format!("<span lang=\"en\">{}</span>", escaped(english))),
        }
    }

    /// A value as it is.
    pub fn value(value: &str) -> Self {
        Self(escaped(value))
    }

    /// Fills the place `{name}`.
    pub fn with(self, name: &str, value: &str) -> Self {
        self.filled(name, &escaped(value))
    }

    /// Fills the place `{name}` with a strong text.
    pub fn strong(self, name: &str, value: &str) -> Self {
        self.filled(name, &format!("<strong>{}</strong>", escaped(value)))
    }

    /// Fills the place `{name}` with a link.
    pub fn link(self, name: &str, address: &str, text: &Self) -> Self {
        self.filled(name, &format!("<a href=\"{}\">{text}</a>", escaped(address)))
    }

    fn filled(self, name: &str, html: &str) -> Self {
        Self(self.0.replace(&format!("{{{name}}}"), html))
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// Texts of the catalogue and values, both escaped.
impl askama::filters::HtmlSafe for Html {}

fn escaped(text: &str) -> String {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return text.to_owned();
    }
    let mut html = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

fn marked(text: &str) -> String {
    let text = match text.rsplit_once(" [") {
        Some((text, context)) if context.ends_with(']') => text,
        _ => text,
    };
    let html = escaped(text);
    if !html.contains(['`', '*']) {
        return html;
    }
    let html = paired(&html, "`", "code");
    paired(&html, "**", "strong")
}

fn paired(html: &str, mark: &str, tag: &str) -> String {
    let mut out = String::with_capacity(html.len() + 16);
    for (place, part) in html.split(mark).enumerate() {
        match place % 2 {
            1 => out.push_str(&format!("<{tag}>{part}</{tag}>")),
            _ => out.push_str(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_marks_become_tags() {
        let html = Html(marked("Type {name}, **then** `Enter`")).strong("name", "<b>");
        assert_eq!(html.to_string(), "Type <strong>&lt;b&gt;</strong>, <strong>then</strong> <code>Enter</code>");
        assert_eq!(marked("State [of a task]"), "State");
    }
}

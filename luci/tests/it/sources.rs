//! Reads luci's own sources: which texts stand in them.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the whole workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// All files below a folder with this ending.
pub(crate) fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root().join(folder), ending, &mut found);
    assert!(!found.is_empty(), "there is nothing in {folder}");
    found.sort();
    found
}

fn collect(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

/// The string literals of a source, without those of its tests, its log lines and its attributes but `#[error]`.
pub(crate) fn literals(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(place) = rest.find(['"', '/', '\'']) {
        let (before, at) = rest.split_at(place);
        if at.starts_with("//") {
            rest = at.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(after) = at.strip_prefix('"') {
            let raw = before.trim_end_matches('#');
            if raw.ends_with('r') && !raw.ends_with("r ") && is_raw(raw) {
                let end = format!("\"{}", "#".repeat(before.len() - raw.len()));
                rest = after.split_once(end.as_str()).map_or("", |(_, after)| after);
                continue;
            }
            let (text, after) = literal(after);
            let line = before.rsplit('\n').next().unwrap_or_default();
            if !line.contains("tracing::") && (!line.contains("#[") || line.contains("#[error")) {
                found.push(text);
            }
            rest = after;
        } else {
            // A letter in single quotes may be a double quote.
            rest = ["'\"'", "'\\\"'"].iter().find_map(|quote| at.strip_prefix(quote)).unwrap_or(&at[1..]);
        }
    }
    found
}

fn is_raw(before: &str) -> bool {
    let mut letters = before.chars().rev().skip(1);
    !letters.next().is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
}

/// The text of a literal whose first quote has been read, and what comes after it.
fn literal(source: &str) -> (String, &str) {
    let mut text = String::new();
    let mut letters = source.char_indices().peekable();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return (text, &source[place + 1..]),
            '\\' => match letters.next().map(|(_, next)| next) {
                Some('n') => text.push('\n'),
                // A line that goes on: the break and the indentation are no part of the text.
                Some('\n') => while letters.next_if(|(_, next)| next.is_whitespace()).is_some() {},
                Some(other) => text.push(other),
                None => break,
            },
            other => text.push(other),
        }
    }
    (text, "")
}

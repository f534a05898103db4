//! docs/testing.md, the map from the rules of the field to the stories that show them: every line has a story, every story
//! a line, and what has none is on the short list of what cannot occur, with its reason. Called by the house rules.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

const MAP: &str = "docs/testing.md";
const STORIES: &str = "tests/scenarios";
const CANNOT_OCCUR_HEADING: &str = "Rows that cannot occur";

/// Sections of the specification and how many lines each has there, those that cannot occur included.
const SECTIONS: &[(&str, usize)] = &[
    ("§2.2", 20),
    ("§3.1", 10),
    ("§3.2", 13),
    ("§3.3", 7),
    ("§3.4", 11),
    ("§3.5", 13),
    ("§4.5", 7),
    ("§5.6", 7),
    ("§9.1", 16),
];

/// Lines that may be without a story, because nothing an administrator does leads there. Put nothing in that can be met.
const CANNOT_OCCUR: &[&str] = &[
    "§2.2 -3 Service not mastered locally",
    "§2.2 -14 S/Lang Script Error",
    "§3.1 uninitialized, checking",
    "§3.3 a node without the configuration is asked again",
];

/// One line of a table: the heading above it, its first cell, the names in its others.
struct Line {
    number: usize,
    heading: String,
    rule: String,
    stories: Vec<String>,
    /// Its other cells say something.
    has_words: bool,
}

/// Compares the map with the folder of stories. Returns one line of counts.
pub(crate) fn check(complaints: &mut Vec<String>) -> Result<String> {
    let text = fs::read_to_string(MAP).with_context(|| format!("{MAP} cannot be read"))?;
    let mut present = BTreeSet::new();
    for entry in fs::read_dir(STORIES).with_context(|| format!("{STORIES} cannot be read"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            present.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    let exists = |path: &str| Path::new(path).exists();
    let lines = read_lines(&text);
    complaints.extend(compare(&lines, &present, &exists));
    let rules = lines.iter().filter(|line| section(line).is_some()).count();
    Ok(format!("{rules} rules in {MAP}, {} stories, {} lines that cannot occur", present.len(), CANNOT_OCCUR.len()))
}

fn read_lines(text: &str) -> Vec<Line> {
    let mut heading = String::new();
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut heading);
        }
        let Some(cells) = line.strip_prefix("| ") else { continue };
        let is_head = text.lines().nth(index + 1).is_some_and(|next| next.starts_with("|---"));
        if is_head {
            continue;
        }
        let (rule, rest) = cells.split_once('|').unwrap_or((cells, ""));
        let stories = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let (rule, has_words) = (rule.trim().to_owned(), rest.chars().any(char::is_alphanumeric));
        lines.push(Line { number: index + 1, heading: heading.clone(), rule, stories, has_words });
    }
    lines
}

/// The section of the specification that a line belongs to, if it is one of a rule.
fn section(line: &Line) -> Option<&'static str> {
    SECTIONS.iter().map(|(name, _)| *name).find(|name| line.heading.ends_with(&format!("{name})")))
}

fn compare(lines: &[Line], present: &BTreeSet<String>, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut named = BTreeSet::new();
    for line in lines {
        let cannot_occur = line.heading == CANNOT_OCCUR_HEADING;
        if line.stories.is_empty() && !cannot_occur {
            complaints.push(format!("{MAP}:{}: \"{}\" has no story; write one", line.number, line.rule));
        }
        for story in &line.stories {
            let known = if story.contains('/') { exists(story) } else { present.contains(story) };
            if !known {
                complaints.push(format!("{MAP}:{}: there is no {story}; correct the name", line.number));
            }
            named.insert(story.as_str());
        }
        if cannot_occur && !CANNOT_OCCUR.contains(&line.rule.as_str()) {
            complaints.push(format!("{MAP}:{}: \"{}\" may not be without a story", line.number, line.rule));
        } else if cannot_occur && !line.has_words {
            complaints.push(format!("{MAP}:{}: \"{}\" cannot occur; say why", line.number, line.rule));
        }
    }
    for story in present.iter().filter(|story| !named.contains(story.as_str())) {
        complaints
            .push(format!("{STORIES}/{story}.txt is not in {MAP}; put it into the line of the rule that it shows"));
    }
    let left_over =
        |rule: &&&str| !lines.iter().any(|line| line.heading == CANNOT_OCCUR_HEADING && line.rule == **rule);
    for rule in CANNOT_OCCUR.iter().filter(left_over) {
        complaints.push(format!("xtask/src/stories.rs: \"{rule}\" is no longer in {MAP}; take it out of CANNOT_OCCUR"));
    }
    for (name, expected) in SECTIONS {
        let shown = lines.iter().filter(|line| section(line) == Some(*name)).count();
        let without = CANNOT_OCCUR.iter().filter(|rule| rule.starts_with(&format!("{name} "))).count();
        if shown + without < *expected {
            complaints
                .push(format!("{MAP}: {name} has {expected} lines in the specification, here {}", shown + without));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str, stories: &[&str]) -> String {
        let present = stories.iter().map(|&story| story.to_owned()).collect();
        compare(&read_lines(text), &present, &|path| path == "ricci/tests/there.rs").join("\n")
    }

    #[test]
    fn a_line_without_a_story_a_story_without_a_line_and_a_wrong_name_are_told() {
        let text = "## Results (rhcs.md §2.2)\n| result | stories |\n|---|---|\n| 0 Success | |\n| -1 Failure | `gone` |\n\
                    | -18 | `ricci/tests/there.rs` |\n";
        let told = complaints(text, &["lonely"]);
        assert!(told.contains("docs/testing.md:4: \"0 Success\" has no story"), "{told}");
        assert!(told.contains("docs/testing.md:5: there is no gone"), "{told}");
        assert!(told.contains("tests/scenarios/lonely.txt is not in"), "{told}");
        assert!(told.contains("§2.2 has 20 lines in the specification, here 5"), "{told}");
        assert!(!told.contains("there.rs"), "{told}");
    }

    #[test]
    fn only_what_cannot_occur_may_be_without_a_story_and_only_with_its_reason() {
        let text = "## Rows that cannot occur\n| line | why |\n|---|---|\n| §3.1 started | x |\n\
                    | §3.1 uninitialized, checking | reserved |\n| §2.2 -14 S/Lang Script Error | |\n";
        let told = complaints(text, &[]);
        assert!(told.contains("\"§3.1 started\" may not be without a story"), "{told}");
        assert!(told.contains("\"§2.2 -3 Service not mastered locally\" is no longer in"), "{told}");
        assert!(told.contains("\"§2.2 -14 S/Lang Script Error\" cannot occur; say why"), "{told}");
        assert!(!told.contains("\"§3.1 uninitialized, checking\""), "{told}");
    }
}

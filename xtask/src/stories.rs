//! docs/testing.md, the map from the rules of the field to the stories that show them: every line has a story, every story
//! a line, and the list of what is not built yet only shrinks. Called by the house rules.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

const MAP: &str = "docs/testing.md";
const STORIES: &str = "tests/scenarios";
const NOT_BUILT_HEADING: &str = "Not built yet";

/// Sections of the specification and how many lines each has there, those that are not built included.
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

/// Lines that may be without a story. Take out what has got one; put nothing in.
const NOT_BUILT: &[&str] = &[
    "§2.2 -3 Service not mastered locally",
    "§2.2 -13 Fencing operation pending",
    "§2.2 -14 S/Lang Script Error",
    "§3.1 migrating",
    "§3.1 uninitialized, checking",
    "§3.3 a node without the configuration is asked again",
    "§3.5 nfslock",
    "§3.5 nfs_client_cache",
    "§3.5 hardrecovery",
    "§3.5 attributes of vm",
];

/// One line of a table: the heading above it, its first cell, the names in its others.
struct Line {
    number: usize,
    heading: String,
    rule: String,
    stories: Vec<String>,
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
    Ok(format!("{rules} rules in {MAP}, {} stories, {} lines not built yet", present.len(), NOT_BUILT.len()))
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
        lines.push(Line { number: index + 1, heading: heading.clone(), rule: rule.trim().to_owned(), stories });
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
        let not_built = line.heading == NOT_BUILT_HEADING;
        if line.stories.is_empty() && !not_built {
            complaints.push(format!("{MAP}:{}: \"{}\" has no story; write one", line.number, line.rule));
        }
        for story in &line.stories {
            let known = if story.contains('/') { exists(story) } else { present.contains(story) };
            if !known && !not_built {
                complaints.push(format!("{MAP}:{}: there is no {story}; correct the name", line.number));
            }
            named.insert(story.as_str());
        }
        if not_built && !NOT_BUILT.contains(&line.rule.as_str()) {
            complaints.push(format!("{MAP}:{}: \"{}\" may not be without a story", line.number, line.rule));
        }
    }
    for story in present.iter().filter(|story| !named.contains(story.as_str())) {
        complaints
            .push(format!("{STORIES}/{story}.txt is not in {MAP}; put it into the line of the rule that it shows"));
    }
    let left_over = |rule: &&&str| !lines.iter().any(|line| line.heading == NOT_BUILT_HEADING && line.rule == **rule);
    for rule in NOT_BUILT.iter().filter(left_over) {
        complaints.push(format!("xtask/src/stories.rs: \"{rule}\" is no longer in {MAP}; take it out of NOT_BUILT"));
    }
    for (name, expected) in SECTIONS {
        let built = lines.iter().filter(|line| section(line) == Some(*name)).count();
        let missing = NOT_BUILT.iter().filter(|rule| rule.starts_with(&format!("{name} "))).count();
        if built + missing < *expected {
            complaints
                .push(format!("{MAP}: {name} has {expected} lines in the specification, here {}", built + missing));
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
        assert!(told.contains("§2.2 has 20 lines in the specification, here 6"), "{told}");
        assert!(!told.contains("there.rs"), "{told}");
    }

    #[test]
    fn what_is_not_built_may_only_become_less() {
        let text = "## Not built yet\n| line | why |\n|---|---|\n| §3.1 started | |\n| §3.1 migrating | |\n";
        let told = complaints(text, &[]);
        assert!(told.contains("\"§3.1 started\" may not be without a story"), "{told}");
        assert!(told.contains("\"§3.5 nfslock\" is no longer in"), "{told}");
        assert!(!told.contains("\"§3.1 migrating\""), "{told}");
    }
}

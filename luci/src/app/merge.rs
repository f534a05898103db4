//! Brings an edit of the whole text onto a newer text, line by line: what was changed on one side is taken, what was changed
//! on both sides is not decided here. Pure.

use shared::conf::diff::{LineKind, compare_lines};

/// Lines of the base that one side replaced. A mere insertion replaces none.
#[derive(Debug, PartialEq, Eq)]
struct Replaced<'t> {
    from: usize,
    to: usize,
    by: Vec<&'t str>,
}

/// Both sides changed this place of the base, each in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clash {
    /// First line of the place in the base, counted from 1.
    pub(super) line: usize,
}

fn replaced<'t>(base: &[&'t str], changed: &[&'t str]) -> Vec<Replaced<'t>> {
    let mut all: Vec<Replaced<'t>> = Vec::new();
    let mut open: Option<Replaced<'t>> = None;
    let mut at = 0;
    for (kind, line) in compare_lines(base, changed) {
        if kind == LineKind::Both {
            all.extend(open.take());
            at += 1;
            continue;
        }
        let open = open.get_or_insert_with(|| Replaced { from: at, to: at, by: Vec::new() });
        if kind == LineKind::Old {
            at += 1;
            open.to = at;
        } else {
            open.by.push(line);
        }
    }
    all.extend(open);
    all
}

/// `theirs` with what `mine` changed of `base`. Changes that touch each other clash, unless they are the same.
pub(super) fn merge(base: &str, mine: &str, theirs: &str) -> Result<String, Vec<Clash>> {
    let (base, mine, theirs_lines): (Vec<&str>, Vec<&str>, Vec<&str>) =
        (base.lines().collect(), mine.lines().collect(), theirs.lines().collect());
    let (my_changes, their_changes) = (replaced(&base, &mine), replaced(&base, &theirs_lines));
    let clashes: Vec<Clash> = my_changes
        .iter()
        .flat_map(|my| their_changes.iter().map(move |their| (my, their)))
        .filter(|(my, their)| my != their && my.from <= their.to && their.from <= my.to)
        .map(|(my, their)| Clash { line: my.from.min(their.from) + 1 })
        .collect();
    if !clashes.is_empty() {
        return Err(clashes);
    }
    let mut changes: Vec<&Replaced<'_>> = their_changes.iter().collect();
    changes.extend(my_changes.iter().filter(|my| !their_changes.contains(my)));
    changes.sort_by_key(|change| (change.from, change.to));
    let mut merged: Vec<&str> = Vec::new();
    let mut at = 0;
    for change in changes {
        merged.extend(&base[at..change.from]);
        merged.extend(&change.by);
        at = change.to;
    }
    merged.extend(&base[at..]);
    let mut text = merged.join("\n");
    if theirs.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "a\nb\nc\nd\ne\nf\n";

    #[test]
    fn changes_in_different_places_are_both_kept() {
        let mine = "a\nB\nc\nd\ne\nf\ng\n";
        let theirs = "a\nb\nc\nE\nf\n";
        assert_eq!(merge(BASE, mine, theirs), Ok("a\nB\nc\nE\nf\ng\n".into()));
        assert_eq!(merge(BASE, BASE, theirs), Ok(theirs.into()));
        assert_eq!(merge(BASE, mine, BASE), Ok(mine.into()));
    }

    #[test]
    fn the_same_change_on_both_sides_is_made_once() {
        let both = "a\nb\nnew\nc\nd\ne\nf\n";
        assert_eq!(merge(BASE, both, both), Ok(both.into()));
    }

    #[test]
    fn changes_that_touch_are_nobodys_to_decide() {
        assert_eq!(merge(BASE, "a\nX\nc\nd\ne\nf\n", "a\nY\nc\nd\ne\nf\n"), Err(vec![Clash { line: 2 }]));
        assert_eq!(merge(BASE, "a\nb\nX\nc\nd\ne\nf\n", "a\nb\nY\nc\nd\ne\nf\n"), Err(vec![Clash { line: 3 }]));
        assert_eq!(merge(BASE, "a\nc\nd\ne\nf\n", "a\nY\nc\nd\ne\nf\n"), Err(vec![Clash { line: 2 }]));
    }

    #[test]
    fn an_empty_base_and_a_text_without_a_last_newline() {
        assert_eq!(merge("", "a\n", ""), Ok("a".into()));
        assert_eq!(merge("a", "a\nb", "a"), Ok("a\nb".into()));
    }
}

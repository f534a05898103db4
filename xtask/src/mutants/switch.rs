//! Puts every mutant of a file into it at once, each behind a switch: `a == b` becomes `(if is(7) { a != b } else { a == b })`.
//! One build then holds them all, and a run turns on one. What a mutant is, is cargo-mutants' word; here it is only placed.
//! A mutant that cannot be written so (no code can run where it stands, or the types differ) is left out and told.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// One change of the engine's text.
#[derive(Debug, Clone)]
pub(crate) struct Mutant {
    /// From 1; 0 means that the code is as it is.
    pub(crate) number: u32,
    pub(crate) file: String,
    /// In cargo-mutants' words, without the place.
    pub(crate) name: String,
    pub(crate) line: usize,
    /// What stands in the line that it changes.
    pub(crate) text: String,
    genre: String,
    replacement: String,
    span: Range<usize>,
}

impl Mutant {
    /// Reads an entry of `cargo mutants --list --json`; `source` is the text of its file.
    pub(crate) fn read(number: u32, entry: &Value, source: &str) -> Result<Self> {
        let word =
            |key: &str| entry[key].as_str().map(str::to_owned).with_context(|| format!("a mutant without {key}"));
        let place = |end: &str| {
            let number = |key: &str| entry["span"][end][key].as_u64().and_then(|value| usize::try_from(value).ok());
            let (line, column) = number("line").zip(number("column")).context("a mutant without its place")?;
            anyhow::Ok((line, offset(source, line, column - 1)))
        };
        let ((line, start), (_, end)) = (place("start")?, place("end")?);
        let name = word("name")?;
        let name = name.splitn(4, ':').nth(3).unwrap_or(&name).trim().to_owned();
        let text = source.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
        Ok(Self {
            number,
            file: word("file")?,
            name,
            line,
            text,
            genre: word("genre")?,
            replacement: word("replacement")?,
            span: start..end,
        })
    }

    /// The file with this change and no other.
    pub(crate) fn alone(&self, source: &str) -> String {
        format!("{}{}{}", &source[..self.span.start], self.replacement, &source[self.span.end..])
    }
}

/// The byte at which a line (from 1) has its column (from 0, in characters).
fn offset(source: &str, line: usize, column: usize) -> usize {
    let start: usize = source.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = &source[start..];
    start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
}

/// A file with switches, and which of them stand where in it.
pub(crate) struct Switched {
    pub(crate) text: String,
    /// Where the code of a mutant stands in `text`; an error of the compiler in there is its own.
    pub(crate) places: Vec<(Range<usize>, u32)>,
    /// Could not be placed.
    pub(crate) left_out: Vec<u32>,
}

/// Places the mutants of one file.
pub(crate) fn switch(source: &str, mutants: &[Mutant]) -> Result<Switched> {
    let file = syn::parse_file(source).context("the engine's text could not be read")?;
    let mut finder = Finder { source, wanted: by_span(mutants), wraps: Vec::new(), inserts: Vec::new() };
    finder.visit_file(&file);
    let Finder { wanted, mut wraps, inserts, .. } = finder;
    let left_out = wanted.values().flatten().map(|mutant| mutant.number).collect();
    // Outer before inner, so that at one place the inner is written closer to the code.
    wraps.sort_by_key(|wrap| (wrap.range.start, std::cmp::Reverse(wrap.range.end)));
    let mut pieces: BTreeMap<usize, Vec<Piece>> = BTreeMap::new();
    for insert in inserts {
        pieces.entry(insert.0).or_default().push(insert.1);
    }
    for wrap in &wraps {
        let place = pieces.entry(wrap.range.start).or_default();
        for (count, (number, text)) in wrap.choices.iter().enumerate() {
            let otherwise = if count == 0 { "(" } else { " else " };
            place.push(Piece {
                before: format!("{otherwise}if crate::mutant::is({number}) {{ "),
                own: text.clone(),
                number: *number,
                after: " }".to_owned(),
            });
        }
        place.push(Piece::plain(" else { "));
    }
    for wrap in wraps.iter().rev() {
        pieces.entry(wrap.range.end).or_default().insert(0, Piece::plain(" })"));
    }
    let (text, places) = render(source, &pieces);
    ensure!(text.len() >= source.len(), "switches only add");
    Ok(Switched { text, places, left_out })
}

fn render(source: &str, pieces: &BTreeMap<usize, Vec<Piece>>) -> (String, Vec<(Range<usize>, u32)>) {
    let (mut text, mut places, mut done) = (String::new(), Vec::new(), 0);
    for (&at, here) in pieces {
        text.push_str(&source[done..at]);
        done = at;
        for piece in here {
            let from = text.len();
            text.push_str(&piece.before);
            text.push_str(&piece.own);
            text.push_str(&piece.after);
            if piece.number > 0 {
                places.push((from..text.len(), piece.number));
            }
        }
    }
    text.push_str(&source[done..]);
    (text, places)
}

fn by_span(mutants: &[Mutant]) -> BTreeMap<(usize, usize), Vec<Mutant>> {
    let mut found: BTreeMap<(usize, usize), Vec<Mutant>> = BTreeMap::new();
    for mutant in mutants {
        found.entry((mutant.span.start, mutant.span.end)).or_default().push(mutant.clone());
    }
    found
}

struct Piece {
    before: String,
    own: String,
    number: u32,
    after: String,
}

impl Piece {
    fn plain(text: &str) -> Self {
        Self { before: text.to_owned(), own: String::new(), number: 0, after: String::new() }
    }

    fn of(mutant: &Mutant, before: &str, own: &str, after: &str) -> Self {
        Self { before: before.to_owned(), own: own.to_owned(), number: mutant.number, after: after.to_owned() }
    }
}

/// An expression, and what it is instead when a mutant is on.
struct Wrap {
    range: Range<usize>,
    choices: Vec<(u32, String)>,
}

/// Goes through a file and finds the syntax that each mutant changes.
struct Finder<'a> {
    source: &'a str,
    wanted: BTreeMap<(usize, usize), Vec<Mutant>>,
    wraps: Vec<Wrap>,
    inserts: Vec<(usize, Piece)>,
}

impl Finder<'_> {
    fn range(&self, node: &impl Spanned) -> Range<usize> {
        node.span().byte_range()
    }

    /// The mutants of this place and these genres.
    fn take(&mut self, range: &Range<usize>, genre: &str) -> Vec<Mutant> {
        let key = (range.start, range.end);
        let Some(here) = self.wanted.remove(&key) else { return Vec::new() };
        let (taken, left): (Vec<_>, Vec<_>) = here.into_iter().partition(|mutant| mutant.genre == genre);
        if !left.is_empty() {
            self.wanted.insert(key, left);
        }
        taken
    }

    /// Replaces the part `changed` of the expression `whole` by what each mutant says.
    fn wrap(&mut self, whole: Range<usize>, changed: &Range<usize>, mutants: &[Mutant]) {
        let (before, after) = (&self.source[whole.start..changed.start], &self.source[changed.end..whole.end]);
        let choices: Vec<_> =
            mutants.iter().map(|mutant| (mutant.number, format!("{before}{}{after}", mutant.replacement))).collect();
        if !choices.is_empty() {
            self.wraps.push(Wrap { range: whole, choices });
        }
    }

    fn visit_body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        // A hidden type is one type; another can only be tried alone.
        if matches!(&signature.output, syn::ReturnType::Type(_, kind) if matches!(**kind, syn::Type::ImplTrait(_))) {
            return;
        }
        let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) else { return };
        let range = self.range(first).start..self.range(last).end;
        for mutant in self.take(&range, "FnValue") {
            let piece = Piece::of(
                &mutant,
                &format!("if crate::mutant::is({}) {{ return ", mutant.number),
                &mutant.replacement,
                "; } ",
            );
            self.inserts.push((range.start, piece));
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.visit_body(&node.sig, &node.block);
        visit::visit_item_fn(self, node);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.visit_body(&node.sig, &node.block);
        visit::visit_impl_item_fn(self, node);
    }

    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        // A part of `if let … && …` is no value of its own.
        let binds = has_let(&node.left) || has_let(&node.right);
        let operator = self.range(&node.op);
        if !binds {
            let mutants = self.take(&operator, "BinaryOperator");
            self.wrap(self.range(node), &operator, &mutants);
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        let operator = self.range(&node.op);
        let mutants = self.take(&operator, "UnaryOperator");
        self.wrap(self.range(node), &operator, &mutants);
        visit::visit_expr_unary(self, node);
    }

    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        // Arms with guards do not count for the compiler: what they leave over must go somewhere.
        let has_rest = node.arms.last().is_some_and(|arm| arm.guard.is_none() && takes_all(&arm.pat));
        for arm in &node.arms {
            let deleted = if has_rest { self.take(&self.range(arm), "MatchArm") } else { Vec::new() };
            match &arm.guard {
                Some((_, guard)) => {
                    let range = self.range(guard);
                    let mut choices: Vec<_> =
                        deleted.iter().map(|mutant| (mutant.number, "false".to_owned())).collect();
                    let replaced = self.take(&range, "MatchArmGuard");
                    choices.extend(replaced.into_iter().map(|mutant| (mutant.number, mutant.replacement)));
                    if !choices.is_empty() {
                        self.wraps.push(Wrap { range, choices });
                    }
                }
                None => {
                    let end = self.range(&arm.pat).end;
                    for mutant in deleted {
                        let piece = Piece::of(&mutant, &format!(" if !crate::mutant::is({})", mutant.number), "", "");
                        self.inserts.push((end, piece));
                    }
                }
            }
        }
        visit::visit_expr_match(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        for pair in node.fields.pairs() {
            let field = self.range(pair.value());
            // cargo-mutants takes the comma along.
            let end = pair.punct().map_or(field.end, |comma| self.range(comma).end);
            for range in [field.clone(), field.start..end] {
                let mutants = self.take(&range, "StructField");
                self.wrap(self.range(node), &range, &mutants);
            }
        }
        visit::visit_expr_struct(self, node);
    }
}

fn takes_all(pattern: &syn::Pat) -> bool {
    match pattern {
        syn::Pat::Wild(_) => true,
        syn::Pat::Ident(name) => name.subpat.is_none() && name.ident.to_string().starts_with(char::is_lowercase),
        syn::Pat::Tuple(tuple) => tuple.elems.iter().all(takes_all),
        _ => false,
    }
}

fn has_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Mutant, switch};

    fn mutant(number: u32, genre: &str, replacement: &str, from: (u64, u64), to: (u64, u64), source: &str) -> Mutant {
        let place = |(line, column)| json!({ "line": line, "column": column });
        let entry = json!({ "file": "a.rs", "name": "a.rs:1:1: a change", "genre": genre, "replacement": replacement,
            "span": { "start": place(from), "end": place(to) } });
        Mutant::read(number, &entry, source).unwrap()
    }

    #[test]
    fn a_switch_stands_around_what_it_changes() {
        let source = "fn f(a: u8, b: u8) -> bool {\n    a == b && !g(a)\n}\n";
        let mutants = [
            mutant(1, "FnValue", "true", (2, 5), (2, 20), source),
            mutant(2, "BinaryOperator", "!=", (2, 7), (2, 9), source),
            mutant(3, "BinaryOperator", "||", (2, 12), (2, 14), source),
            mutant(4, "UnaryOperator", "", (2, 15), (2, 16), source),
        ];
        let switched = switch(source, &mutants).unwrap();
        let is = "crate::mutant::is";
        let equal = format!("(if {is}(2) {{ a != b }} else {{ a == b }})");
        let not = format!("(if {is}(4) {{ g(a) }} else {{ !g(a) }})");
        let both = format!("(if {is}(3) {{ a == b || !g(a) }} else {{ {equal} && {not} }})");
        let body = format!("if {is}(1) {{ return true; }} {both}");
        assert_eq!(switched.text, format!("fn f(a: u8, b: u8) -> bool {{\n    {body}\n}}\n"));
        assert!(switched.left_out.is_empty());
    }

    #[test]
    fn an_arm_is_deleted_by_its_guard_and_a_binding_condition_is_left_alone() {
        let source = "fn f(a: u8) {\n    match a {\n        1 => g(),\n        2 if h() => {}\n        _ => {}\n    }\n    if let Some(x) = k() && x > 1 {}\n}\n";
        let mutants = [
            mutant(1, "MatchArm", "", (3, 9), (3, 18), source),
            mutant(2, "MatchArm", "", (4, 9), (4, 23), source),
            mutant(3, "MatchArmGuard", "true", (4, 14), (4, 17), source),
            mutant(4, "BinaryOperator", "||", (7, 26), (7, 28), source),
        ];
        let switched = switch(source, &mutants).unwrap();
        assert!(switched.text.contains("1 if !crate::mutant::is(1) => g(),"), "{}", switched.text);
        let guard = "2 if (if crate::mutant::is(2) { false } else if crate::mutant::is(3) { true } else { h() }) => {}";
        assert!(switched.text.contains(guard), "{}", switched.text);
        assert_eq!(switched.left_out, [4]);
        assert_eq!(mutants[3].alone(source).lines().nth(6), Some("    if let Some(x) = k() || x > 1 {}"));
    }
}

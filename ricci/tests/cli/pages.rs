//! The lists of options in manual pages: their heads are made from the definitions of the commands, their prose is
//! written by hand and stays. A list is one of these if the comment [`MARK`] stands before it. An option that no such
//! list of a page has is added to the first, with the words that completion shows; one that the command no longer has
//! goes, and its prose with it. Items of other things than options stay as they are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap_complete::Shell;
use expect_test::expect_file;

/// Before each list that is made.
const MARK: &str = ".\\\" The heads of this list are made from the definitions of the options.";

/// An option as a page shows it.
pub(crate) struct Shown {
    /// `-m`, `--host`: every way to write it.
    pub(crate) spellings: Vec<String>,
    /// Its argument, in the macros of mdoc: `Ar member`.
    pub(crate) value: Option<String>,
    /// The words that follow, as a usage writes them: `NODE [OPTIONS]`.
    pub(crate) then: String,
    pub(crate) help: String,
    /// Told only where somebody has written of it.
    pub(crate) hidden: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The page of this program is as its options make it.
pub(crate) fn holds(program: &str, options: &[Shown]) {
    let path = root().join(format!("docs/man/{program}.8"));
    let page = std::fs::read_to_string(&path).unwrap();
    expect_file![path].assert_eq(&render(&page, options));
}

/// What packages ship for the shells of a program that declares its options to clap.
pub(crate) fn completions_hold(command: &mut clap::Command) {
    let (program, folder) = (command.get_name().to_owned(), root().join("packaging/completions"));
    let names = [
        (Shell::Bash, "bash", program.clone()),
        (Shell::Zsh, "zsh", format!("_{program}")),
        (Shell::Fish, "fish", format!("{program}.fish")),
    ];
    for (shell, name, file) in names {
        let mut made = Vec::new();
        clap_complete::generate(shell, command, program.as_str(), &mut made);
        expect_file![folder.join(name).join(file)].assert_eq(&String::from_utf8(made).unwrap());
    }
}

/// The options of a program that declares them to clap, those of its commands included.
pub(crate) fn of_clap(mut command: clap::Command) -> Vec<Shown> {
    command.build();
    let mut options: Vec<Shown> = Vec::new();
    let mut commands = vec![&command];
    while let Some(command) = commands.pop() {
        for argument in command.get_arguments().filter(|argument| !argument.is_positional()) {
            let shown = of_argument(argument);
            if !options.iter().any(|known| known.spellings == shown.spellings) {
                options.push(shown);
            }
        }
        commands.extend(command.get_subcommands().filter(|command| !command.is_hide_set()));
    }
    options
}

fn of_argument(argument: &clap::Arg) -> Shown {
    let letter = argument.get_short().map(|letter| format!("-{letter}"));
    let words: Vec<String> = argument.get_possible_values().iter().map(|word| word.get_name().to_owned()).collect();
    let name = argument.get_value_names().and_then(|names| names.first()).map(|name| name.to_lowercase());
    let value = match argument.get_action().takes_values() {
        false => None,
        true if words.is_empty() => name.map(|name| format!("Ar {name}")),
        true => Some(format!("Cm {}", words.join(" | "))),
    };
    Shown {
        spellings: letter.into_iter().chain(argument.get_long().map(|long| format!("--{long}"))).collect(),
        value,
        then: String::new(),
        help: argument.get_help().map(ToString::to_string).unwrap_or_default(),
        hidden: argument.is_hide_set(),
    }
}

impl Shown {
    fn head(&self) -> String {
        let flags: Vec<String> = self.spellings.iter().map(|spelling| format!("Fl {}", &spelling[1..])).collect();
        let mut head = flags.join(" , ");
        if let Some(value) = &self.value {
            head.push_str(&format!(" {value}"));
        }
        for word in self.then.split_whitespace() {
            head.push_str(&following(word));
        }
        head
    }

    /// The words of the completion as a sentence.
    fn sentence(&self) -> String {
        let mut letters = self.help.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        let dot = if self.help.ends_with('.') { "" } else { "." };
        format!("{first}{}{dot}", letters.as_str())
    }
}

/// `[NODE]` and its like in the macros of mdoc; brackets may open in one word and close in a later one.
fn following(word: &str) -> String {
    let (inner, opened) = (word.trim_start_matches('['), word.len() - word.trim_start_matches('[').len());
    let (name, closed) = (inner.trim_end_matches(']'), inner.len() - inner.trim_end_matches(']').len());
    let name = match name.strip_prefix('-') {
        Some(flag) => format!(" Fl {flag}"),
        None if name.chars().all(|letter| letter.is_ascii_uppercase()) => format!(" Ar {}", name.to_lowercase()),
        None => format!(" Cm {name}"),
    };
    format!("{}{name}{}", " Oo".repeat(opened), " Oc".repeat(closed))
}

/// The page with the heads of its lists as `options` has them.
pub(crate) fn render(page: &str, options: &[Shown]) -> String {
    let lines: Vec<&str> = page.lines().collect();
    let listed = listed(&lines);
    let missing = |option: &&Shown| !option.spellings.iter().any(|spelling| listed.contains(spelling));
    let offered = options.iter().filter(|option| !option.hidden);
    let mut missing: Vec<&Shown> = offered.filter(missing).collect();
    let mut out = String::new();
    let mut at = 0;
    while at < lines.len() {
        out.push_str(&format!("{}\n", lines[at]));
        at += 1;
        if lines[at - 1] == MARK {
            out.push_str(&format!("{}\n", lines[at]));
            let end = end_of_list(&lines, at);
            render_items(&lines[at + 1..end], options, &mut out);
            missing.drain(..).for_each(|option| render_item(&[option], &[], &mut out));
            at = end;
        }
    }
    assert!(missing.is_empty(), "no list is marked with '{MARK}'");
    out
}

/// Where the list that begins at `start` ends; lists may lie in it.
fn end_of_list(lines: &[&str], start: usize) -> usize {
    let mut depth = 0;
    for (at, line) in lines.iter().enumerate().skip(start) {
        depth += usize::from(line.starts_with(".Bl"));
        depth -= usize::from(line.starts_with(".El"));
        if depth == 0 {
            return at;
        }
    }
    panic!("a list does not end")
}

/// Each item with its head and its lines.
fn items<'p>(lines: &[&'p str]) -> Vec<(&'p str, Vec<&'p str>)> {
    let mut items: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut depth = 0;
    for line in lines {
        if depth == 0 && line.starts_with(".It ") {
            items.push((line, Vec::new()));
            continue;
        }
        depth += usize::from(line.starts_with(".Bl"));
        depth -= usize::from(line.starts_with(".El"));
        items.last_mut().expect("a list begins with an item").1.push(line);
    }
    items
}

/// The spellings of the options in a head.
fn spellings_in(head: &str) -> Vec<String> {
    let words: Vec<&str> = head.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "Fl").map(|pair| format!("-{}", pair[1])).collect()
}

/// What all marked lists of the page name.
fn listed(lines: &[&str]) -> BTreeSet<String> {
    let marks = lines.iter().enumerate().filter(|(_, line)| **line == MARK).map(|(at, _)| at + 1);
    let lists = marks.flat_map(|start| items(&lines[start + 1..end_of_list(lines, start)]));
    lists.flat_map(|(head, _)| spellings_in(head)).collect()
}

fn render_items(lines: &[&str], options: &[Shown], out: &mut String) {
    for (head, body) in items(lines) {
        if spellings_in(head).is_empty() {
            // A word of the command line.
            out.push_str(&format!("{head}\n"));
            body.iter().for_each(|line| out.push_str(&format!("{line}\n")));
            continue;
        }
        let mut named: Vec<&Shown> = Vec::new();
        for spelling in spellings_in(head) {
            let option = options.iter().find(|option| option.spellings.contains(&spelling));
            // `--nodeid` in the head of `--addnode` is a word that follows it.
            let follows = named.iter().any(|other| other.then.contains(&spelling));
            if let Some(option) =
                option.filter(|option| !follows && !named.iter().any(|other| std::ptr::eq(*other, *option)))
            {
                named.push(option);
            }
        }
        if !named.is_empty() {
            render_item(&named, &body, out);
        }
    }
}

fn render_item(named: &[&Shown], body: &[&str], out: &mut String) {
    let heads: Vec<String> = named.iter().map(|option| option.head()).collect();
    out.push_str(&format!(".It {}\n", heads.join(" , ")));
    if body.is_empty() {
        let sentences: Vec<String> = named.iter().map(|option| option.sentence()).collect();
        out.push_str(&format!("{}\n", sentences.join("\n")));
    }
    body.iter().for_each(|line| out.push_str(&format!("{line}\n")));
}

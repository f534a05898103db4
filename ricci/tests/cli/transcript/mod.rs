//! Transcripts of commands in `tests/commands/*.txt`: what is typed, and to the byte what comes of it. Read like a session
//! at a terminal; the expectations come from the field's documentation. `UPDATE_EXPECT=1` rewrites them, the
//! reviewer reads the difference.
//!
//! ```text
//! # Any comment.
//! stage cluster                  where the following commands are typed (see `stage`)
//! file name                      a file of the stage, given by the lines below it
//! | its text
//! case unknown-member            the next command is the command's case of this kind of bad input
//! no case clustat no-daemon: why the command cannot meet this kind
//! $ clustat -m node1             the command, words split as a shell does with '…'
//! < absolutely                   typed on standard input
//! head N                         only so many lines of standard output are looked at: the rest is a table of its own
//! ^C TEXT                        interrupted once TEXT was printed
//! > a line of standard output    `$` stands behind one that ends with a space
//! ! a line of standard error
//! ? a question that changes something
//! + a line that a file has now   of which file, says the line before: `@ cluster.conf`
//! - a line that it had
//! = 0                            the exit code
//! ```

pub(crate) mod difference;
pub(crate) mod stage;

use std::path::{Path, PathBuf};

use crate::fake::Ran;

/// The kinds of bad input that every command must have a case of.
pub(crate) const KINDS: [&str; 7] = [
    "unknown-service",
    "unknown-member",
    "unknown-option",
    "unreadable-file",
    "no-daemon",
    "no-permission",
    "no-corosync",
];

/// One file.
pub(crate) struct Transcript {
    pub(crate) path: PathBuf,
    pub(crate) steps: Vec<Step>,
}

/// One thing in a file.
#[derive(Debug)]
pub(crate) enum Step {
    /// A comment, an empty line.
    Words(String),
    Stage(String),
    File {
        name: String,
        lines: Vec<String>,
    },
    Case(String),
    NoCase(String),
    Command(Command),
}

/// What is typed.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) line: String,
    pub(crate) typed: Option<String>,
    /// Interrupted once this was printed.
    pub(crate) interrupted_after: Option<String>,
    /// Only so many lines of what it prints count.
    pub(crate) head: Option<usize>,
}

impl Command {
    pub(crate) fn words(&self) -> Vec<String> {
        split(&self.line)
    }
}

/// All transcripts.
pub(crate) fn all() -> Vec<Transcript> {
    let folder = folder();
    let mut names: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.into_iter().map(|path| read(&path)).collect()
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands")
}

/// Reads one file.
pub(crate) fn read(path: &Path) -> Transcript {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut steps = Vec::new();
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "$" => {
                let line = rest.to_owned();
                steps.push(Step::Command(Command { line, typed: None, interrupted_after: None, head: None }));
            }
            "<" => last_command(&mut steps).typed.get_or_insert_default().push_str(&format!("{rest}\n")),
            "head" => last_command(&mut steps).head = Some(rest.parse().unwrap()),
            "^C" => last_command(&mut steps).interrupted_after = Some(rest.to_owned()),
            "|" => match steps.last_mut() {
                Some(Step::File { lines, .. }) => lines.push(rest.to_owned()),
                _ => panic!("{}: no file is begun before: {line}", path.display()),
            },
            // Told anew by whoever runs it.
            ">" | "!" | "?" | "+" | "-" | "=" | "@" => {}
            "stage" => steps.push(Step::Stage(rest.to_owned())),
            "file" => steps.push(Step::File { name: rest.to_owned(), lines: Vec::new() }),
            "case" => steps.push(Step::Case(rest.to_owned())),
            "no" => steps.push(Step::NoCase(rest.to_owned())),
            "" => steps.push(Step::Words(String::new())),
            _ if word.starts_with('#') => steps.push(Step::Words(line.to_owned())),
            _ => panic!("{}: what is this line: {line}", path.display()),
        }
    }
    Transcript { path: path.to_owned(), steps }
}

fn last_command(steps: &mut [Step]) -> &mut Command {
    match steps.last_mut() {
        Some(Step::Command(command)) => command,
        other => panic!("no command before: {other:?}"),
    }
}

/// Splits as a shell does that knows blanks and single quotes.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    for letter in line.chars() {
        match letter {
            '\'' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            ' ' if !is_quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// Runs every command of a file by `run`, on stages that `stage` makes, and gives the file as it should be.
pub(crate) fn play<S>(
    transcript: &Transcript,
    mut stage: impl FnMut(&str) -> S,
    mut file: impl FnMut(&mut S, &str, &str),
    mut run: impl FnMut(&mut S, &Command) -> String,
) -> String {
    let mut out = String::new();
    let mut now = None;
    for step in &transcript.steps {
        match step {
            Step::Words(words) => out.push_str(&format!("{words}\n")),
            Step::Stage(name) => {
                out.push_str(&format!("stage {name}\n"));
                now = Some(stage(name));
            }
            Step::File { name, lines } => {
                out.push_str(&format!("file {name}\n"));
                lines.iter().for_each(|line| out.push_str(&format!("| {line}\n").replace("| \n", "|\n")));
                let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                file(now.as_mut().expect("a stage stands before a file"), name, &text);
            }
            Step::Case(kind) => out.push_str(&format!("case {kind}\n")),
            Step::NoCase(why) => out.push_str(&format!("no {why}\n")),
            Step::Command(command) => {
                out.push_str(&format!("$ {}\n", command.line));
                let typed = command.typed.as_deref().unwrap_or_default();
                typed.lines().for_each(|line| out.push_str(&format!("< {line}\n")));
                if let Some(count) = command.head {
                    out.push_str(&format!("head {count}\n"));
                }
                if let Some(text) = &command.interrupted_after {
                    out.push_str(&format!("^C {text}\n"));
                }
                out.push_str(&run(now.as_mut().expect("a stage stands before a command"), command));
            }
        }
    }
    out
}

/// What a command did, as lines of a transcript.
pub(crate) fn render(ran: &Ran, asked: &[String], changed: &str) -> String {
    let lines = |mark: &str, text: &str| -> String {
        text.split_inclusive('\n')
            .map(|line| {
                let (line, end) = match line.strip_suffix('\n') {
                    Some(line) => (line, ""),
                    None => (line, "\\"),
                };
                let end = if line.ends_with(' ') { "$" } else { end };
                format!("{mark} {line}{end}\n").replace(&format!("{mark} \n"), &format!("{mark}\n"))
            })
            .collect()
    };
    let asked: String = asked.iter().map(|ask| format!("? {ask}\n")).collect();
    format!("{}{}{asked}{changed}= {}\n", lines(">", &ran.out), lines("!", &ran.err), ran.code)
}

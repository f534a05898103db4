//! The words and letters of `cman_tool`. Pure: arguments in, what to do out. Words whose work is done elsewhere today
//! are refused with the sentence that says where.

use std::time::Duration;

use super::layout::{Column, NodesView};
use crate::cli::definition::{Completes, Definition, Live, Operands, flag, value};
use crate::cli::getopt::{Getopt, Item};

/// `-D`: what becomes of what resource agents find wrong.
const WORDS_OF_D: [&str; 3] = ["fail", "warn", "none"];

/// `cman_tool` as its user types it.
pub const DEFINITION: Definition = Definition {
    program: "cman_tool",
    purpose: "the members, votes and configuration of a cluster",
    options: &[
        flag('a', "with nodes: also their addresses"),
        flag('f', "with nodes: also when they were fenced last"),
        value('F', "COLUMNS", Completes::Words(&["id", "name", "type", "addr"]), "with nodes: only these columns"),
        value('n', "NODE", Completes::Live(Live::Nodes), "with nodes, votes and kill: the node"),
        flag('r', "with version: give cluster.conf to all members"),
        flag('S', "with version -r: accepted, without effect").hidden(),
        value('D', "WORD", Completes::Words(&WORDS_OF_D), "with version -r: fail, or warn, if an agent finds errors"),
        flag('q', "with wait: until there is quorum"),
        value('t', "SECONDS", Completes::Nothing, "with wait: at most SECONDS"),
        value('e', "VOTES", Completes::Nothing, "with expected: that many votes"),
        value('v', "VOTES", Completes::Nothing, "with votes: that many votes"),
        flag('d', "accepted, without effect").hidden(),
        // Of join: told that cluster.conf says it.
        value('c', "NAME", Completes::Nothing, "no meaning any more").hidden(),
        flag('w', "no meaning any more").hidden(),
        flag('x', "no meaning any more").hidden(),
        flag('X', "no meaning any more").hidden(),
        flag('A', "no meaning any more").hidden(),
        flag('V', "print the version of this program"),
        flag('h', "print a short help"),
        flag('?', "print a short help").hidden(),
    ],
    operands: Operands::Words(
        &["status", "nodes", "services", "version", "wait", "expected", "votes", "kill", "leave"],
        Completes::Nothing,
    ),
};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Status,
    Nodes(NodesView),
    Services,
    Version,
    /// `version -r`.
    Activate(Terms),
    Wait {
        quorate: bool,
        /// `None`: for ever.
        limit: Option<Duration>,
    },
    Expected(u32),
    Votes {
        votes: u32,
        node: Option<String>,
    },
    Kill(Vec<String>),
    Leave,
    ProgramVersion,
    Usage,
    Refused {
        sentence: String,
        usage: bool,
    },
}

/// `version -r -D`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// What agents refuse is only warned of.
    pub(super) despite_agents: bool,
    /// Warnings are not even printed.
    pub(super) is_silent: bool,
}

/// What came with the word.
#[derive(Default)]
struct Given {
    view: NodesView,
    nodes: Vec<String>,
    activate: bool,
    terms: Terms,
    quorate: bool,
    timeout: Option<String>,
    expected: Option<String>,
    votes: Option<String>,
}

pub(super) fn parse(arguments: Vec<String>) -> Parsed {
    let mut getopt = Getopt::new(&DEFINITION, arguments);
    let mut given = Given::default();
    for item in getopt.by_ref() {
        match item {
            Item::Flag('a') => given.view.addresses = true,
            Item::Flag('f') => given.view.fencing = true,
            Item::Flag('r') => given.activate = true,
            Item::Flag('q') => given.quorate = true,
            // All members take a new version together and check it; there is nothing to leave out.
            Item::Flag('S' | 'd') => {}
            Item::Value('D', word) => match word.to_ascii_lowercase().as_str() {
                "fail" => given.terms = Terms::default(),
                "warn" => given.terms = Terms { despite_agents: true, is_silent: false },
                "none" => given.terms = Terms { despite_agents: true, is_silent: true },
                _ => return wrong(format!("-D takes fail, warn or none, not '{word}'")),
            },
            Item::Flag('V') => return Parsed::ProgramVersion,
            Item::Flag('h' | '?') => return Parsed::Usage,
            Item::Value('n', node) => given.nodes.push(node),
            Item::Value('t', text) => given.timeout = Some(text),
            Item::Value('e', text) => given.expected = Some(text),
            Item::Value('v', text) => given.votes = Some(text),
            Item::Value('F', text) => {
                let columns: Option<Vec<Column>> = text.split(',').map(Column::parse).collect();
                match columns {
                    Some(columns) => given.view.columns = Some(columns),
                    None => return wrong(format!("-F takes a list of id, name, type and addr, not '{text}'")),
                }
            }
            Item::Unknown(sentence) => return wrong(sentence),
            Item::Flag(letter) | Item::Value(letter, _) => {
                return elsewhere(&format!(
                    "-{letter} has no meaning any more: corosync is configured by cluster.conf"
                ));
            }
            Item::Long(..) => return Parsed::Usage,
        }
    }
    word(given, getopt.into_operands())
}

fn word(mut given: Given, operands: Vec<String>) -> Parsed {
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    match operands[..] {
        [] => wrong("say what to do".into()),
        ["status"] => Parsed::Status,
        ["nodes"] => {
            given.view.only = given.nodes.pop();
            Parsed::Nodes(given.view)
        }
        ["services"] => Parsed::Services,
        // The version was once an argument of -r; the file says it.
        ["version"] | ["version", _] if given.activate => Parsed::Activate(given.terms),
        ["version"] => Parsed::Version,
        ["wait"] => wait(&given),
        ["expected"] => match number(given.expected.as_deref()) {
            Some(votes) => Parsed::Expected(votes),
            None => wrong("expected needs -e with the number of votes".into()),
        },
        ["votes"] => match number(given.votes.as_deref()) {
            Some(votes) => Parsed::Votes { votes, node: given.nodes.pop() },
            None => wrong("votes needs -v with the number of votes".into()),
        },
        ["kill"] if given.nodes.is_empty() => wrong("kill needs -n with the name of a node".into()),
        ["kill"] => Parsed::Kill(given.nodes),
        ["leave"] => Parsed::Leave,
        ["leave", "remove"] => elsewhere(
            "'leave remove' has no meaning any more: take the node out of cluster.conf and the votes expected follow",
        ),
        ["leave", "force"] => elsewhere(
            "'leave force' has no meaning any more: the others would fence this node; systemctl stop rgmanager moves its services away first",
        ),
        ["join"] => elsewhere("'join' has no meaning any more: systemctl start corosync rgmanager joins the cluster"),
        ["debug"] => elsewhere("'debug' has no meaning any more: corosync logs to its log file and to the journal"),
        ["status" | "nodes" | "services" | "version" | "wait" | "expected" | "votes" | "kill" | "leave", other, ..] => {
            wrong(format!("'{other}' is one argument too many"))
        }
        [other, ..] => wrong(format!("unknown operation '{other}'")),
    }
}

fn wait(given: &Given) -> Parsed {
    match given.timeout.as_deref() {
        // 0 was the original's way to say "for ever".
        None | Some("0") => Parsed::Wait { quorate: given.quorate, limit: None },
        Some(text) => match text.parse() {
            Ok(seconds) => Parsed::Wait { quorate: given.quorate, limit: Some(Duration::from_secs(seconds)) },
            Err(_) => wrong(format!("-t takes a number of seconds, not '{text}'")),
        },
    }
}

fn number(text: Option<&str>) -> Option<u32> {
    text?.parse().ok().filter(|number| *number > 0)
}

fn wrong(sentence: String) -> Parsed {
    Parsed::Refused { sentence, usage: true }
}

fn elsewhere(sentence: &str) -> Parsed {
    Parsed::Refused { sentence: sentence.to_owned(), usage: false }
}

//! `fence_tool`: who is in the fence domain and whom it fences (rhcs.md §9.2). Only shows: there is no domain to join
//! or to leave any more, because every rgmanager belongs to it.

use std::process::ExitCode;
use std::time::Duration;

use super::clock::Zone;
use super::console::{complain, print};
use super::definition::{Completes, Definition, Operands, flag, value};
use super::fence_domain::{render_domain, render_dump, render_nodes};
use super::getopt::{self, Getopt, Item};
use super::{VERSION, rgmanager_status};

/// For the one question to rgmanager.
const LIMIT: Duration = Duration::from_secs(2);

const USAGE: &str = "\
usage: fence_tool ls [-n] | dump
    ls        the fence domain of this node
    -n        with ls: also every node and how it was fenced last
    dump      all of it, with attempts under way and what agents said
    -V        print the version
    -h        print this
";

/// `fence_tool` as its user types it.
pub const DEFINITION: Definition = Definition {
    program: "fence_tool",
    purpose: "the fence domain",
    options: &[
        flag('n', "with ls: also every node and how it was fenced last"),
        value('q', "SECONDS", Completes::Nothing, "of join, which is not needed any more").hidden(),
        value('m', "SECONDS", Completes::Nothing, "of join, which is not needed any more").hidden(),
        value('w', "SECONDS", Completes::Nothing, "of join, which is not needed any more").hidden(),
        flag('V', "print the version"),
        flag('h', "print a short help"),
    ],
    operands: Operands::Words(&["ls", "dump"], Completes::Nothing),
};

enum Parsed {
    List {
        nodes: bool,
    },
    Dump,
    Version,
    Usage,
    /// A sentence for stderr; the usage follows if set.
    Refused {
        sentence: String,
        usage: bool,
    },
}

/// Runs the command.
pub fn main() -> ExitCode {
    let shown = match parse(getopt::process_arguments()) {
        Parsed::List { nodes } => rgmanager_status::ask(LIMIT).map(|status| {
            let all = if nodes { render_nodes(&status) } else { String::new() };
            format!("{}{all}", render_domain(&status))
        }),
        Parsed::Dump => rgmanager_status::ask(LIMIT).map(|status| render_dump(&status, Zone::local())),
        Parsed::Version => Ok(format!("fence_tool {VERSION}\n")),
        Parsed::Usage => Ok(USAGE.to_owned()),
        Parsed::Refused { sentence, usage: true } => Err(format!("{sentence}\n{}", USAGE.trim_end())),
        Parsed::Refused { sentence, usage: false } => Err(sentence),
    };
    match shown {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(sentence) => {
            complain(&format!("fence_tool: {sentence}"));
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: Vec<String>) -> Parsed {
    let refused = |sentence: String, usage| Parsed::Refused { sentence, usage };
    let mut getopt = Getopt::new(&DEFINITION, arguments);
    let mut nodes = false;
    for item in getopt.by_ref() {
        match item {
            Item::Flag('n') => nodes = true,
            Item::Flag('V') => return Parsed::Version,
            // Of join and leave.
            Item::Value(..) => {}
            Item::Unknown(sentence) => return refused(sentence, true),
            Item::Flag(_) | Item::Long(..) => return Parsed::Usage,
        }
    }
    let operands = getopt.into_operands();
    match operands.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ls"] => Parsed::List { nodes },
        ["dump"] => Parsed::Dump,
        ["join"] => refused(
            "nothing has to join: a node is in the fence domain while rgmanager runs on it (systemctl start rgmanager)".into(),
            false,
        ),
        ["leave"] => refused(
            "nothing can leave by itself: a node is in the fence domain while rgmanager runs on it (systemctl stop rgmanager)".into(),
            false,
        ),
        [] => refused("say ls or dump".into(), true),
        [other] => refused(format!("'{other}' is none of ls, dump"), true),
        [_, other, ..] => refused(format!("'{other}' is one argument too many"), true),
    }
}

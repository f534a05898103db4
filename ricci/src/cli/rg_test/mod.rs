//! `rg_test`: what a cluster.conf means, without a cluster (rhcs.md §5.8): its resources, trees and failover domains,
//! the order in which a service starts and stops, what another version would change, where a service would go, and the types
//! that are known.
//!
//! Reads a file and prints. Only `test FILE start|stop|status TYPE NAME` runs agents, and not those of a service that rgmanager holds.

mod delta;
mod describe;
mod execute;
mod noop;
mod rank;

use std::path::PathBuf;
use std::process::ExitCode;

use shared::conf::delta::Delta;
use shared::conf::model::Conf;
use shared::conf::{Loaded, Severity, load};

pub use self::delta::render_delta;
pub use self::describe::{render_conf, render_rules};
pub use self::noop::{NotFound, Operation, render_noop};
pub use self::rank::{Imagined, Ranked, Unfit, rank, render_rank};
use super::conf_file::{read, render_findings};
use super::console::{complain, print};
use super::definition::{Completes, Definition, Live, Operands, flag, long, long_value, value};
use super::{VERSION, getopt};

const USAGE: &str = "\
usage: rg_test test FILE
           what FILE defines: resources, trees, failover domains
       rg_test test FILE start|stop|status TYPE NAME
           runs the agents of TYPE NAME on this node, in order; the service must
           be disabled or frozen, or rgmanager must not run
       rg_test noop FILE start|stop|status TYPE NAME
           in which order the resources of TYPE NAME are started, stopped or
           checked; runs nothing
       rg_test delta OLD NEW [-o json]
           what stops and starts when NEW follows OLD, and what changes without
           a restart
       rg_test rank FILE SERVICE [--online NODE,NODE] [--owner NODE]
                    [--state STATE] [-o json]
           where the failover domain of SERVICE wants it, the best node first
       rg_test rules
           the resource types, what runs them, and their attributes
       rg_test -v
           the version
";

/// `rg_test` as its user types it.
pub const DEFINITION: Definition = Definition {
    program: "rg_test",
    purpose: "what a cluster.conf means",
    options: &[
        long_value("online", "NODES", Completes::Live(Live::Nodes), "with rank: the nodes that are online"),
        long_value("owner", "NODE", Completes::Live(Live::Nodes), "with rank: the present owner"),
        long_value("state", "STATE", Completes::Nothing, "with rank: the state of the service"),
        value('o', "FORMAT", Completes::Words(&["json"]), "with delta and rank: print in this format"),
        flag('v', "print the version"),
        flag('V', "print the version").hidden(),
        flag('h', "print a short help").hidden(),
        long("help", "print a short help").hidden(),
        flag('?', "print a short help").hidden(),
    ],
    operands: Operands::Words(&["test", "noop", "delta", "rank", "rules"], Completes::File),
};

enum Parsed {
    Test(PathBuf),
    Noop {
        file: PathBuf,
        operation: Operation,
        kind: String,
        name: String,
    },
    Execute {
        file: PathBuf,
        operation: Operation,
        kind: String,
        name: String,
    },
    Delta {
        old: PathBuf,
        new: PathBuf,
        form: Form,
    },
    Rank {
        file: PathBuf,
        imagined: Imagined,
        form: Form,
    },
    Rules,
    Version,
    Usage,
    /// What is wrong with the arguments.
    Unknown(String),
}

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

/// Runs the command.
pub fn main() -> ExitCode {
    match parse(&getopt::process_arguments()) {
        Parsed::Test(file) => test(&file),
        Parsed::Noop { file, operation, kind, name } => noop(&file, operation, &kind, &name),
        Parsed::Execute { file, operation, kind, name } => match usable(&file) {
            Some(conf) => execute::execute(&file, &conf, operation, &kind, &name),
            None => ExitCode::FAILURE,
        },
        Parsed::Delta { old, new, form } => delta(&old, &new, form),
        Parsed::Rank { file, imagined, form } => rank_nodes(&file, &imagined, form),
        Parsed::Rules => {
            print(&render_rules());
            ExitCode::SUCCESS
        }
        Parsed::Version => {
            print(&format!("rg_test version {VERSION}\n"));
            ExitCode::SUCCESS
        }
        Parsed::Usage => {
            print(USAGE);
            ExitCode::SUCCESS
        }
        Parsed::Unknown(sentence) => {
            complain(&format!("rg_test: {sentence}\n{USAGE}"));
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Parsed {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["test", file] => Parsed::Test(file.into()),
        ["noop", file, operation, kind, name] => match Operation::parse(operation) {
            Some(operation) => Parsed::Noop { file: file.into(), operation, kind: kind.into(), name: name.into() },
            None => Parsed::Unknown(format!("'{operation}' is none of start, stop, status")),
        },
        ["test", file, operation, kind, name] => match Operation::parse(operation) {
            Some(operation) => Parsed::Execute { file: file.into(), operation, kind: kind.into(), name: name.into() },
            None => Parsed::Unknown(format!("'{operation}' is none of start, stop, status")),
        },
        ["delta", old, new] => Parsed::Delta { old: old.into(), new: new.into(), form: Form::Text },
        ["delta", old, new, "-o", "json"] => Parsed::Delta { old: old.into(), new: new.into(), form: Form::Json },
        ["rank", file, service, ref rest @ ..] => parse_rank(file, service, rest),
        ["rules"] => Parsed::Rules,
        ["-v" | "-V"] => Parsed::Version,
        ["-h" | "-?" | "--help"] => Parsed::Usage,
        [] => Parsed::Unknown("no command given".into()),
        ["test" | "noop" | "delta" | "rank" | "rules", ..] => {
            Parsed::Unknown(format!("wrong number of arguments for '{}'", words[0]))
        }
        [other, ..] => Parsed::Unknown(format!("there is no command '{other}'")),
    }
}

fn test(file: &std::path::Path) -> ExitCode {
    let Some(loaded) = loaded(file, Severity::Info) else { return ExitCode::FAILURE };
    let failed = loaded.has_errors();
    if let Some(conf) = &loaded.conf {
        print(&format!("Running in test mode.\n{}", render_conf(conf)));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn parse_rank(file: &str, service: &str, options: &[&str]) -> Parsed {
    let mut imagined = Imagined { service: service.to_owned(), ..Imagined::default() };
    let mut form = Form::Text;
    for pair in options.chunks(2) {
        match *pair {
            ["--online", nodes] => imagined.online = Some(nodes.split(',').map(str::to_owned).collect()),
            ["--owner", node] => imagined.owner = Some(node.to_owned()),
            ["--state", state] => imagined.state = Some(state.to_owned()),
            ["-o", "json"] => form = Form::Json,
            [option, ..] => return Parsed::Unknown(format!("'{option}' is unknown here or lacks its value")),
            [] => {}
        }
    }
    Parsed::Rank { file: file.into(), imagined, form }
}

fn delta(old: &std::path::Path, new: &std::path::Path, form: Form) -> ExitCode {
    let (Some(old), Some(new)) = (usable(old), usable(new)) else { return ExitCode::FAILURE };
    match form {
        Form::Text => print(&format!("Running in test mode.\n{}", render_delta(&old, &new))),
        Form::Json => print_json(&Delta::between(&old, &new)),
    }
    ExitCode::SUCCESS
}

fn rank_nodes(file: &std::path::Path, imagined: &Imagined, form: Form) -> ExitCode {
    let Some(conf) = usable(file) else { return ExitCode::FAILURE };
    match (rank(&conf, imagined), form) {
        (Ok(ranked), Form::Text) => print(&render_rank(&ranked)),
        (Ok(ranked), Form::Json) => print_json(&ranked),
        (Err(unfit), _) => {
            let place =
                if matches!(unfit, Unfit::NoState(_)) { String::new() } else { format!(" in {}", file.display()) };
            complain(&format!("rg_test: {unfit}{place}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => complain(&format!("rg_test: the answer cannot be written as JSON: {error}")),
    }
}

/// The configuration in a file without errors; what is wrong has been told otherwise.
fn usable(file: &std::path::Path) -> Option<Conf> {
    match loaded(file, Severity::Error)?.accept() {
        Ok(conf) => Some(conf),
        Err(_) => {
            complain(&format!("rg_test: {} has errors; nothing can be told from it", file.display()));
            None
        }
    }
}

fn noop(file: &std::path::Path, operation: Operation, kind: &str, name: &str) -> ExitCode {
    let Some(loaded) = loaded(file, Severity::Error) else { return ExitCode::FAILURE };
    let conf: Conf = match loaded.accept() {
        Ok(conf) => conf,
        Err(_) => {
            complain(&format!("rg_test: {} has errors; nothing can be run from it", file.display()));
            return ExitCode::FAILURE;
        }
    };
    match render_noop(&conf, operation, kind, name) {
        Ok(text) => {
            print(&format!("Running in test mode.\n{text}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("rg_test: {error} in {}", file.display()));
            ExitCode::FAILURE
        }
    }
}

/// The file, with what was found in it told on stderr.
fn loaded(file: &std::path::Path, least: Severity) -> Option<Loaded> {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("rg_test: {}", shared::chain(&error)));
            return None;
        }
    };
    let loaded = load(&text);
    let findings = render_findings(&file.display().to_string(), &loaded.findings, least);
    if !findings.is_empty() {
        complain(findings.trim_end());
    }
    Some(loaded)
}

//! `rg_test`: what a cluster.conf means, without a cluster (rhcs.md §5.8): its resources, trees and failover domains,
//! the order in which a service starts and stops, and the types that are known.
//!
//! Reads a file and prints. Runs no agent: that is rgmanager's alone, which knows what runs where.

mod describe;
mod noop;

use std::path::PathBuf;
use std::process::ExitCode;

use shared::conf::model::Conf;
use shared::conf::{Loaded, Severity, load};

pub use self::describe::{render_conf, render_rules};
pub use self::noop::{NotFound, Operation, render_noop};
use super::conf_file::{read, render_findings};
use super::console::{complain, print};
use super::definition::{Completes, Definition, Operands, flag, long};
use super::{VERSION, getopt};

const USAGE: &str = "\
usage: rg_test test FILE
           what FILE defines: resources, trees, failover domains
       rg_test noop FILE start|stop|status TYPE NAME
           in which order the resources of TYPE NAME are started, stopped or
           checked; runs nothing
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
        flag('v', "print the version"),
        flag('V', "print the version").hidden(),
        flag('h', "print a short help").hidden(),
        long("help", "print a short help").hidden(),
        flag('?', "print a short help").hidden(),
    ],
    operands: Operands::Words(&["test", "noop", "rules"], Completes::File),
};

enum Parsed {
    Test(PathBuf),
    Noop {
        file: PathBuf,
        operation: Operation,
        kind: String,
        name: String,
    },
    Rules,
    Version,
    Usage,
    /// What is wrong with the arguments.
    Unknown(String),
}

/// Runs the command.
pub fn main() -> ExitCode {
    match parse(&getopt::process_arguments()) {
        Parsed::Test(file) => test(&file),
        Parsed::Noop { file, operation, kind, name } => noop(&file, operation, &kind, &name),
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
        ["test", _, _, _, _] => Parsed::Unknown(
            "agents are run by rgmanager only; 'noop' shows what would be run, 'clusvcadm' has it done".into(),
        ),
        ["rules"] => Parsed::Rules,
        ["-v" | "-V"] => Parsed::Version,
        ["-h" | "-?" | "--help"] => Parsed::Usage,
        [] => Parsed::Unknown("no command given".into()),
        ["test" | "noop" | "rules", ..] => Parsed::Unknown(format!("wrong number of arguments for '{}'", words[0])),
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
    let findings = render_findings(&file.display().to_string(), &loaded, least);
    if !findings.is_empty() {
        complain(findings.trim_end());
    }
    Some(loaded)
}

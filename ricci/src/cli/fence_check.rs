//! `fence_check`: do the fence devices answer? Runs the harmless status action of every method of every node from
//! here and prints one line each (rhcs.md §9.2). Meant for cron: one at a time, and not while a node is being fenced.

use std::fs::{File, TryLockError};
use std::process::ExitCode;
use std::time::Duration;

use shared::conf::model::{Conf, Node};
use shared::socket::FenceOperation;
use shared::status::{ClusterStatus, FencingStep};

use super::client::{AskError, Client, socket_path};
use super::console::{complain, print};
use super::definition::{Completes, Definition, Operands, flag};
use super::fence_node::{self, Job, Report};
use super::getopt::{self, Getopt, Item};
use super::{VERSION, rgmanager_status};

const USAGE: &str = "\
usage: fence_check [-v] [-d] [-e] [-f]
    -v        also the result of each device
    -d        also the arguments of each device, passwords masked
    -e        end at the first method that fails
    -f        also while a node is being fenced or there is no quorum
    -V        print the version
    -h        print this
Exit code: 0 every method works, 1 a method failed, 2 wrong options, 3 not now
or no configuration, 4 another fence_check runs.
";

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_NOT_NOW: u8 = 3;
const EXIT_LOCKED: u8 = 4;

/// For questions that are answered at once.
const QUICK: Duration = Duration::from_secs(2);

/// `fence_check` as its user types it.
pub const DEFINITION: Definition = Definition {
    program: "fence_check",
    purpose: "test all fence devices",
    options: &[
        flag('v', "also the result of each device"),
        flag('d', "also the arguments of each device"),
        flag('e', "end at the first method that fails"),
        flag('f', "also while a node is being fenced or without quorum"),
        flag('V', "print the version"),
        flag('h', "print a short help"),
    ],
    operands: Operands::Each(Completes::Nothing),
};

#[derive(Default)]
struct Options {
    verbosity: u8,
    end_at_failure: bool,
    force: bool,
}

/// Runs the command.
pub fn main() -> ExitCode {
    let options = match parse(getopt::process_arguments()) {
        Ok(options) => options,
        Err(Ok(text)) => {
            print(&text);
            return ExitCode::SUCCESS;
        }
        Err(Err(sentence)) => {
            complain(&format!("fence_check: {sentence}\n{}", USAGE.trim_end()));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match check(&options) {
        Ok(code) => ExitCode::from(code),
        Err((code, sentence)) => {
            complain(&format!("fence_check: {sentence}"));
            ExitCode::from(code)
        }
    }
}

/// The error is a text that was asked for, or what is wrong.
fn parse(arguments: Vec<String>) -> Result<Options, Result<String, String>> {
    let mut getopt = Getopt::new(&DEFINITION, arguments);
    let mut options = Options::default();
    for item in getopt.by_ref() {
        match item {
            Item::Flag('v') => options.verbosity = options.verbosity.max(1),
            Item::Flag('d') => options.verbosity = 2,
            Item::Flag('e') => options.end_at_failure = true,
            Item::Flag('f') => options.force = true,
            Item::Flag('V') => return Err(Ok(format!("fence_check {VERSION}\n"))),
            Item::Unknown(sentence) => return Err(Err(sentence)),
            Item::Flag(_) | Item::Value(..) | Item::Long(..) => return Err(Ok(USAGE.to_owned())),
        }
    }
    match getopt.into_operands().first() {
        Some(operand) => Err(Err(format!("'{operand}' is one argument too many"))),
        None => Ok(options),
    }
}

fn check(options: &Options) -> Result<u8, (u8, String)> {
    let not_now = |sentence: String| (EXIT_NOT_NOW, sentence);
    let mut client = match Client::connect(&socket_path(), QUICK) {
        Ok(client) => Some(client),
        Err(AskError::NotRunning { .. }) => None,
        Err(error) => return Err(not_now(shared::chain(&error))),
    };
    if client.is_some() && !options.force {
        refuse_if_busy(&rgmanager_status::ask(QUICK).map_err(not_now)?)?;
    }
    let conf = fence_node::conf(client.as_mut()).map_err(not_now)?;
    // Released when the program ends, however it ends.
    let _lock = lock().map_err(|sentence| (EXIT_LOCKED, sentence))?;
    check_nodes(options, &conf).map_err(|sentence| (EXIT_FAILED, sentence))
}

/// A test must not keep a device busy that is needed now.
fn refuse_if_busy(status: &ClusterStatus) -> Result<(), (u8, String)> {
    if !status.quorum.quorate {
        return Err((EXIT_NOT_NOW, "this node has no quorum; nothing was tested (-f tests nevertheless)".into()));
    }
    let busy = status
        .nodes
        .iter()
        .find(|node| node.fencing.as_ref().is_some_and(|fencing| fencing.step != FencingStep::NoMethod));
    match busy {
        Some(node) => {
            Err((EXIT_NOT_NOW, format!("{} is being fenced; nothing was tested (-f tests nevertheless)", node.name)))
        }
        None => Ok(()),
    }
}

/// One at a time: two sessions on one device make each other fail.
fn lock() -> Result<Option<File>, String> {
    let path = socket_path().with_file_name("fence_check.lock");
    // Without the folder no daemon of ours ever ran here, and nobody could write a lock for others to see.
    let Ok(file) = File::create(&path) else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(format!("another fence_check runs ({} is locked); nothing was tested", path.display()))
        }
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn check_nodes(options: &Options, conf: &Conf) -> Result<u8, String> {
    let mut code = 0;
    for node in &conf.nodes {
        if node.methods.is_empty() {
            complain(&format!("fence_check: {} has no fence method in cluster.conf", node.name));
            code = EXIT_FAILED;
        }
        for number in 1..=node.methods.len() {
            if !check_method(options, node, number)? {
                code = EXIT_FAILED;
                if options.end_at_failure {
                    return Ok(code);
                }
            }
        }
    }
    Ok(code)
}

/// Prints its line; whether the method works.
fn check_method(options: &Options, node: &Node, number: usize) -> Result<bool, String> {
    let job = Job {
        operation: FenceOperation::Status,
        node: Some(node.name.0.clone()),
        verbosity: options.verbosity,
        tell: false,
        method: Some(number),
    };
    let attempts = fence_node::run_here(&job, node)?;
    let works = !attempts.is_empty() && attempts.iter().all(|attempt| attempt.succeeded);
    print(&format!("Testing {} method {number}: {}\n", node.name, if works { "success" } else { "FAILED" }));
    if options.verbosity > 0 || !works {
        let report = Report {
            operation: FenceOperation::Status,
            node: &node.name,
            attempts: &attempts,
            verbosity: options.verbosity,
            conf: Some(node),
        };
        complain(report.render().0.trim_end());
    }
    Ok(works)
}

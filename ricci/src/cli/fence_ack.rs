//! `fence_ack_manual`: an operator vouches that a node is down, so that the cluster goes on without fencing it
//! (rhcs.md §9.2). Asks for one exact word first: a node that still runs will damage data.

use std::process::ExitCode;
use std::time::Duration;

use shared::ids::{NodeName, RequestId};
use shared::socket::{Ask, Reply};
use shared::status::{Answer, ClusterStatus, Command, Request};

use super::client::{ACCEPT_LIMIT, Client, socket_path};
use super::console::{complain, print, read_line};
use super::definition::{Completes, Definition, Live, Operands, flag, value};
use super::getopt::{self, Getopt, Item};
use super::likeness::{Closest, closest};

const USAGE: &str = "\
usage: fence_ack_manual [-n] NODE
    NODE   the node that is certainly down
    -O     do not ask; for scripts whose author has made sure
    -h     print this
";

/// For each question to rgmanager.
const LIMIT: Duration = Duration::from_secs(2);

/// `fence_ack_manual` as its user types it.
pub const DEFINITION: Definition = Definition {
    program: "fence_ack_manual",
    purpose: "vouch that a node is down",
    options: &[
        value('n', "NODE", Completes::Live(Live::Victims), "the node that is certainly down"),
        flag('O', "do not ask"),
        flag('h', "print a short help"),
        flag('?', "print a short help").hidden(),
    ],
    operands: Operands::Each(Completes::Live(Live::Victims)),
};

struct Options {
    node: NodeName,
    ask: bool,
}

/// Runs the command.
pub fn main() -> ExitCode {
    let options = match parse(getopt::process_arguments()) {
        Ok(options) => options,
        Err(None) => {
            print(USAGE);
            return ExitCode::SUCCESS;
        }
        Err(Some(sentence)) => {
            complain(&format!("fence_ack_manual: {sentence}"));
            complain(USAGE);
            return ExitCode::FAILURE;
        }
    };
    match acknowledge(&options) {
        Ok(text) => {
            print(text);
            ExitCode::SUCCESS
        }
        Err(sentence) => {
            complain(&sentence);
            ExitCode::FAILURE
        }
    }
}

/// The error is what is wrong; `None`: usage was asked for.
fn parse(arguments: Vec<String>) -> Result<Options, Option<String>> {
    let mut getopt = Getopt::new(&DEFINITION, arguments);
    let (mut nodes, mut ask) = (Vec::new(), true);
    for item in getopt.by_ref() {
        match item {
            Item::Value(_, name) => nodes.push(name),
            Item::Flag('O') => ask = false,
            Item::Unknown(sentence) => return Err(Some(sentence)),
            Item::Flag(_) | Item::Long(..) => return Err(None),
        }
    }
    nodes.extend(getopt.into_operands());
    match &nodes[..] {
        [node] => Ok(Options { node: NodeName::from(node.as_str()), ask }),
        [] => Err(Some("no node given".into())),
        _ => Err(Some("give one node".into())),
    }
}

fn acknowledge(options: &Options) -> Result<&'static str, String> {
    let node = &options.node;
    let mut client = Client::connect(&socket_path(), LIMIT)
        .map_err(|error| format!("fence_ack_manual: {}", shared::chain(&error)))?;
    let status = ask_status(&mut client)?;
    check_victim(&status, node)?;
    if options.ask {
        print(&format!(
            "About to override fencing for {node}.\n\
             Improper use of this command can lead to severe file system damage: make sure that {node} is\n\
             powered off or cut from all shared storage.\n\nContinue [NO/absolutely]? "
        ));
        if read_line().as_deref() != Some("absolutely") {
            return Err("Aborted.".into());
        }
    }
    let local = status.nodes.iter().find(|node| node.local).map_or("this node", |node| node.name.as_str());
    let request = Request {
        id: RequestId(uuid::Uuid::new_v4().to_string()),
        command: Command::AcknowledgeFence { node: node.clone() },
        origin: format!("{}@{local}", super::operator()),
    };
    match client.ask(&Ask::Request { request }, ACCEPT_LIMIT) {
        Ok(Reply::Answer { answer: Answer::Accepted }) => Ok("Done\n"),
        Ok(Reply::Answer { answer: Answer::Refused(refusal) }) => {
            Err(format!("fence_ack_manual: {}: {}", refusal.code.text(), refusal.text))
        }
        Ok(Reply::PermissionDenied) => Err("fence_ack_manual: Permission denied; try again as root".into()),
        Ok(Reply::Error { text }) => Err(format!("fence_ack_manual: {text}")),
        Ok(_) => Err("fence_ack_manual: rgmanager answered another question; are both of the same release?".into()),
        Err(error) => Err(format!("fence_ack_manual: {}", shared::chain(&error))),
    }
}

fn ask_status(client: &mut Client) -> Result<ClusterStatus, String> {
    match client.ask(&Ask::Status, LIMIT) {
        Ok(Reply::Status { status }) => Ok(*status),
        Ok(Reply::Error { text }) => Err(format!("fence_ack_manual: {text}")),
        Ok(_) => Err("fence_ack_manual: rgmanager does not tell its status to this user; try again as root".into()),
        Err(error) => Err(format!("fence_ack_manual: {}", shared::chain(&error))),
    }
}

/// Vouching for a node that nobody waits for would only train fingers to type the word.
fn check_victim(status: &ClusterStatus, name: &NodeName) -> Result<(), String> {
    let Some(node) = status.node(name) else {
        let hint = match closest(name.as_str(), status.nodes.iter().map(|node| node.name.as_str())) {
            Closest::One(one) => format!(" Closest match: '{one}'."),
            Closest::None | Closest::Several => String::new(),
        };
        return Err(format!("fence_ack_manual: there is no node '{name}' in cluster {}.{hint}", status.cluster));
    };
    if node.fencing.is_some() || status.waits_for_fencing_of.contains(name) {
        return Ok(());
    }
    Err(format!("fence_ack_manual: nothing waits for fencing of {name}; nothing was done."))
}

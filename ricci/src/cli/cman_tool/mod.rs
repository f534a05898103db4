//! `cman_tool`: the cluster as corosync counts it, in the layouts of the original (rhcs.md §9.5), and the few things
//! that are done to it by hand: a new version of cluster.conf, votes, the end of a node.
//!
//! Corosync is asked for members and votes, rgmanager for the version in force; every question has a deadline. What
//! has no meaning any more says so in one sentence and ends with 1.

mod activate;
mod facts;
pub mod layout;
mod options;
mod orders;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::layout::{render_nodes, render_status, render_version};
pub use self::options::DEFINITION;
use self::options::{Parsed, parse};
use super::console::{complain, print};
use super::fence_domain::render_domain;
use super::{VERSION, getopt, rgmanager_status};
use crate::corosync::query;

/// For questions that are answered at once.
const LIMIT: Duration = Duration::from_secs(2);

/// Between two looks of `wait`.
const WAIT_POLL: Duration = Duration::from_millis(250);

/// `wait` ran out of time.
const EXIT_TIMEOUT: u8 = 2;

const USAGE: &str = "\
usage: cman_tool status | nodes | services | version | wait | expected | votes
               | kill | leave
    status               this node and its cluster
    nodes                all nodes; M member, X not
      -a                 also their addresses
      -f                 also when they were fenced last
      -n NODE            only this node
      -F COLUMNS         only these columns: id,name,type,addr
    services             the fence domain
    version              the version of cluster.conf in force
      -r                 give /etc/cluster/cluster.conf to all members
      -D fail|warn|none  what resource agents find wrong refuses it, is only
                         warned of, or is not even told
    wait [-q] [-t S]     until this node is a member, with -q until there is
                         quorum, at most S seconds; exit code 2 if in vain
    expected -e N        N votes are expected from now on
    votes -v N [-n NODE] the node has N votes from now on
    kill -n NODE         end corosync on NODE
    leave                end corosync here, if rgmanager is stopped
    -V                   print the version of this program
    -h                   print this
";

/// Runs the command.
pub fn main() -> ExitCode {
    match run(parse(getopt::process_arguments())) {
        Ok((text, code)) => {
            print(&text);
            ExitCode::from(code)
        }
        Err(sentence) => {
            complain(&format!("cman_tool: {sentence}"));
            ExitCode::FAILURE
        }
    }
}

/// The text for stdout and the exit code, or the sentence that says why not.
fn run(parsed: Parsed) -> Result<(String, u8), String> {
    let done = |()| (String::new(), 0);
    match parsed {
        Parsed::Status => Ok((render_status(&facts::collect(LIMIT)?), 0)),
        Parsed::Nodes(view) => {
            let facts = facts::collect(LIMIT)?;
            let text = render_nodes(&facts, &view);
            text.map(|text| (text, 0)).ok_or_else(|| orders::no_node(&facts, &view.only.unwrap_or_default()))
        }
        Parsed::Services => Ok((render_domain(&rgmanager_status::ask(LIMIT)?), 0)),
        Parsed::Version => {
            let status = rgmanager_status::ask(LIMIT)?;
            Ok((render_version(status.conf.map(|conf| conf.version)), 0))
        }
        Parsed::Activate(terms) => activate::activate(terms).map(done),
        Parsed::Wait { quorate, limit } => Ok((String::new(), wait(quorate, limit)?)),
        Parsed::Expected(votes) => orders::set_expected(votes).map(done),
        Parsed::Votes { votes, node } => orders::set_votes(votes, node.as_deref()).map(done),
        Parsed::Kill(nodes) => orders::kill(&nodes).map(done),
        Parsed::Leave => orders::leave().map(done),
        Parsed::ProgramVersion => Ok((format!("cman_tool {VERSION}\n"), 0)),
        Parsed::Usage => Ok((USAGE.to_owned(), 0)),
        Parsed::Refused { sentence, usage: true } => Err(format!("{sentence}\n{}", USAGE.trim_end())),
        Parsed::Refused { sentence, usage: false } => Err(sentence),
    }
}

/// Looks again and again, because nothing can be subscribed to before corosync runs.
fn wait(quorate: bool, limit: Option<Duration>) -> Result<u8, String> {
    let begun = Instant::now();
    loop {
        let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
        let question = query::quorate(left.unwrap_or(LIMIT).min(LIMIT));
        if let Ok(is_quorate) = facts::block_on(question)?
            && (is_quorate || !quorate)
        {
            return Ok(0);
        }
        if limit.is_some_and(|limit| begun.elapsed() >= limit) {
            let what = if quorate { "this node has no quorum" } else { "corosync does not answer on this node" };
            complain(&format!("cman_tool: {what} after {} seconds", begun.elapsed().as_secs()));
            return Ok(EXIT_TIMEOUT);
        }
        std::thread::sleep(WAIT_POLL.min(left.unwrap_or(WAIT_POLL)));
    }
}

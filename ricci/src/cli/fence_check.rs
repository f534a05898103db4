//! `fence_check`: do the fence devices answer? Runs the harmless status action of every method of every node from
//! here and prints one line each (rhcs.md §9.2). Meant for cron: one at a time, and not while a node is being fenced.

use std::fs::{File, TryLockError};
use std::process::ExitCode;
use std::time::Duration;

use shared::conf::model::{Conf, Node};
use shared::ids::Time;
use shared::socket::FenceOperation;
use shared::status::{ClusterStatus, FenceProof, FenceVerdict, FencingStep};

use super::client::{AskError, Client, socket_path};
use super::clock::{self, Zone};
use super::console::{complain, print};
use super::definition::{Completes, Definition, Operands, flag};
use super::fence_node::{self, Job, Report};
use super::getopt::{self, Getopt, Item};
use super::{VERSION, rgmanager_status};

const USAGE: &str = "\
usage: fence_check [-v] [-d] [-e] [-f]
    -v        also the result of each device, and the proof of each method
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
    let status = match client.is_some() {
        true => Some(rgmanager_status::ask(QUICK)),
        false => None,
    };
    let status = match status.transpose() {
        Ok(status) => status,
        // The devices are asked from here; only what the members know of them is not told then.
        Err(_) if options.force => None,
        Err(sentence) => return Err(not_now(sentence)),
    };
    if let Some(status) = status.as_ref().filter(|_| !options.force) {
        refuse_if_busy(status)?;
    }
    let conf = fence_node::conf(client.as_mut()).map_err(not_now)?;
    // Released when the program ends, however it ends.
    let _lock = lock().map_err(|sentence| (EXIT_LOCKED, sentence))?;
    check_nodes(options, &conf, status.as_ref()).map_err(|sentence| (EXIT_FAILED, sentence))
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

fn check_nodes(options: &Options, conf: &Conf, status: Option<&ClusterStatus>) -> Result<u8, String> {
    let mut code = 0;
    let (now, zone) = (clock::now(), Zone::local());
    for node in &conf.nodes {
        if node.methods.is_empty() {
            complain(&format!("fence_check: {} has no fence method in cluster.conf", node.name));
            code = EXIT_FAILED;
        }
        for number in 1..=node.methods.len() {
            let works = check_method(options, node, number)?;
            if options.verbosity > 0 {
                let own = status.and_then(|status| status.node(&node.name));
                let proof =
                    own.map(|own| own.fence_proofs.iter().find(|it| it.method == node.methods[number - 1].name));
                complain(&format!("  {}", proof_line(proof, now, zone)));
            }
            if !works {
                code = EXIT_FAILED;
                if options.end_at_failure {
                    return Ok(code);
                }
            }
        }
    }
    Ok(code)
}

/// What is known of the method in earnest. `None`: no daemon here tells; a method that the members do not list was never tried.
fn proof_line(proof: Option<Option<&FenceProof>>, now: Time, zone: Zone) -> String {
    let Some(proof) = proof else {
        return "proof: not known, rgmanager does not answer on this node".to_owned();
    };
    let untried = "proof: none, never seen to cut the power; drain the node and fence it once to prove it";
    let Some((proof, at)) = proof.and_then(|proof| Some((proof, proof.at?))) else { return untried.to_owned() };
    let when = zone.date_and_time(at);
    let by = proof.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    match (proof.verdict, proof.believed_until()) {
        (FenceVerdict::Proven, Some(until)) if until < now => {
            format!(
                "proof: expired, the power was last seen to be cut {when}{by}; drain the node and fence it once again"
            )
        }
        (FenceVerdict::Proven, until) => {
            let until =
                until.map(|until| format!(", believed until {}", zone.date_and_time(until))).unwrap_or_default();
            format!("proof: proven {when}{by}{until}")
        }
        (FenceVerdict::Claimed, _) => {
            format!("proof: none, the agent reported success {when}{by}, and nobody has seen the node boot anew since")
        }
        (FenceVerdict::Disproved, _) => {
            format!(
                "proof: DISPROVED {when}{by}, the agent reported success and the node had not rebooted; do not rely on it"
            )
        }
        (FenceVerdict::Failed, _) => format!("proof: none, the agent failed {when}{by}"),
        (FenceVerdict::Untried, _) => untried.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use time::UtcOffset;

    use super::*;

    #[test]
    fn a_proof_is_told_with_its_date_and_end_and_an_old_one_as_expired() {
        let zone = Zone::Fixed(UtcOffset::UTC);
        // 2026-11-05 10:00:00
        let at = Time(1_793_872_800_000);
        let proof = |verdict| FenceProof { method: "power".into(), verdict, at: Some(at), by: Some("node2".into()) };
        let told = |verdict, now| proof_line(Some(Some(&proof(verdict))), now, zone);
        assert_eq!(
            told(FenceVerdict::Proven, at),
            "proof: proven 2026-11-05 10:00:00 by node2, believed until 2027-02-03 10:00:00"
        );
        let later = Time(at.0 + shared::status::FENCE_PROOF_LIFE_MS + 1);
        assert!(told(FenceVerdict::Proven, later).starts_with("proof: expired, "));
        assert!(told(FenceVerdict::Disproved, at).contains("DISPROVED"));
        for verdict in [FenceVerdict::Claimed, FenceVerdict::Failed] {
            assert!(told(verdict, at).starts_with("proof: none, the agent "), "{verdict:?}");
        }
        assert!(proof_line(Some(None), at, zone).contains("never seen to cut the power"));
        assert!(proof_line(None, at, zone).contains("not known"));
    }
}

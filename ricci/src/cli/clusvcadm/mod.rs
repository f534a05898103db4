//! `clusvcadm`: an operator's requests for services (rhcs.md §2).
//!
//! Hands one request to rgmanager, waits for what comes of it, and says it in the words and exit codes of the field.
//! Whether the request is carried out is decided there, not here; this command only refuses what it cannot even
//! name. The request goes on if this command is interrupted.

mod options;
mod plan;
mod progress;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use shared::ids::{NodeName, RequestId};
use shared::socket::{Ask, Reply};
use shared::status::{Answer, ClusterStatus, Command, Outcome, Refusal, Request};
use shared::text::ResultCode;

pub use self::options::DEFINITION;
use self::options::{Action, Job, LockAction, Output, Parsed, parse};
use self::progress::Progress;
use super::client::{ACCEPT_LIMIT, AskError, Client, socket_path};
use super::console::{complain, print};
use super::likeness::{Closest, closest, closest_service};
use super::{VERSION, getopt, members};

/// For questions that are answered at once.
const QUICK: Duration = Duration::from_secs(2);

/// How long a request may take before this command gives up waiting, as in the original.
const OUTCOME_LIMIT: Duration = Duration::from_secs(600);

/// How long a daemon that was restarted meanwhile may take to come back.
const RETURN_LIMIT: Duration = Duration::from_secs(20);

/// For each further question after that.
const AGAIN_LIMIT: Duration = Duration::from_secs(2);

/// Pause between two tries to reach it.
const RETURN_PAUSE: Duration = Duration::from_millis(250);

const USAGE: &str = "\
usage: clusvcadm [action] [options]
    -e SERVICE [-m MEMBER]   enable: start here, or on MEMBER
    -e SERVICE -F            enable where its failover domain wants it
    -r SERVICE [[-m] MEMBER] relocate to MEMBER or to the best other node
    -M SERVICE [-m] MEMBER   migrate to MEMBER without stopping
    -d SERVICE               disable: stop, and leave stopped
    -s SERVICE               stop until the next change of members
    -R SERVICE               restart where it runs
    -Z SERVICE               freeze: neither check nor move it
    -U SERVICE               unfreeze
    -c SERVICE               convalesce: start its failed non-critical resources
    -l                       lock services: nothing starts or moves
    -u                       unlock services
    -S                       print whether services are locked
    --standby NODE           move services away from NODE and give it none; it
                             stays a member, and they come home afterwards
    --unstandby NODE         let NODE take services again
    -m MEMBER, -n MEMBER     the member to use
    --plan                   tell what would happen if all goes well, and do
                             nothing; exit code 1 if it would be refused
    --wait                   wait until it is done, ten minutes at most; so
                             without options
    --no-wait                return as soon as the request is accepted
    -o FORMAT                text or json; stands before -l, -u and -S
    -q                       print nothing on standard output
    -v                       print the version
    -h                       print this
";

/// A result, as exit code and the words after the dots.
struct Finished {
    code: ResultCode,
    owner: Option<NodeName>,
    /// For stderr; may be empty.
    explanation: String,
}

/// What the cluster said to a request.
struct Answered {
    accepted: bool,
    /// `None`: it was accepted, and nobody waited.
    finished: Option<Finished>,
}

/// Why there is no result: for stderr.
struct Failed(String);

/// Runs the command.
pub fn main() -> ExitCode {
    let result = match parse(getopt::process_arguments()) {
        Parsed::Do(job) => run(&job),
        Parsed::Lock { action, output } => run_lock(action, output),
        Parsed::Standby { node, standby, output } => run_standby(&node, standby, output),
        Parsed::Version => {
            print(&format!("{VERSION}\n"));
            return ExitCode::SUCCESS;
        }
        Parsed::Usage(sentence) => {
            if let Some(sentence) = sentence {
                complain(&format!("clusvcadm: {sentence}"));
                complain(USAGE);
            } else {
                print(USAGE);
            }
            return ExitCode::FAILURE;
        }
        Parsed::Refused(sentence) => Err(Failed(sentence)),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Failed(sentence)) => {
            complain(&sentence);
            ExitCode::FAILURE
        }
    }
}

fn run(job: &Job) -> Result<u8, Failed> {
    let say = |text: &str| {
        if job.output == Output::Text {
            print(text);
        }
    };
    let opening = opening(job);
    let mut client = match connect() {
        Ok(client) => client,
        Err(Unreachable::Forbidden) if job.plan => {
            return Err(Failed("Permission denied: only root may ask for a plan".into()));
        }
        Err(Unreachable::Forbidden) => {
            say(&format!("{opening}{}\n", ResultCode::PermissionDenied.text()));
            complain("Only root may use clusvcadm.");
            return Ok(ResultCode::PermissionDenied.exit_status());
        }
        Err(Unreachable::Other(failed)) => return Err(failed),
    };
    let status = ask_status(&mut client)?;
    let target = job.member.as_deref().map(|name| find_member(&status, name)).transpose()?;
    if let (Action::Migrate, Some(target)) = (job.action, &target)
        && !status.node(target).is_some_and(|node| node.online)
    {
        return Err(Failed(format!("'{target}' is offline")));
    }
    if job.plan {
        return plan::show(&mut client, command(job, target.as_ref()), job.output);
    }
    say(&opening);
    let request = request(&status, command(job, target.as_ref()));
    let progress = (job.output == Output::Text && job.wait).then(|| Progress::follow(&job.service, &opening)).flatten();
    let answer = carry_out(client, request.clone(), job.wait);
    if let Some(progress) = progress {
        progress.end();
    }
    let answer = answer?;
    if job.output == Output::Json {
        print_json(&request, &answer)?;
    }
    let Some(finished) = answer.finished else {
        say("Accepted\n");
        return Ok(0);
    };
    say(&format!("{}\n", finished.code.text()));
    explain(job, &status, &finished);
    if finished.code == ResultCode::Success
        && matches!(job.action, Action::Enable | Action::Relocate)
        && let Some(owner) = &finished.owner
    {
        let elsewhere = target.as_ref().is_some_and(|target| target != owner);
        let warning = if elsewhere { "Warning: " } else { "" };
        say(&format!("{warning}{} is now running on {owner}\n", job.service));
    }
    Ok(finished.code.exit_status())
}

/// One object: what was asked, whether it was accepted, and, if that was waited for, what came of it.
fn print_json(request: &Request, answer: &Answered) -> Result<(), Failed> {
    let finished = answer.finished.as_ref();
    let told = serde_json::json!({
        "request": request.id,
        "command": request.command,
        "accepted": answer.accepted,
        "code": finished.map(|finished| finished.code.number()),
        "result": finished.map(|finished| finished.code.text()),
        "owner": finished.and_then(|finished| finished.owner.as_ref()),
        "explanation": finished.map(|finished| &finished.explanation),
    });
    let text = serde_json::to_string_pretty(&told)
        .map_err(|error| Failed(format!("clusvcadm: cannot write the result as JSON: {error}")))?;
    print(&format!("{text}\n"));
    Ok(())
}

/// The first line, to which the result will be appended.
fn opening(job: &Job) -> String {
    let service = &job.service;
    let who = match &job.member {
        Some(member) => format!("Member {member}"),
        None => "Local machine".to_owned(),
    };
    let to = job.member.as_ref().map(|member| format!(" to {member}")).unwrap_or_default();
    match job.action {
        Action::Enable => format!("{who} trying to enable {service}..."),
        Action::Disable => format!("{who} disabling {service}..."),
        Action::Stop => format!("{who} stopping {service}..."),
        Action::Restart => format!("{who} trying to restart {service}..."),
        Action::Relocate => format!("Trying to relocate {service}{to}..."),
        Action::Migrate => format!("Trying to migrate {service}{to}..."),
        Action::Freeze => format!("{who} freezing {service}..."),
        Action::Unfreeze => format!("{who} unfreezing {service}..."),
        Action::Convalesce => format!("{who} convalescing {service}..."),
    }
}

fn command(job: &Job, target: Option<&NodeName>) -> Command {
    let service = job.service.clone();
    match job.action {
        // Without a target, the node where the command is typed is meant; rgmanager knows which that is.
        Action::Enable => Command::Enable { service, on: target.cloned(), by_domain: job.by_domain },
        Action::Disable => Command::Disable { service },
        Action::Stop => Command::Stop { service },
        Action::Restart => Command::Restart { service },
        Action::Relocate => Command::Relocate { service, to: target.cloned() },
        Action::Migrate => Command::Migrate { service, to: target.cloned().unwrap_or_default() },
        Action::Freeze => Command::Freeze { service },
        Action::Unfreeze => Command::Unfreeze { service },
        Action::Convalesce => Command::Convalesce { service },
    }
}

/// A name that no member has is refused: the original took the closest one and went on with it.
fn find_member(status: &ClusterStatus, name: &str) -> Result<NodeName, Failed> {
    let known = || status.nodes.iter().map(|node| node.name.as_str());
    if known().any(|one| one == name) {
        return Ok(NodeName::from(name));
    }
    let second = match closest(name, known()) {
        Closest::One(one) => format!("Closest match: '{one}'"),
        Closest::None => format!("No matches for '{name}' found"),
        Closest::Several => format!("More than one possible match for '{name}' found"),
    };
    Err(Failed(format!(
        "'{name}' not in membership list\n{second}\nNothing was done; give the full name of the member."
    )))
}

/// What is behind a result that is no plain success, on stderr.
fn explain(job: &Job, status: &ClusterStatus, finished: &Finished) {
    if finished.code == ResultCode::Success {
        return;
    }
    if !finished.explanation.is_empty() {
        complain(&finished.explanation);
    }
    if finished.code == ResultCode::NoService && status.service(&job.service).is_none() {
        let known = status.services.iter().map(|service| &service.name);
        if let Some(one) = closest_service(&job.service, known) {
            complain(&format!("Closest match: '{one}'"));
        }
    }
}

fn run_lock(action: LockAction, output: Output) -> Result<u8, Failed> {
    let failure = match action {
        LockAction::Lock => "Lock operation failed",
        LockAction::Unlock => "Unlock operation failed",
        LockAction::Query => "Query operation failed",
    };
    let failed = |why: &str| Failed(if why.is_empty() { failure.to_owned() } else { format!("{failure}: {why}") });
    let mut client = match connect() {
        Ok(client) => client,
        Err(Unreachable::Forbidden) => return Err(failed("only root may ask for this")),
        Err(Unreachable::Other(Failed(why))) => return Err(failed(&why)),
    };
    let status = ask_status(&mut client).map_err(|Failed(why)| failed(&why))?;
    let locked = match action {
        LockAction::Query => status.locked,
        LockAction::Lock | LockAction::Unlock => {
            let command = if action == LockAction::Lock { Command::Lock } else { Command::Unlock };
            let answer = carry_out(client, request(&status, command), true).map_err(|Failed(why)| failed(&why))?;
            if let Some(finished) = answer.finished.filter(|finished| finished.code.exit_status() != 0) {
                return Err(failed(&format!("{}. {}", finished.code.text(), finished.explanation)));
            }
            action == LockAction::Lock
        }
    };
    match (output, locked) {
        (Output::Text, true) => print("Resource groups locked\n"),
        (Output::Text, false) => print("Resource groups unlocked\n"),
        (Output::Json, _) => print(&format!("{{\n  \"locked\": {locked}\n}}\n")),
        (Output::Nothing, _) => {}
    }
    Ok(0)
}

/// Puts a node in standby, or ends that. What moves because of it is not waited for: `clustat` shows it.
fn run_standby(node: &str, standby: bool, output: Output) -> Result<u8, Failed> {
    let failed = |why: &str| Failed(format!("Standby operation failed: {why}"));
    let mut client = match connect() {
        Ok(client) => client,
        Err(Unreachable::Forbidden) => return Err(failed("only root may ask for this")),
        Err(Unreachable::Other(Failed(why))) => return Err(failed(&why)),
    };
    let status = ask_status(&mut client).map_err(|Failed(why)| failed(&why))?;
    let known = status.nodes.iter().map(|node| node.name.as_str());
    if !known.clone().any(|name| name == node) {
        let hint = match closest(node, known) {
            Closest::One(one) => format!("; closest match: '{one}'"),
            Closest::None | Closest::Several => String::new(),
        };
        return Err(failed(&format!("'{node}' not in membership list{hint}")));
    }
    let name = NodeName::from(node);
    let command = if standby { Command::Standby { node: name } } else { Command::Unstandby { node: name } };
    let answer = carry_out(client, request(&status, command), true).map_err(|Failed(why)| failed(&why))?;
    if let Some(finished) = answer.finished.filter(|finished| finished.code.exit_status() != 0) {
        return Err(failed(&format!("{}. {}", finished.code.text(), finished.explanation)));
    }
    match output {
        Output::Text if standby => print(&format!("{node} is in standby\n")),
        Output::Text => print(&format!("{node} is online\n")),
        Output::Json => print(&format!("{{\n  \"standby\": {standby}\n}}\n")),
        Output::Nothing => {}
    }
    Ok(0)
}

/// Why rgmanager cannot be asked.
enum Unreachable {
    Forbidden,
    Other(Failed),
}

fn connect() -> Result<Client, Unreachable> {
    Client::connect(&socket_path(), QUICK).map_err(|error| match error {
        AskError::NoPermission { .. } => Unreachable::Forbidden,
        AskError::NotRunning { .. } if !members::corosync_answers(Duration::from_secs(2)) => {
            Unreachable::Other(Failed(
                "Could not connect to cluster service\n\
                 The cluster is not running on this node (systemctl start rgmanager starts it)."
                    .into(),
            ))
        }
        error => Unreachable::Other(Failed(format!(
            "Could not connect to resource group manager\n{}",
            shared::chain(&error)
        ))),
    })
}

fn ask_status(client: &mut Client) -> Result<ClusterStatus, Failed> {
    match client.ask(&Ask::Status, QUICK) {
        Ok(Reply::Status { status }) => Ok(*status),
        Ok(other) => Err(unexpected(other)),
        Err(error) => Err(no_reply(&error)),
    }
}

fn request(status: &ClusterStatus, command: Command) -> Request {
    let local = status.nodes.iter().find(|node| node.local).map_or("this node", |node| node.name.as_str());
    Request {
        id: RequestId(uuid::Uuid::new_v4().to_string()),
        command,
        origin: format!("{}@{local}", super::operator()),
    }
}

/// Sends the request and, if wanted, waits for what comes of it.
fn carry_out(mut client: Client, request: Request, wait: bool) -> Result<Answered, Failed> {
    let id = request.id.clone();
    let refused =
        |code, explanation| Answered { accepted: false, finished: Some(Finished { code, owner: None, explanation }) };
    match client.ask(&Ask::Request { request }, ACCEPT_LIMIT) {
        Ok(Reply::Answer { answer: Answer::Accepted }) if !wait => {
            return Ok(Answered { accepted: true, finished: None });
        }
        Ok(Reply::Answer { answer: Answer::Accepted }) => {}
        Ok(Reply::Answer { answer: Answer::Refused(Refusal { code, text }) }) => return Ok(refused(code, text)),
        Ok(Reply::PermissionDenied) => {
            let explanation = "Only root may change the state of services.".to_owned();
            return Ok(refused(ResultCode::PermissionDenied, explanation));
        }
        Ok(other) => return Err(unexpected(other)),
        Err(error) => {
            let Failed(text) = no_reply(&error);
            return Err(Failed(format!("{text}\nIt may have been accepted; look with clustat before asking again.")));
        }
    }
    match await_outcome(client, &id) {
        Ok(Reply::Outcome { outcome: Outcome { code, owner, text } }) => {
            Ok(Answered { accepted: true, finished: Some(Finished { code, owner, explanation: text }) })
        }
        Ok(other) => Err(unexpected(other)),
        Err(error) => Err(Failed(format!(
            "Error receiving reply!\nThe request was accepted and goes on; clustat shows what becomes of it ({}).",
            shared::chain(&error)
        ))),
    }
}

/// A daemon that is restarted meanwhile learns from the other members what became of the request: it is asked again
/// when it is back, and then again, because it may learn the outcome without having seen it happen.
fn await_outcome(mut client: Client, id: &RequestId) -> Result<Reply, AskError> {
    let ask = Ask::Await { id: id.clone() };
    let begun = Instant::now();
    match client.ask(&ask, OUTCOME_LIMIT) {
        // The last words of a daemon that ends.
        Err(AskError::Broken { .. }) | Ok(Reply::Error { .. }) => {}
        answer => return answer,
    }
    loop {
        let last = begun.elapsed() >= OUTCOME_LIMIT;
        match connect_again()?.ask(&ask, AGAIN_LIMIT) {
            Err(AskError::Broken { .. } | AskError::Late { .. }) if !last => {}
            Ok(Reply::Error { .. }) if !last => std::thread::sleep(RETURN_PAUSE),
            answer => return answer,
        }
    }
}

fn connect_again() -> Result<Client, AskError> {
    let begun = Instant::now();
    loop {
        match Client::connect(&socket_path(), QUICK) {
            Err(AskError::NotRunning { .. }) if begun.elapsed() < RETURN_LIMIT => std::thread::sleep(RETURN_PAUSE),
            result => return result,
        }
    }
}

fn unexpected(reply: Reply) -> Failed {
    Failed(match reply {
        Reply::Error { text } => format!("Error receiving reply!\n{text}"),
        Reply::PermissionDenied => "Permission denied".to_owned(),
        _ => "Error receiving reply!\nrgmanager answered another question; are both of the same release?".to_owned(),
    })
}

fn no_reply(error: &AskError) -> Failed {
    Failed(format!("Error receiving reply!\n{}", shared::chain(error)))
}

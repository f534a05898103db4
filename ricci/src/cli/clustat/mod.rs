//! `clustat`: what is the case in the cluster, for people and for scripts (rhcs.md §1).
//!
//! Asks rgmanager; when that gives no answer, asks corosync for the members alone. Everything together takes at most
//! [`LIMIT`]; what could not be learnt is left out and said on stderr. Never changes anything.

mod facts;
mod options;
mod page;
mod text;
mod what_if;
mod why;
mod xml;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use shared::ids::{NodeName, ServiceName};
use tokio::signal::unix::{SignalKind, signal};

use self::facts::{Facts, NoFacts};
pub use self::options::DEFINITION;
use self::options::{Format, Options, Parsed, parse};
pub use self::page::{EXIT_UNKNOWN_NAME, Page};
pub use self::text::render_text;
pub use self::xml::render_xml;
use super::clock::{self, Zone};
use super::console::{complain, print, terminal_width, wants_color};
use super::definition::Live;
use super::likeness::{Closest, closest, closest_service};
use super::{VERSION, getopt, live, members};

/// What all questions of one run may take together.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Of [`LIMIT`], kept back for corosync when rgmanager is silent.
const RESERVE: Duration = Duration::from_millis(400);

const USAGE: &str = "\
usage: clustat [options]
    -i SECONDS   show again every SECONDS, until interrupted
    -I           print the id of this node and exit
    -m MEMBER    show only this member; exit code 0 online, 1 offline, 255 unknown
    -s SERVICE   show only this service; exit code 0 starting, started or
                 stopping, otherwise the number of its state, 255 unknown
    -l           services in the long form
    -x           XML; cannot follow -i
    -o FORMAT    text, xml or json
    --why SERVICE [NODE]
                 why SERVICE is as it is, and what speaks for and against
                 each node, or NODE alone; exit code 0 if it runs, 1 if not
    --what-if-lost MEMBER
                 what would come of the loss of MEMBER now; nothing is done;
                 exit code 0 if all that runs would run again, 1 if not
    -Q           print nothing; exit code 0 quorate, 1 not
    -f           accepted for old scripts; clustat is always fast
    -v           print the version and exit
    -h           print this and exit
";

/// Runs the command.
pub fn main() -> ExitCode {
    let options = match parse(getopt::process_arguments()) {
        Parsed::Run(options) => options,
        Parsed::LocalId => return ExitCode::from(print_local_id()),
        Parsed::Why { service, node, json } => return ExitCode::from(why::show(&service, node.as_deref(), json)),
        Parsed::WhatIfLost { node, json } => return ExitCode::from(what_if::show(&node, json)),
        Parsed::Version => {
            print(&format!("clustat version {VERSION}\n"));
            return ExitCode::SUCCESS;
        }
        Parsed::Complete(kind) => {
            let known = Live::ALL.into_iter().find(|live| live.name() == kind);
            known.inspect(|live| print(&live::names(*live)));
            return if known.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Parsed::Usage => {
            print(USAGE);
            return ExitCode::SUCCESS;
        }
        // The original's way: whoever mistypes a letter is told how, and the exit code does not mind.
        Parsed::UnknownOption(sentence) => {
            complain(&format!("clustat: {sentence}\n{USAGE}"));
            return ExitCode::SUCCESS;
        }
        Parsed::Refused(sentence) => {
            complain(&sentence);
            return ExitCode::FAILURE;
        }
    };
    ExitCode::from(match options.interval {
        Some(seconds) => repeat(&options, seconds),
        None => show(&options, "").unwrap_or(1),
    })
}

fn print_local_id() -> u8 {
    match facts::gather() {
        Ok(facts) => {
            print(&format!("0x{:08x}\n", facts.status.local.0));
            0
        }
        Err(problem) => {
            complain_of(&problem);
            1
        }
    }
}

fn complain_of(problem: &NoFacts) {
    complain(&format!("Could not connect to CMAN: {}", problem.errno_text));
    complain(&problem.text);
}

/// Shows everything once and gives the exit code; `None`: there is no cluster to show.
fn show(options: &Options, before: &str) -> Option<u8> {
    // Before any question: one that hangs leaves a thread behind, and then local time can no longer be told.
    let zone = Zone::local();
    let facts = match facts::gather() {
        Ok(facts) => facts,
        Err(problem) => {
            complain_of(&problem);
            return None;
        }
    };
    if options.quorum_only {
        return Some(u8::from(!facts.status.quorum.quorate));
    }
    let page = Page {
        services_known: facts.services_known(),
        only_member: options.member.clone().map(NodeName),
        only_service: options.service.as_deref().map(ServiceName::parse),
        long: options.long,
        generation: members::ring_number(facts.status.local),
        color: wants_color(),
        width: terminal_width(),
        ..Page::whole(&facts.status, clock::now(), zone)
    };
    complain_of_gaps(&page, &facts);
    Some(match options.format {
        Format::Text => {
            print(&format!("{before}{}", render_text(&page)));
            page.exit_code()
        }
        Format::Xml => {
            print(&format!("{before}{}", render_xml(&page)));
            page.exit_code_xml()
        }
        Format::Json => print_json(&page, before),
    })
}

/// JSON is the whole truth or nothing: an empty list of services would be taken for a cluster without any.
fn print_json(page: &Page<'_>, before: &str) -> u8 {
    if !page.services_known {
        return 1;
    }
    let mut status = page.status.clone();
    status.nodes.retain(|node| page.only_member.as_ref().is_none_or(|name| *name == node.name));
    status.services.retain(|service| page.only_service.as_ref().is_none_or(|name| *name == service.name));
    match serde_json::to_string_pretty(&status) {
        Ok(text) => {
            print(&format!("{before}{text}\n"));
            page.exit_code()
        }
        Err(error) => {
            complain(&format!("clustat: cannot write the status as JSON: {error}"));
            1
        }
    }
}

/// Says on stderr what is missing from the page, and which name was perhaps meant.
fn complain_of_gaps(page: &Page<'_>, facts: &Facts) {
    if let Some(gap) = &facts.gap
        && (page.only_member.is_none() || page.only_service.is_some())
    {
        complain(gap);
    }
    if let Some(member) = &page.only_member
        && facts.status.node(member).is_none()
    {
        let known = facts.status.nodes.iter().map(|node| node.name.as_str());
        let meant = if let Closest::One(one) = closest(member.as_str(), known) { Some(one) } else { None };
        complain_of_name("member", member.as_str(), meant);
    }
    if let Some(service) = &page.only_service
        && page.services_known
        && facts.status.service(service).is_none()
    {
        let known = facts.status.services.iter().map(|service| &service.name);
        complain_of_name("service", service.as_str(), closest_service(service, known));
    }
}

fn complain_of_name(kind: &str, name: &str, meant: Option<&str>) {
    let hint = meant.map(|one| format!("; closest match: '{one}'")).unwrap_or_default();
    complain(&format!("clustat: there is no {kind} '{name}'{hint}"));
}

/// Shows again and again until somebody ends it, which is no failure.
fn repeat(options: &Options, seconds: u64) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("clustat: cannot wait for the next turn: {error}"));
            return 1;
        }
    };
    let signals = {
        let _inside = runtime.enter();
        signal(SignalKind::interrupt()).and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)))
    };
    let (mut interrupt, mut terminate) = match signals {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("clustat: cannot watch for Ctrl-C: {error}"));
            return 1;
        }
    };
    // Home, then clear to the end.
    let before = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    if show(options, before).is_none() {
        return 1;
    }
    loop {
        let ended = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                () = tokio::time::sleep(Duration::from_secs(seconds)) => false,
            }
        });
        if ended {
            return 0;
        }
        // A cluster that is away for a while is said on stderr; the next turn may find it again.
        show(options, before);
    }
}

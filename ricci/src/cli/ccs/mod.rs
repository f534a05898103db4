//! `ccs`: look at and change a cluster.conf, in a file (`-f`), of this node's cluster, or of a cluster that a ricci
//! host belongs to (`-h`), with the options of the original (rhcs.md §6.5).
//!
//! Reads the configuration, changes it with the pure rooms `edit` and `section`, checks the result, gives it back.
//! Every change raises the version by one; comments and what this suite does not know survive it.

mod edit;
mod fault;
mod home;
mod hosts;
mod list;
mod options;
mod remote;
mod section;
mod splice;
mod target;

use std::process::ExitCode;

use shared::api::HostOperationKind;
use shared::conf::{Document, Severity, load};
use shared::status::{Membership, NodeStatus};

use self::fault::Fault;
use self::home::Home;
use self::hosts::Hosts;
pub use self::options::DEFINITION;
use self::options::{Options, Parsed, parse};
use self::remote::{Credentials, QUICK, Remote};
use self::target::{Target, Terms};
use super::conf_file::render_findings;
use super::console::{complain, print};
use super::{VERSION, getopt, rgmanager_status};

const USAGE: &str = "\
usage: ccs [-h HOST | -f FILE] [-i] [-p PASSWORD] COMMAND

Without -h and -f: the cluster of this node.
  -h, --host HOST[:PORT]  the cluster of a node that ricci runs on
  -f, --file FILE         a file
  -i, --ignore            write although the checks find errors
      --despiteagents     write although resource agents find errors
  -b, --backup            first keep what is there in ~/.ccs/backup
      --usealt            reach the other nodes by their second address
  -p, --password PASSWORD of the user ricci on HOST, for the first time
      --token TOKEN       instead: what 'ricci token' prints there
  -d, --debug             show the questions to ricci
      --help, --version

Whole configuration:
  --getconf  --setconf (the file of -f to the host of -h)  --checkconf
  --sync  --activate
  --movesecrets (from the configuration to a file per node)
  --createcluster NAME  --getversion  --setversion N  --incversion
  --start  --stop  --startall  --stopall  [--noenable | --nodisable]
Nodes:
  --lsnodes  --addnode NODE [--nodeid N] [--votes N]  --rmnode NODE
  --addalt NODE ALTNAME  --rmalt NODE ALTNAME
Fencing:
  --lsfenceopts [AGENT]  --lsfencedev  --lsfenceinst [NODE]
  --addmethod METHOD NODE  --rmmethod METHOD NODE
  --addfencedev DEVICE agent=AGENT [OPTIONS]  --rmfencedev DEVICE
  --addfenceinst DEVICE NODE METHOD [OPTIONS] [--nounfence]
  --rmfenceinst DEVICE NODE METHOD
  --addunfenceinst DEVICE NODE [OPTIONS]  --rmunfenceinst DEVICE NODE
Failover domains:
  --lsfailoverdomain
  --addfailoverdomain NAME [restricted] [ordered] [nofailback]
  --rmfailoverdomain NAME
  --addfailoverdomainnode NAME NODE [PRIORITY]
  --rmfailoverdomainnode NAME NODE
Services:
  --lsserviceopts [TYPE]  --lsresourceopts [TYPE]  --lsservices
  --addresource TYPE [OPTIONS]  --rmresource TYPE OPTIONS
  --addservice NAME [OPTIONS]  --rmservice NAME
  --addvm NAME [OPTIONS]  --rmvm NAME
  --addsubservice SERVICE PATH [OPTIONS]  --rmsubservice SERVICE PATH
  --addaction NAME ACTION [OPTIONS]  --rmaction NAME [ACTION [OPTIONS]]
Quorum disk and others:
  --lsquorum  --setquorumd [OPTIONS]  --addheuristic OPTIONS
  --rmheuristic OPTIONS  --lsmisc  --settotem  --setcman  --setrm
  --setfencedaemon  --setlogging  --setdlm [OPTIONS]
  --addlogging OPTIONS  --rmlogging OPTIONS
  --setmulticast [ADDRESS]  --setaltmulticast [ADDRESS]
  --setuidgid OPTIONS  --rmuidgid OPTIONS
  --exp TAG [PATH] [OPTIONS]  --exprm PATH
OPTIONS are words name=value; PATH is type[index]:type[index].
";

/// Runs the command.
pub fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(fault) => {
            complain(&format!("ccs: {}", fault.text));
            ExitCode::from(fault.code)
        }
    }
}

/// What goes to stdout.
fn run() -> Result<String, Fault> {
    let options = match parse(getopt::process_arguments())? {
        Parsed::Run(options) => options,
        Parsed::Help => return Ok(USAGE.to_owned()),
        Parsed::Version => return Ok(format!("ccs {VERSION}\n")),
    };
    let said = match options.command {
        None if options.backup => target(&options)?.back_up().map(|()| String::new())?,
        None => String::new(),
        Some("lsserviceopts" | "lsresourceopts") => {
            return list::render_kinds(options.command.unwrap_or_default(), options.words.first().map(String::as_str));
        }
        Some("lsfenceopts") => fence_options(&options)?,
        Some("setconf") => set_conf(&options)?,
        Some("checkconf") => check_conf(&options)?,
        Some("movesecrets") => move_secrets(&options)?,
        Some(command @ ("start" | "stop" | "startall" | "stopall")) => operate(command, &options)?,
        Some(command) => on_configuration(command, &options)?,
    };
    if options.sync {
        sync(&options)?;
    } else if options.activate && options.command.is_none() {
        complain("ccs: nothing to do: a running cluster takes every change into force at once");
    }
    Ok(said)
}

/// Whether a command changes a configuration and takes words, so that other words are a slip and not another command.
fn is_edit_of_words(command: &str) -> bool {
    ["add", "rm", "exp"].iter().any(|beginning| command.starts_with(beginning))
}

fn credentials(options: &Options) -> Credentials {
    Credentials { password: options.password.clone(), token: options.token.clone(), debug: options.debug }
}

fn hosts<'a>(options: &Options, home: &'a Home, credentials: &'a Credentials) -> Hosts<'a> {
    Hosts { home, credentials, use_alt: options.use_alt, despite_agents: options.despite_agents }
}

fn terms(options: &Options) -> Terms {
    Terms { ignore: options.ignore, despite_agents: options.despite_agents }
}

fn open_host(options: &Options, host: &str) -> Result<Remote, Fault> {
    Remote::open(&Home::open()?, host, &credentials(options))
}

/// Secrets that stand in the configuration go to a file per node, and the configuration refers to them.
fn move_secrets(options: &Options) -> Result<String, Fault> {
    if options.backup {
        return Err(Fault::usage(
            "--backup would keep the very secrets that --movesecrets takes out of the configuration",
        ));
    }
    let home = Home::open()?;
    let credentials = credentials(options);
    let host =
        options.host.as_deref().ok_or_else(|| Fault::usage("--movesecrets needs -h HOST: ricci stores the secrets"))?;
    let from = Remote::open(&home, host, &credentials)?;
    let moved = hosts(options, &home, &credentials).move_secrets(&from)?;
    Ok(match moved {
        0 => "No secret stands in the configuration.\n".to_owned(),
        1 => "1 secret moved.\n".to_owned(),
        count => format!("{count} secrets moved.\n"),
    })
}

fn target(options: &Options) -> Result<Target, Fault> {
    match (&options.file, &options.host) {
        (Some(_), Some(_)) => Err(Fault::usage("give a host or a file, not both (only --setconf takes both)")),
        (Some(path), None) => Ok(Target::File(path.clone())),
        (None, Some(host)) => Ok(Target::Host(open_host(options, host)?)),
        (None, None) => Target::local(),
    }
}

/// Lists and changes.
fn on_configuration(command: &str, options: &Options) -> Result<String, Fault> {
    let mut target = target(options)?;
    let source = if edit::creates(command) { target.nothing()? } else { target.read()? };
    let (document, findings) = Document::parse(&source.text);
    if command == "getconf" {
        let line_end = if source.text.ends_with('\n') { "" } else { "\n" };
        // As it is: what is saved here is given back with --setconf.
        return Ok(format!("{}{line_end}", source.text));
    }
    if let Some(finding) = findings.first().filter(|_| !edit::creates(command)) {
        return Err(Fault::new(format!("this is no cluster.conf: line {}: {}", finding.place.line, finding.text)));
    }
    if command == "getversion" {
        return Ok(format!("{}\n", edit::version(&document)?));
    }
    if let Some(listed) = list::render(command, &options.words, &document) {
        return listed;
    }
    let Some(edited) = edit::edit(command, options, &document) else {
        return Err(Fault::usage(format!("--{command} cannot be used like that")));
    };
    let edited = edited?;
    if options.backup {
        target.back_up()?;
    }
    target.write(&source, &edited.document.print(), terms(options))?;
    if let Some(note) = edited.note {
        complain(&format!("ccs: {note}"));
    }
    Ok(edited.said)
}

/// The file of `-f` to the host of `-h`, or to this node's cluster; its version stays as it is.
fn set_conf(options: &Options) -> Result<String, Fault> {
    let Some(file) = &options.file else {
        return Err(Fault::usage("Error: must specify a filename and host when using --setconf"));
    };
    let text = Target::File(file.clone()).read()?.text;
    let mut target = match &options.host {
        Some(host) => Target::Host(open_host(options, host)?),
        None => Target::local()?,
    };
    let source = target.nothing()?;
    if options.backup {
        target.back_up()?;
    }
    target.write(&source, &text, terms(options))?;
    Ok(String::new())
}

/// Our checks first; then, as in the original, whether all nodes have it.
fn check_conf(options: &Options) -> Result<String, Fault> {
    let mut target = target(options)?;
    let text = target.read()?.text;
    let name = options.file.as_ref().map_or("cluster.conf".to_owned(), |file| file.display().to_string());
    let loaded = load(&text);
    let findings = render_findings(&name, &loaded.findings, Severity::Warning);
    if !findings.is_empty() {
        complain(findings.trim_end());
    }
    if loaded.has_errors() {
        return Err(Fault::new(format!("{name} has errors; no cluster can use it")));
    }
    let (home, credentials) = (Home::open()?, credentials(options));
    let hosts = hosts(options, &home, &credentials);
    match &target {
        Target::Host(remote) => hosts.compare(&text, Some(&remote.address)),
        Target::File(_) => hosts.compare(&text, None),
        Target::Local(_) => compare_members(),
    }
}

/// rgmanager knows which version each member has stored.
fn compare_members() -> Result<String, Fault> {
    let status = rgmanager_status::ask(QUICK).map_err(Fault::new)?;
    let in_force = status.conf.map(|conf| conf.version);
    let other = |node: &&NodeStatus| node.member == Membership::Member && node.conf_version != in_force;
    let differing: Vec<String> =
        status.nodes.iter().filter(other).map(|node| format!("Node: {} does not match", node.name)).collect();
    if differing.is_empty() { Ok("All nodes in sync.\n".to_owned()) } else { Err(Fault::new(differing.join("\n"))) }
}

fn operate(command: &str, options: &Options) -> Result<String, Fault> {
    let Some(host) = &options.host else {
        return Err(Fault::new(format!(
            "--{command} needs -h with a host; on this node itself: systemctl start or stop corosync rgmanager"
        )));
    };
    let kind = if command.starts_with("start") { HostOperationKind::Start } else { HostOperationKind::Stop };
    let (home, credentials) = (Home::open()?, credentials(options));
    let hosts = hosts(options, &home, &credentials);
    let remote = Remote::open(&home, host, &credentials)?;
    if !command.ends_with("all") {
        hosts.operate(&remote, kind, options.keep_boot)?;
        return Ok(String::new());
    }
    let conf = target::host_conf(&remote)?
        .ok_or_else(|| Fault::new(format!("{host} has no cluster.conf; make one with --createcluster")))?;
    hosts.operate_all(&conf.text, &remote.address, kind, options.keep_boot)
}

fn sync(options: &Options) -> Result<(), Fault> {
    let (home, credentials) = (Home::open()?, credentials(options));
    let hosts = hosts(options, &home, &credentials);
    match (&options.host, &options.file) {
        (Some(host), _) => hosts.sync(&Remote::open(&home, host, &credentials)?),
        (None, Some(file)) => hosts.sync_text(&Target::File(file.clone()).read()?.text),
        (None, None) => match Target::local()? {
            Target::Local(_) => Ok(()),
            _ => Err(Fault::new("--sync needs -h with a host or -f with a file: no cluster runs on this node")),
        },
    }
}

fn fence_options(options: &Options) -> Result<String, Fault> {
    if options.file.is_some() {
        return Err(Fault::usage("--lsfenceopts lists agents that are installed, which no file knows: leave out -f"));
    }
    let agent = options.words.first();
    let Some(host) = &options.host else {
        let home = Home::open()?;
        return match agent {
            None => hosts::fence_agents_here(&home),
            Some(agent) => list::render_fence_agent(agent, &hosts::fence_agent_here(&home, agent)?),
        };
    };
    let remote = open_host(options, host)?;
    match agent {
        None => hosts::fence_agents(&remote),
        Some(agent) => list::render_fence_agent(agent, &hosts::fence_agent(&remote, agent)?),
    }
}

//! The options of `ccs` (rhcs.md §6.5). Pure: arguments in, what to do out. Exactly one command may be given; `--sync`
//! and `--activate` may accompany it or stand alone.

use std::path::PathBuf;

use super::fault::Fault;
use crate::cli::definition::{Completes, Definition, Live, Operands, OptionDefinition, long, long_value};
use crate::cli::getopt::{Getopt, Item};

/// What the command line asks for.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) host: Option<String>,
    pub(super) file: Option<PathBuf>,
    pub(super) password: Option<String>,
    pub(super) token: Option<String>,
    pub(super) ignore: bool,
    pub(super) despite_agents: bool,
    pub(super) backup: bool,
    /// Reach the other nodes by their second address.
    pub(super) use_alt: bool,
    pub(super) debug: bool,
    pub(super) sync: bool,
    pub(super) activate: bool,
    pub(super) nodeid: Option<u32>,
    pub(super) votes: Option<u32>,
    pub(super) nounfence: bool,
    /// `--noenable`, `--nodisable`: leave alone what happens at boot.
    pub(super) keep_boot: bool,
    pub(super) command: Option<&'static str>,
    /// What follows the command.
    pub(super) words: Vec<String>,
}

pub(super) enum Parsed {
    Run(Box<Options>),
    Help,
    Version,
}

const NODE: Completes = Completes::Live(Live::Nodes);
const SERVICE: Completes = Completes::Live(Live::Services);
const DEVICE: Completes = Completes::Live(Live::Devices);
const DOMAIN: Completes = Completes::Live(Live::Domains);
const NOTHING: Completes = Completes::Nothing;

/// `ccs` as its user types it.
pub const DEFINITION: Definition = Definition {
    program: "ccs",
    purpose: "look at and change the configuration of a cluster",
    options: OPTIONS,
    operands: Operands::Each(NODE),
};

/// The first of these are settings, the rest are commands.
const OPTIONS: &[OptionDefinition] = &[
    long_value("host", "HOST", NODE, "the cluster of a node that ricci runs on").or('h'),
    long_value("file", "FILE", Completes::File, "a file").or('f'),
    long_value("password", "PASSWORD", NOTHING, "of the user ricci on the host, for the first time").or('p'),
    long_value("token", "TOKEN", NOTHING, "instead: what 'ricci token' prints there"),
    long("ignore", "write although the checks find errors").or('i'),
    long("despiteagents", "write although resource agents find errors"),
    long("backup", "keep what is there before it is changed").or('b'),
    long("usealt", "reach the other nodes by their second address"),
    long("debug", "show the questions to ricci").or('d'),
    long("help", "print a short help"),
    long("version", "print the version"),
    long("getconf", "print the configuration"),
    long("movesecrets", "move secrets from the configuration to a file per node"),
    long("setconf", "give the file of -f to the host of -h"),
    long("checkconf", "check it, and whether all nodes have the same"),
    long("sync", "give the configuration to all nodes"),
    long("activate", "take a version into force"),
    long_value("createcluster", "NAME", NOTHING, "make a new configuration"),
    long("getversion", "print the version of the configuration"),
    long_value("setversion", "NUMBER", NOTHING, "set the version"),
    long("incversion", "raise the version by one"),
    long("start", "start the cluster on the host"),
    long("stop", "stop the cluster on the host"),
    long("startall", "start the cluster on all nodes"),
    long("stopall", "stop the cluster on all nodes"),
    long("noenable", "with --start: leave alone what happens at boot"),
    long("nodisable", "with --stop: leave alone what happens at boot"),
    long("lsnodes", "list the nodes"),
    long_value("addnode", "NODE", NOTHING, "add a node").then("[--nodeid NUMBER] [--votes NUMBER]"),
    long_value("rmnode", "NODE", NODE, "remove a node"),
    long_value("nodeid", "NUMBER", NOTHING, "with --addnode: its id"),
    long_value("votes", "NUMBER", NOTHING, "with --addnode: its votes"),
    long_value("addalt", "NODE", NODE, "add a second address").then("ALTNAME"),
    long_value("rmalt", "NODE", NODE, "remove a second address").then("ALTNAME"),
    long("lsfenceopts", "list fence agents, or the options of one").then("[AGENT]"),
    long("lsfencedev", "list the fence devices"),
    long("lsfenceinst", "list the fence methods of nodes").then("[NODE]"),
    long_value("addmethod", "METHOD", NOTHING, "add a fence method to a node").then("NODE"),
    long_value("rmmethod", "METHOD", NOTHING, "remove a fence method of a node").then("NODE"),
    long_value("addfencedev", "DEVICE", NOTHING, "add a fence device").then("OPTIONS"),
    long_value("rmfencedev", "DEVICE", DEVICE, "remove a fence device"),
    long_value("addfenceinst", "DEVICE", DEVICE, "use a fence device for a node")
        .then("NODE METHOD [OPTIONS] [--nounfence]"),
    long_value("rmfenceinst", "DEVICE", DEVICE, "use a fence device for a node no longer").then("NODE METHOD"),
    long("nounfence", "with --addfenceinst: without an unfence device"),
    long_value("addunfenceinst", "DEVICE", DEVICE, "unfence a node with this device").then("NODE [OPTIONS]"),
    long_value("rmunfenceinst", "DEVICE", DEVICE, "unfence a node with this device no longer").then("NODE"),
    long("lsfailoverdomain", "list the failover domains"),
    long_value("addfailoverdomain", "NAME", NOTHING, "add a failover domain")
        .then("[restricted] [ordered] [nofailback]"),
    long_value("rmfailoverdomain", "DOMAIN", DOMAIN, "remove a failover domain"),
    long_value("addfailoverdomainnode", "DOMAIN", DOMAIN, "add a node to a failover domain").then("NODE [PRIORITY]"),
    long_value("rmfailoverdomainnode", "DOMAIN", DOMAIN, "remove a node from a failover domain").then("NODE"),
    long("lsserviceopts", "list the types of services, or the options of one").then("[TYPE]"),
    long("lsresourceopts", "list the types of resources, or the options of one").then("[TYPE]"),
    long("lsservices", "list resources and services"),
    long_value("addresource", "TYPE", NOTHING, "add a global resource").then("[OPTIONS]"),
    long_value("rmresource", "TYPE", NOTHING, "remove a global resource").then("OPTIONS"),
    long_value("addservice", "NAME", NOTHING, "add a service").then("[OPTIONS]"),
    long_value("rmservice", "SERVICE", SERVICE, "remove a service"),
    long_value("addvm", "NAME", NOTHING, "add a virtual machine").then("[OPTIONS]"),
    long_value("rmvm", "NAME", NOTHING, "remove a virtual machine"),
    long_value("addsubservice", "SERVICE", SERVICE, "add a resource to a service").then("PATH [OPTIONS]"),
    long_value("rmsubservice", "SERVICE", SERVICE, "remove a resource from a service").then("PATH"),
    long_value("addaction", "NAME", NOTHING, "set interval or timeout of an action").then("ACTION [OPTIONS]"),
    long_value("rmaction", "NAME", NOTHING, "unset interval or timeout of an action").then("[ACTION [OPTIONS]]"),
    long("lsquorum", "list the quorum disk"),
    long("setquorumd", "set the quorum disk").then("[OPTIONS]"),
    long("addheuristic", "add a heuristic of the quorum disk").then("OPTIONS"),
    long("rmheuristic", "remove a heuristic of the quorum disk").then("OPTIONS"),
    long("lsmisc", "list all other sections"),
    long("settotem", "set the options of totem").then("[OPTIONS]"),
    long("setuidgid", "allow a user or group to talk to corosync").then("OPTIONS"),
    long("rmuidgid", "allow a user or group no longer").then("OPTIONS"),
    long("setdlm", "set the options of dlm").then("[OPTIONS]"),
    long("setrm", "set the options of rgmanager").then("[OPTIONS]"),
    long("setcman", "set the options of cman").then("[OPTIONS]"),
    long("setmulticast", "set the multicast address").then("[ADDRESS]"),
    long("setaltmulticast", "set the second multicast address").then("[ADDRESS]"),
    long("setfencedaemon", "set the options of fencing").then("[OPTIONS]"),
    long("setlogging", "set the options of logging").then("[OPTIONS]"),
    long("addlogging", "add logging of one part").then("OPTIONS"),
    long("rmlogging", "remove logging of one part").then("OPTIONS"),
    long_value("exp", "TAG", NOTHING, "add any element").then("[PATH] [OPTIONS]"),
    long_value("exprm", "PATH", NOTHING, "remove any element"),
    long("getschema", "not supported").hidden(),
];

/// Reads the command line.
pub(super) fn parse(arguments: Vec<String>) -> Result<Parsed, Fault> {
    let mut getopt = Getopt::new(&DEFINITION, arguments);
    let mut options = Options::default();
    for item in getopt.by_ref() {
        match item {
            Item::Value('h', text) | Item::Long("host", Some(text)) => options.host = Some(text),
            Item::Value('f', text) | Item::Long("file", Some(text)) => options.file = Some(text.into()),
            Item::Value('p', text) | Item::Long("password", Some(text)) => options.password = Some(text),
            Item::Long("token", text) => options.token = text,
            Item::Long("nodeid", Some(text)) => options.nodeid = Some(number("--nodeid", &text)?),
            Item::Long("votes", Some(text)) => options.votes = Some(number("--votes", &text)?),
            Item::Flag('i') | Item::Long("ignore", _) => options.ignore = true,
            Item::Flag('d') | Item::Long("debug", _) => options.debug = true,
            Item::Long("sync", _) => options.sync = true,
            Item::Long("activate", _) => options.activate = true,
            Item::Long("nounfence", _) => options.nounfence = true,
            Item::Long("noenable" | "nodisable", _) => options.keep_boot = true,
            Item::Long("help", _) => return Ok(Parsed::Help),
            Item::Long("version", _) => return Ok(Parsed::Version),
            Item::Long("despiteagents", _) => options.despite_agents = true,
            Item::Flag('b') | Item::Long("backup", _) => options.backup = true,
            Item::Long("usealt", _) => options.use_alt = true,
            Item::Long("getschema", _) => {
                return Err(Fault::new(
                    "--getschema is not supported: the rules are more than a schema file can say; --checkconf and ccs_config_validate check a cluster.conf by them, --lsserviceopts and --lsfenceopts list what may stand in it",
                ));
            }
            Item::Long(command, value) => {
                if let Some(first) = options.command {
                    return Err(Fault::usage(format!("give one command at a time, not --{first} and --{command}")));
                }
                options.command = Some(command);
                options.words.extend(value);
            }
            Item::Unknown(sentence) => return Err(Fault::usage(sentence)),
            Item::Flag(letter) | Item::Value(letter, _) => {
                return Err(Fault::usage(format!("invalid option -- '{letter}'")));
            }
        }
    }
    options.words.extend(getopt.into_operands());
    if options.command.is_none() {
        if !options.sync && !options.activate && !options.backup {
            return Err(Fault::usage("say what to do"));
        }
        if let Some(word) = options.words.first() {
            return Err(Fault::usage(format!("'{word}' is one argument too many")));
        }
    }
    Ok(Parsed::Run(Box::new(options)))
}

fn number(option: &str, text: &str) -> Result<u32, Fault> {
    text.parse().map_err(|_| Fault::new(format!("{option} takes a number, not '{text}'")))
}

/// `key=value` words as attributes, in the order typed.
pub(super) fn attributes(words: &[String]) -> Result<Vec<(String, String)>, Fault> {
    let attribute = |word: &String| match word.split_once('=') {
        Some((name, value)) if is_name(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Fault::new(format!("Invalid option: {word}"))),
    };
    words.iter().map(attribute).collect()
}

/// Whether XML of a cluster.conf may use the word as a name.
pub(super) fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

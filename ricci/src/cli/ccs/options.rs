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
    long("debug", "show the questions to ricci").or('d'),
    long("help", "print a short help"),
    long("version", "print the version"),
    long("getconf", "print the configuration"),
    long("setconf", "give the file of -f to the host of -h"),
    long("checkconf", "check it, and whether all nodes have the same"),
    long("sync", "give the configuration to all nodes"),
    long("activate", "take it into force"),
    long_value("createcluster", "NAME", NOTHING, "make a new configuration"),
    long("getversion", "print the version of the configuration"),
    long_value("setversion", "NUMBER", NOTHING, "set the version"),
    long("incversion", "raise the version by one"),
    long("start", "start the cluster on the host"),
    long("stop", "stop the cluster on the host"),
    long("startall", "start the cluster on all nodes"),
    long("stopall", "stop the cluster on all nodes"),
    long("noenable", "start: leave alone what happens at boot"),
    long("nodisable", "stop: leave alone what happens at boot"),
    long("lsnodes", "list the nodes"),
    long_value("addnode", "NODE", NOTHING, "add a node"),
    long_value("rmnode", "NODE", NODE, "remove a node"),
    long_value("nodeid", "NUMBER", NOTHING, "addnode: its id"),
    long_value("votes", "NUMBER", NOTHING, "addnode: its votes"),
    long_value("addalt", "NODE", NODE, "add a second address"),
    long_value("rmalt", "NODE", NODE, "remove a second address"),
    long("lsfenceopts", "list fence agents, or the options of one"),
    long("lsfencedev", "list the fence devices"),
    long("lsfenceinst", "list the fence methods of nodes"),
    long_value("addmethod", "METHOD", NOTHING, "add a fence method to a node"),
    long_value("rmmethod", "METHOD", NOTHING, "remove a fence method of a node"),
    long_value("addfencedev", "DEVICE", NOTHING, "add a fence device"),
    long_value("rmfencedev", "DEVICE", DEVICE, "remove a fence device"),
    long_value("addfenceinst", "DEVICE", DEVICE, "use a fence device for a node"),
    long_value("rmfenceinst", "DEVICE", DEVICE, "use it no longer"),
    long("nounfence", "addfenceinst: without an unfence device"),
    long_value("addunfenceinst", "DEVICE", DEVICE, "unfence a node with this device"),
    long_value("rmunfenceinst", "DEVICE", DEVICE, "no longer"),
    long("lsfailoverdomain", "list the failover domains"),
    long_value("addfailoverdomain", "NAME", NOTHING, "add a failover domain"),
    long_value("rmfailoverdomain", "DOMAIN", DOMAIN, "remove a failover domain"),
    long_value("addfailoverdomainnode", "DOMAIN", DOMAIN, "add a node to a failover domain"),
    long_value("rmfailoverdomainnode", "DOMAIN", DOMAIN, "remove a node from a failover domain"),
    long("lsserviceopts", "list the types of services, or the options of one"),
    long("lsresourceopts", "list the types of resources, or the options of one"),
    long("lsservices", "list resources and services"),
    long_value("addresource", "TYPE", NOTHING, "add a global resource"),
    long_value("rmresource", "TYPE", NOTHING, "remove a global resource"),
    long_value("addservice", "NAME", NOTHING, "add a service"),
    long_value("rmservice", "SERVICE", SERVICE, "remove a service"),
    long_value("addvm", "NAME", NOTHING, "add a virtual machine"),
    long_value("rmvm", "NAME", NOTHING, "remove a virtual machine"),
    long_value("addsubservice", "SERVICE", SERVICE, "add a resource to a service"),
    long_value("rmsubservice", "SERVICE", SERVICE, "remove a resource from a service"),
    long_value("addaction", "NAME", NOTHING, "set interval or timeout of an action"),
    long_value("rmaction", "NAME", NOTHING, "unset it"),
    long("lsquorum", "list the quorum disk"),
    long("setquorumd", "set the quorum disk"),
    long("addheuristic", "add a heuristic"),
    long("rmheuristic", "remove a heuristic"),
    long("lsmisc", "list everything else"),
    long("settotem", "set the options of totem"),
    long("setuidgid", "allow a user or group"),
    long("rmuidgid", "no longer"),
    long("setdlm", "set the options of dlm"),
    long("setrm", "set the options of rgmanager"),
    long("setcman", "set the options of cman"),
    long("setmulticast", "set the multicast address"),
    long("setaltmulticast", "set the second multicast address"),
    long("setfencedaemon", "set the options of fencing"),
    long("setlogging", "set the options of logging"),
    long("addlogging", "add logging of one part"),
    long("rmlogging", "remove logging of one part"),
    long_value("exp", "TAG", NOTHING, "add any element"),
    long_value("exprm", "PATH", NOTHING, "remove any element"),
    long("usealt", "no meaning any more").hidden(),
    long("backup", "not supported").or('b').hidden(),
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
            Item::Long("usealt", _) => {
                return Err(Fault::new("--usealt has no meaning any more: name the address with -h"));
            }
            Item::Flag('b') | Item::Long("backup", _) => {
                return Err(Fault::new(
                    "--backup is not supported: save what --getconf prints, and give it back with --setconf",
                ));
            }
            Item::Long("getschema", _) => {
                return Err(Fault::new(
                    "--getschema is not supported: there is no schema file; ccs_config_validate and --checkconf check a cluster.conf",
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
        if !options.sync && !options.activate {
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

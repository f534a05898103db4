//! The options of `ccs` (rhcs.md §6.5). Pure: arguments in, what to do out. Exactly one command may be given; `--sync`
//! and `--activate` may accompany it or stand alone.

use std::path::PathBuf;

use super::fault::Fault;
use crate::cli::getopt::{Getopt, Item, LongOption};

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

const fn with_value(name: &'static str) -> LongOption {
    LongOption { name, takes_value: true }
}

const fn plain(name: &'static str) -> LongOption {
    LongOption { name, takes_value: false }
}

/// The first of these are settings, the rest are commands.
const LONG: &[LongOption] = &[
    with_value("host"),
    with_value("file"),
    with_value("password"),
    with_value("token"),
    with_value("nodeid"),
    with_value("votes"),
    plain("ignore"),
    plain("debug"),
    plain("help"),
    plain("version"),
    plain("sync"),
    plain("activate"),
    plain("nounfence"),
    plain("noenable"),
    plain("nodisable"),
    plain("usealt"),
    plain("backup"),
    plain("getschema"),
    plain("getconf"),
    plain("setconf"),
    plain("checkconf"),
    plain("getversion"),
    with_value("setversion"),
    plain("incversion"),
    with_value("createcluster"),
    plain("start"),
    plain("stop"),
    plain("startall"),
    plain("stopall"),
    plain("lsnodes"),
    with_value("addnode"),
    with_value("rmnode"),
    with_value("addalt"),
    with_value("rmalt"),
    plain("lsfenceopts"),
    plain("lsfencedev"),
    plain("lsfenceinst"),
    with_value("addmethod"),
    with_value("rmmethod"),
    with_value("addfencedev"),
    with_value("rmfencedev"),
    with_value("addfenceinst"),
    with_value("rmfenceinst"),
    with_value("addunfenceinst"),
    with_value("rmunfenceinst"),
    plain("lsfailoverdomain"),
    with_value("addfailoverdomain"),
    with_value("rmfailoverdomain"),
    with_value("addfailoverdomainnode"),
    with_value("rmfailoverdomainnode"),
    plain("lsserviceopts"),
    plain("lsresourceopts"),
    plain("lsservices"),
    with_value("addresource"),
    with_value("rmresource"),
    with_value("addservice"),
    with_value("rmservice"),
    with_value("addvm"),
    with_value("rmvm"),
    with_value("addsubservice"),
    with_value("rmsubservice"),
    with_value("addaction"),
    with_value("rmaction"),
    plain("lsquorum"),
    plain("setquorumd"),
    plain("addheuristic"),
    plain("rmheuristic"),
    plain("lsmisc"),
    plain("settotem"),
    plain("setuidgid"),
    plain("rmuidgid"),
    plain("setdlm"),
    plain("setrm"),
    plain("setcman"),
    plain("setmulticast"),
    plain("setaltmulticast"),
    plain("setfencedaemon"),
    plain("setlogging"),
    plain("addlogging"),
    plain("rmlogging"),
    with_value("exp"),
    with_value("exprm"),
];

/// Reads the command line.
pub(super) fn parse(arguments: Vec<String>) -> Result<Parsed, Fault> {
    let mut getopt = Getopt::new("h:f:p:idb", arguments).with_long(LONG);
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

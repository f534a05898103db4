//! The letters of `clustat` (rhcs.md §1.1). Pure: arguments in, what to do out.

use crate::cli::console::complain;
use crate::cli::definition::{Completes, Definition, Live, Operands, flag, long_value, value};
use crate::cli::getopt::{Getopt, Item};

/// `clustat` as its user types it.
pub const DEFINITION: Definition = Definition {
    program: "clustat",
    purpose: "show the status of a cluster",
    options: &[
        value('i', "SECONDS", Completes::Nothing, "show again every SECONDS"),
        flag('l', "show services in blocks with all details"),
        value('m', "MEMBER", Completes::Live(Live::Nodes), "show this member alone"),
        value('s', "SERVICE", Completes::Live(Live::Services), "show this service alone"),
        flag('x', "print XML"),
        value('o', "FORMAT", Completes::Words(&["text", "xml", "json"]), "print in this format"),
        long_value("why", "SERVICE", Completes::Live(Live::Services), "explain why SERVICE is as it is").then("[NODE]"),
        long_value("what-if-lost", "MEMBER", Completes::Live(Live::Nodes), "what would come of the loss of MEMBER"),
        flag('Q', "print nothing; exit code 0 with quorum, 1 without"),
        flag('I', "print the node id of this node"),
        flag('f', "ask this node alone"),
        flag('v', "print the version"),
        flag('h', "print a short help"),
        flag('?', "print a short help").hidden(),
        long_value("complete", "KIND", Completes::Nothing, "names for shells").hidden(),
    ],
    operands: Operands::Each(Completes::Live(Live::Nodes)),
};

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// `-i`, in seconds.
    pub interval: Option<u64>,
    pub member: Option<String>,
    pub service: Option<String>,
    pub format: Format,
    pub quorum_only: bool,
    pub long: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Text,
    Xml,
    Json,
}

/// What the arguments come to. Some letters end the reading at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Run(Options),
    LocalId,
    /// `--why`, for one node or all.
    Why {
        service: String,
        node: Option<String>,
        json: bool,
    },
    /// `--what-if-lost`.
    WhatIfLost {
        node: String,
        json: bool,
    },
    Version,
    /// Names of this kind, for shells.
    Complete(String),
    Usage,
    UnknownOption(String),
    /// The sentence for stderr.
    Refused(String),
}

pub(super) fn parse(arguments: Vec<String>) -> Parsed {
    let mut getopt = Getopt::new(&DEFINITION, arguments);
    let (mut options, mut why, mut lost) = (Options::default(), None, None);
    for item in getopt.by_ref() {
        match item {
            Item::Flag('I') => return Parsed::LocalId,
            Item::Flag('v') => return Parsed::Version,
            Item::Long("complete", Some(kind)) => return Parsed::Complete(kind),
            Item::Flag('x') if options.interval.is_some() => {
                return Parsed::Refused("Error: Options '-i' and '-x' are mutually exclusive".into());
            }
            Item::Flag('x') => options.format = Format::Xml,
            Item::Flag('Q') => options.quorum_only = true,
            Item::Flag('l') => options.long = true,
            Item::Flag('f') => {}
            Item::Long("why", service) => why = service,
            Item::Long("what-if-lost", node) => lost = node,
            Item::Value('i', text) => options.interval = Some(seconds(&text)),
            Item::Value('m', name) => options.member = Some(name),
            Item::Value('s', name) => options.service = Some(name),
            Item::Value('o', name) => match format(&name) {
                Some(format) => options.format = format,
                None => {
                    return Parsed::Refused(format!(
                        "clustat: there is no output format '{name}'; use text, xml or json"
                    ));
                }
            },
            Item::Unknown(sentence) => return Parsed::UnknownOption(sentence),
            Item::Flag(_) | Item::Value(..) | Item::Long(..) => return Parsed::Usage,
        }
    }
    let mut operands = getopt.into_operands();
    if let Some(service) = why {
        if operands.len() > 1 {
            return Parsed::Refused(format!(
                "clustat: '{}' is one argument too many; --why SERVICE [NODE]",
                operands[1]
            ));
        }
        return Parsed::Why { service, node: operands.pop(), json: options.format == Format::Json };
    }
    if let Some(node) = lost {
        return match operands.first() {
            Some(word) => Parsed::Refused(format!("clustat: '{word}' is one argument too many; --what-if-lost MEMBER")),
            None => Parsed::WhatIfLost { node, json: options.format == Format::Json },
        };
    }
    for operand in operands {
        complain(&format!("clustat: '{operand}' is ignored; -m shows one member, -s one service"));
    }
    Parsed::Run(options)
}

fn format(name: &str) -> Option<Format> {
    match name {
        "text" => Some(Format::Text),
        "xml" => Some(Format::Xml),
        "json" => Some(Format::Json),
        _ => None,
    }
}

/// As atoi(3) reads a number; what is none, or below one, means one second.
fn seconds(text: &str) -> u64 {
    let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).take(9).collect();
    digits.parse().unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Parsed {
        parse(arguments.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn xml_after_an_interval_is_refused_but_not_the_other_way_round() {
        assert!(matches!(parsed(&["-i", "5", "-x"]), Parsed::Refused(_)));
        let Parsed::Run(options) = parsed(&["-xi5"]) else { panic!("refused") };
        assert_eq!((options.format, options.interval), (Format::Xml, Some(5)));
    }

    #[test]
    fn an_interval_that_is_no_number_means_one_second() {
        for (text, expected) in [("0", 1), ("-3", 1), ("soon", 1), ("7s", 7), (" 2", 2)] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn version_and_local_id_win_over_what_follows_them() {
        assert_eq!(parsed(&["-Iz"]), Parsed::LocalId);
        assert_eq!(parsed(&["-v", "-z"]), Parsed::Version);
        assert_eq!(parsed(&["-z", "-v"]), Parsed::UnknownOption("invalid option -- 'z'".into()));
        assert_eq!(parsed(&["-h"]), Parsed::Usage);
        assert_eq!(parsed(&["-?"]), Parsed::Usage);
    }
}

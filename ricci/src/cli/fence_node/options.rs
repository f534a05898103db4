//! The letters of `fence_node` (rhcs.md §9.2). Pure: arguments in, what to do out.

use shared::socket::FenceOperation;

use crate::cli::definition::{Completes, Definition, Live, Operands, flag, value};
use crate::cli::getopt::{Getopt, Item};

/// `fence_node` as its user types it.
pub const DEFINITION: Definition = Definition {
    program: "fence_node",
    purpose: "fence or unfence a node now, or ask its fence devices",
    options: &[
        flag('U', "unfence the node"),
        flag('S', "print whether the node is on or off"),
        flag('v', "show each device; twice, also its arguments"),
        value('e', "0|1", Completes::Words(&["0", "1"]), "whether the cluster is told"),
        value('m', "NUMBER", Completes::Nothing, "with -S: only this method, counted from 1"),
        flag('V', "print the version"),
        flag('h', "print a short help"),
    ],
    operands: Operands::Each(Completes::Live(Live::Nodes)),
};

/// What is to be done to which node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub operation: FenceOperation,
    /// `None`: this node; only with `-U`.
    pub node: Option<String>,
    /// Number of `-v`.
    pub verbosity: u8,
    /// `-e`: the cluster learns of it. Without, this command runs the agents itself and tells nobody.
    pub tell: bool,
    /// `-m`: only this method, counted from 1; only with `-S`.
    pub method: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Do(Job),
    Version,
    Usage,
    /// What is wrong with the arguments.
    Unknown(String),
}

pub(super) fn parse(arguments: Vec<String>) -> Parsed {
    let mut getopt = Getopt::new(&DEFINITION, arguments);
    let mut job = Job { operation: FenceOperation::Fence, node: None, verbosity: 0, tell: true, method: None };
    for item in getopt.by_ref() {
        match item {
            Item::Flag('U') => job.operation = FenceOperation::Unfence,
            Item::Flag('S') => job.operation = FenceOperation::Status,
            Item::Flag('v') => job.verbosity = job.verbosity.saturating_add(1),
            Item::Flag('V') => return Parsed::Version,
            Item::Value('e', text) => match text.as_str() {
                "0" => job.tell = false,
                "1" => job.tell = true,
                _ => return Parsed::Unknown("-e takes 0 or 1".into()),
            },
            Item::Value('m', text) => match text.parse() {
                Ok(number) if number > 0 => job.method = Some(number),
                _ => return Parsed::Unknown("-m takes the number of a method, counted from 1".into()),
            },
            Item::Unknown(sentence) => return Parsed::Unknown(sentence),
            Item::Flag(_) | Item::Value(..) | Item::Long(..) => return Parsed::Usage,
        }
    }
    let mut operands = getopt.into_operands().into_iter();
    job.node = operands.next();
    if let Some(operand) = operands.next() {
        return Parsed::Unknown(format!("'{operand}' is one argument too many"));
    }
    if job.node.is_none() && job.operation != FenceOperation::Unfence {
        return Parsed::Unknown("no node given".into());
    }
    if job.method.is_some() && job.operation != FenceOperation::Status {
        return Parsed::Unknown("-m is for -S only: fencing tries the methods in their order".into());
    }
    Parsed::Do(job)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Parsed {
        parse(arguments.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn only_unfencing_has_a_node_by_default() {
        assert!(matches!(parsed(&["-U"]), Parsed::Do(Job { node: None, .. })));
        for arguments in [&[][..], &["-S"], &["-vv"]] {
            assert_eq!(parsed(arguments), Parsed::Unknown("no node given".into()));
        }
    }

    #[test]
    fn letters_are_bundled_and_wrong_values_are_named() {
        let Parsed::Do(job) = parsed(&["-Svv", "-m2", "node1"]) else { panic!("refused") };
        assert_eq!((job.operation, job.verbosity, job.method), (FenceOperation::Status, 2, Some(2)));
        for arguments in [&["-e", "2", "n"][..], &["-Sm0", "n"], &["-m1", "n"], &["a", "b"], &["-k", "n"]] {
            assert!(matches!(parsed(arguments), Parsed::Unknown(_)), "{arguments:?}");
        }
    }
}

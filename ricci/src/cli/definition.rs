//! The options of every command, once: the parser reads them, shell completion is made from them, and the manual pages
//! are checked against them. A command declares its own [`Definition`] beside its parser; [`ALL`] lists them.

use super::{ccs, clustat, clusvcadm, cman_tool, fence_ack, fence_check, fence_node, fence_tool, rg_test, validate};

/// A command as its user types it.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    pub program: &'static str,
    /// What it is for, as the head of its manual page says.
    pub purpose: &'static str,
    pub options: &'static [OptionDefinition],
    pub operands: Operands,
}

/// One option, by letter, by word, or by either.
#[derive(Debug, Clone, Copy)]
pub struct OptionDefinition {
    pub letter: Option<char>,
    pub long: Option<&'static str>,
    /// The argument, if it takes one.
    pub value: Option<Value>,
    /// The words that follow, as a usage writes them: `NODE METHOD [OPTIONS]`.
    pub then: &'static str,
    /// A few words for the completion of shells that show them.
    pub help: &'static str,
    /// Read, but not offered: kept for old scripts, or for programs.
    pub hidden: bool,
}

/// The argument of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// Its name in texts: `MEMBER`.
    pub name: &'static str,
    pub completes: Completes,
}

/// From what an argument is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completes {
    Nothing,
    File,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Names of the live cluster, or of this node's cluster.conf.
    Live(Live),
}

/// What the cluster can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// All nodes of cluster.conf.
    Nodes,
    Services,
    /// Fence devices.
    Devices,
    /// Failover domains.
    Domains,
    /// Nodes for whose fencing everything waits.
    Victims,
}

impl Live {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Nodes, Self::Services, Self::Devices, Self::Domains, Self::Victims];

    /// Its name behind `clustat --complete`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Services => "services",
            Self::Devices => "devices",
            Self::Domains => "domains",
            Self::Victims => "victims",
        }
    }
}

/// What stands on a command line without being an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operands {
    /// All of one kind.
    Each(Completes),
    /// First one of these words, then this.
    Words(&'static [&'static str], Completes),
}

/// A letter without argument.
pub(super) const fn flag(letter: char, help: &'static str) -> OptionDefinition {
    OptionDefinition { letter: Some(letter), long: None, value: None, then: "", help, hidden: false }
}

/// A letter with an argument.
pub(super) const fn value(
    letter: char,
    name: &'static str,
    completes: Completes,
    help: &'static str,
) -> OptionDefinition {
    OptionDefinition {
        letter: Some(letter),
        long: None,
        value: Some(Value { name, completes }),
        then: "",
        help,
        hidden: false,
    }
}

/// A word without argument.
pub(super) const fn long(long: &'static str, help: &'static str) -> OptionDefinition {
    OptionDefinition { letter: None, long: Some(long), value: None, then: "", help, hidden: false }
}

/// A word with an argument.
pub(super) const fn long_value(
    long: &'static str,
    name: &'static str,
    completes: Completes,
    help: &'static str,
) -> OptionDefinition {
    OptionDefinition {
        letter: None,
        long: Some(long),
        value: Some(Value { name, completes }),
        then: "",
        help,
        hidden: false,
    }
}

impl OptionDefinition {
    /// With these words behind it.
    pub(super) const fn then(mut self, words: &'static str) -> Self {
        self.then = words;
        self
    }

    /// Also by this letter.
    pub(super) const fn or(mut self, letter: char) -> Self {
        self.letter = Some(letter);
        self
    }

    /// Read, but not offered.
    pub(super) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// All commands that are made for fingers, by name.
pub const ALL: &[&Definition] = &[
    &ccs::DEFINITION,
    &validate::DEFINITION,
    &clustat::DEFINITION,
    &clusvcadm::DEFINITION,
    &cman_tool::DEFINITION,
    &fence_ack::DEFINITION,
    &fence_check::DEFINITION,
    &fence_node::DEFINITION,
    &fence_tool::DEFINITION,
    &rg_test::DEFINITION,
];

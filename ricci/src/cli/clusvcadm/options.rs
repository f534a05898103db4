//! The letters of `clusvcadm` (rhcs.md §2.1). Pure: arguments in, what to do out. Locks act as soon as their letter is
//! read, therefore they end the reading; of several other actions the last one wins.

use shared::ids::ServiceName;

use crate::cli::definition::{Completes, Definition, Live, Operands, flag, long, long_value, value};
use crate::cli::getopt::{Getopt, Item};

const SERVICE: Completes = Completes::Live(Live::Services);
const MEMBER: Completes = Completes::Live(Live::Nodes);

/// `clusvcadm` as its user types it.
pub const DEFINITION: Definition = Definition {
    program: "clusvcadm",
    purpose: "start, stop and move the services of a cluster",
    options: &[
        value('e', "SERVICE", SERVICE, "enable SERVICE"),
        value('d', "SERVICE", SERVICE, "disable SERVICE"),
        value('s', "SERVICE", SERVICE, "stop SERVICE"),
        value('R', "SERVICE", SERVICE, "restart SERVICE where it runs"),
        value('r', "SERVICE", SERVICE, "relocate SERVICE"),
        value('M', "SERVICE", SERVICE, "migrate SERVICE without stopping it"),
        value('Z', "SERVICE", SERVICE, "freeze SERVICE"),
        value('U', "SERVICE", SERVICE, "unfreeze SERVICE"),
        value('c', "SERVICE", SERVICE, "convalesce SERVICE"),
        value('m', "MEMBER", MEMBER, "the member to use"),
        value('n', "MEMBER", MEMBER, "the member to use"),
        flag('F', "with -e: where its failover domain wants it"),
        flag('l', "lock services"),
        flag('u', "unlock services"),
        flag('S', "print whether services are locked"),
        long("plan", "tell what would happen, and do nothing"),
        long_value("standby", "NODE", MEMBER, "move services away from NODE and give it none"),
        long_value("unstandby", "NODE", MEMBER, "let NODE take services again; its own return"),
        long("wait", "wait until it is done; so without options"),
        long("no-wait", "return as soon as the request is accepted"),
        value('o', "FORMAT", Completes::Words(&["text", "json"]), "print in this format"),
        flag('q', "print nothing on standard output"),
        flag('v', "print the version"),
        flag('h', "print a short help"),
        flag('?', "print a short help").hidden(),
    ],
    operands: Operands::Each(MEMBER),
};

/// What an action letter asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Enable,
    Disable,
    Stop,
    Restart,
    Relocate,
    Migrate,
    Freeze,
    Unfreeze,
    Convalesce,
}

impl Action {
    fn of_letter(letter: char) -> Option<Self> {
        Some(match letter {
            'e' => Self::Enable,
            'd' => Self::Disable,
            's' => Self::Stop,
            'R' => Self::Restart,
            'r' => Self::Relocate,
            'M' => Self::Migrate,
            'Z' => Self::Freeze,
            'U' => Self::Unfreeze,
            'c' => Self::Convalesce,
            _ => return None,
        })
    }

    /// Whether a target may be given without `-m`.
    fn takes_target(self) -> bool {
        matches!(self, Self::Enable | Self::Relocate | Self::Migrate)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockAction {
    Lock,
    Unlock,
    Query,
}

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub action: Action,
    pub service: ServiceName,
    pub member: Option<String>,
    /// `-F`.
    pub by_domain: bool,
    /// Not `--no-wait`.
    pub wait: bool,
    /// `--plan`: nothing is done.
    pub plan: bool,
    pub output: Output,
}

/// What goes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Output {
    #[default]
    Text,
    /// `-o json`.
    Json,
    /// `-q`.
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Do(Job),
    Lock {
        action: LockAction,
        output: Output,
    },
    /// `--standby`, `--unstandby`; like locks they end the reading.
    Standby {
        node: String,
        standby: bool,
        output: Output,
    },
    Version,
    /// Usage, after this sentence if there is one.
    Usage(Option<String>),
    /// The sentence for stderr.
    Refused(String),
}

pub(super) fn parse(arguments: Vec<String>) -> Parsed {
    let mut getopt = Getopt::new(&DEFINITION, arguments);
    let (mut wanted, mut member, mut by_domain) = (None, None, false);
    let (mut wait, mut plan, mut output) = (true, false, Output::Text);
    for item in getopt.by_ref() {
        match item {
            Item::Flag('l') => return Parsed::Lock { action: LockAction::Lock, output },
            Item::Flag('u') => return Parsed::Lock { action: LockAction::Unlock, output },
            Item::Flag('S') => return Parsed::Lock { action: LockAction::Query, output },
            Item::Flag('v') => return Parsed::Version,
            Item::Long("standby", Some(node)) => return Parsed::Standby { node, standby: true, output },
            Item::Long("unstandby", Some(node)) => return Parsed::Standby { node, standby: false, output },
            Item::Flag('q') => output = Output::Nothing,
            Item::Long("wait", _) => wait = true,
            Item::Long("no-wait", _) => wait = false,
            Item::Long("plan", _) => plan = true,
            Item::Value('o', name) => match name.as_str() {
                "text" => output = Output::Text,
                "json" => output = Output::Json,
                _ => {
                    return Parsed::Refused(format!("clusvcadm: there is no output format '{name}'; use text or json"));
                }
            },
            Item::Flag('F') => by_domain = true,
            Item::Value('m' | 'n', name) => member = Some(name),
            Item::Value(letter, name) => wanted = Action::of_letter(letter).map(|action| (action, name)),
            Item::Unknown(sentence) => return Parsed::Usage(Some(sentence)),
            Item::Flag(_) | Item::Long(..) => return Parsed::Usage(None),
        }
        if by_domain && member.is_some() {
            return Parsed::Refused("Cannot use '-F' with '-n' or '-m'".into());
        }
    }
    let Some((action, name)) = wanted else { return Parsed::Usage(None) };
    for operand in getopt.into_operands() {
        if !action.takes_target() || by_domain {
            return Parsed::Usage(Some(format!("'{operand}' is one argument too many")));
        }
        match &member {
            Some(first) if *first != operand => {
                return Parsed::Usage(Some(format!("two targets given: '{first}' and '{operand}'")));
            }
            _ => member = Some(operand),
        }
    }
    if action == Action::Migrate && member.is_none() {
        return Parsed::Refused("Migration requires a target cluster member".into());
    }
    Parsed::Do(Job { action, service: ServiceName::parse(&name), member, by_domain, wait, plan, output })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Parsed {
        parse(arguments.iter().map(|text| (*text).to_owned()).collect())
    }

    fn job(arguments: &[&str]) -> Job {
        match parsed(arguments) {
            Parsed::Do(job) => job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_action_letter_wins() {
        let job = job(&["-e", "web", "-d", "db"]);
        assert_eq!((job.action, job.service.as_str()), (Action::Disable, "service:db"));
    }

    #[test]
    fn the_target_of_a_relocation_may_be_given_with_m_with_n_or_alone() {
        for arguments in [
            &["-r", "web", "-m", "node2"][..],
            &["-rweb", "-nnode2"],
            &["-r", "web", "node2"],
            &["node2", "-r", "web"],
            &["-r", "web", "node2", "-m", "node2"],
        ] {
            let job = job(arguments);
            assert_eq!((job.action, job.member.as_deref()), (Action::Relocate, Some("node2")), "{arguments:?}");
        }
    }

    #[test]
    fn a_word_too_many_is_never_ignored() {
        for arguments in [
            &["-d", "web", "db"][..],
            &["-r", "web", "node2", "node3"],
            &["-r", "web", "-m", "node2", "node3"],
            &["-F", "-e", "web", "node2"],
        ] {
            assert!(matches!(parsed(arguments), Parsed::Usage(Some(_))), "{arguments:?}");
        }
    }

    #[test]
    fn locks_act_at_once_and_quiet_counts_only_before_them() {
        assert_eq!(parsed(&["-l", "-q", "-e"]), Parsed::Lock { action: LockAction::Lock, output: Output::Text });
        assert_eq!(parsed(&["-e", "web", "-qu"]), Parsed::Lock { action: LockAction::Unlock, output: Output::Nothing });
        assert_eq!(parsed(&["-S"]), Parsed::Lock { action: LockAction::Query, output: Output::Text });
    }

    #[test]
    fn the_domain_order_and_a_target_exclude_each_other_in_either_order() {
        for arguments in [&["-F", "-m", "node1", "-e", "web"][..], &["-e", "web", "-n", "node1", "-F"]] {
            assert_eq!(parsed(arguments), Parsed::Refused("Cannot use '-F' with '-n' or '-m'".into()));
        }
    }

    #[test]
    fn a_migration_needs_a_target_and_an_action_needs_a_service() {
        assert_eq!(parsed(&["-M", "vm:a"]), Parsed::Refused("Migration requires a target cluster member".into()));
        assert_eq!(job(&["-M", "vm:a", "node1"]).service.as_str(), "vm:a");
        assert_eq!(parsed(&["-m", "node1"]), Parsed::Usage(None));
        assert_eq!(parsed(&["-e"]), Parsed::Usage(Some("option requires an argument -- 'e'".into())));
    }
}

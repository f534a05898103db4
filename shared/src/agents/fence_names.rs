//! Older names of fence agents' arguments and those of today. Agents take both for the same, so that whoever joins or judges
//! arguments must know of it: given both, most agents take the one that they read last, and fence_xvm does not run.
//!
//! What the fence library of the distributions has renamed, and RHEL 6's `option`. An agent's own metadata may tell of more.

/// Older name, name of today.
pub const OLDER_NAMES: [(&str, &str); 9] = [
    ("cmd_prompt", "command_prompt"),
    ("ipaddr", "ip"),
    ("login", "username"),
    ("option", "action"),
    ("passwd", "password"),
    ("passwd_script", "password_script"),
    ("port", "plug"),
    ("secure", "ssh"),
    ("sudo", "use_sudo"),
];

/// Agents that end with an error when an argument comes under two names.
pub const REFUSE_TWO_NAMES: [&str; 2] = ["fence_virt", "fence_xvm"];

/// The name that an argument has today; one that was never renamed keeps its own. `-` and `_` are the same to the agents.
pub fn name_of_today(argument: &str) -> String {
    let name = argument.replace('-', "_");
    OLDER_NAMES.iter().find(|(older, _)| *older == name).map_or(name, |(_, newer)| (*newer).to_owned())
}

/// Whether both mean the same argument.
pub fn is_same_argument(one: &str, other: &str) -> bool {
    name_of_today(one) == name_of_today(other)
}

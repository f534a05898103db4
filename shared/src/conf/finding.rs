//! What checking a cluster.conf found: place, rule and hint, all problems at once.

use serde::{Deserialize, Serialize};

/// One result of checking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable code of the rule, e.g. `unknown-reference`.
    pub rule: String,
    pub severity: Severity,
    pub place: Place,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

/// An error refuses the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Error,
    Warning,
    Info,
}

/// Where in the file; line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub line: u32,
    pub column: u32,
    /// e.g. `/cluster/rm/service[@name='web']`.
    pub path: String,
}

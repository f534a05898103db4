//! Why `ccs` does not do what it was asked: one text for stderr and the exit code of the original (1, or 2 when the
//! command line is wrong).

use shared::conf::EditError;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) text: String,
    pub(super) code: u8,
}

impl Fault {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }

    /// The command line cannot be meant like that.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { text: format!("{}\nTry 'ccs --help'.", text.into()), code: 2 }
    }
}

impl From<EditError> for Fault {
    fn from(error: EditError) -> Self {
        Self::new(error.to_string())
    }
}

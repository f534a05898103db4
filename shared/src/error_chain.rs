//! One way to tell an error with all its causes. Called where an error is handled, never where it is passed on.

use std::error::Error;
use std::fmt::Write as _;

/// The error and every cause below it on one line, separated by `: `.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Writing to a String cannot fail.
        let _ = write!(line, ": {inner}");
        cause = inner.source();
    }
    line
}

//! cluster.conf, its findings, edits and views, and what agents say of themselves.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like the tests themselves")]

mod edits;
mod findings;
mod kinds;
mod metadata;
mod round_trip;
mod samples;
mod stack;
mod view;

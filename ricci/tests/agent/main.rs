//! ricci as consoles meet it, over TLS.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like the tests themselves")]

mod bad_input;
mod catalogue;
mod commands;
mod conf;
mod host;
mod legacy;
mod never;
mod packaged;
mod pairing;
mod secrets;
mod stream;
mod support;
mod why;

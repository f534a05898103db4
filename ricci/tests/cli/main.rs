//! The commands as they are typed: what they print, to the byte, and their exit code.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like the tests themselves")]

mod bad_input;
mod ccs;
mod ccs_host;
mod clustat;
mod clustat_layout;
mod clusvcadm;
mod cman_tool;
mod conf;
mod definitions;
mod fake;
mod fence_node;
mod fence_tool;
mod pages;
mod shells;
mod sizes;
mod story;
mod transcript;
mod transcripts;

#[path = "../agent/support.rs"]
mod agent_support;

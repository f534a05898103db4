//! luci as people, scripts and nodes meet it. One program: each further one would link the whole console again.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like the tests themselves")]

mod actions;
mod api;
mod backup;
mod building;
mod commands;
mod console;
mod databases;
mod drafts;
mod fake;
mod fencing;
mod foresight;
mod forms;
mod guide;
mod killed;
mod language;
mod live;
mod login;
mod manual;
mod pages;
mod postgres;
mod roles;
mod scene;
mod sources;
mod stage;
mod support;
mod timeline;
mod tree;
mod window;

#[path = "../../../ricci/tests/cli/pages.rs"]
mod cli_pages;

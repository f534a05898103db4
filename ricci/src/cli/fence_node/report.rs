//! What fencing came to, in the lines and exit codes of the field (rhcs.md §9.2). Pure: attempts in, text out.

use std::fmt::Write as _;

use shared::conf::model::{FenceInstance, Node};
use shared::conf::secret::{MASK, is_secret};
use shared::ids::NodeName;
use shared::socket::FenceOperation;
use shared::status::{FenceAttempt, FenceDeviceRun};

/// What fence agents answer to `status` for "on" and "off".
const STATUS_ON: i32 = 0;
const STATUS_OFF: i32 = 2;

/// Exit codes.
const EXIT_FAILED: u8 = 1;
const EXIT_UNDEFINED: u8 = 2;

/// What was done, ready to be told.
#[derive(Debug)]
pub struct Report<'a> {
    pub operation: FenceOperation,
    pub node: &'a NodeName,
    /// One per method tried; empty if there is nothing to run.
    pub attempts: &'a [FenceAttempt],
    pub verbosity: u8,
    /// The node's part of cluster.conf, for the arguments that `-vv` shows.
    pub conf: Option<&'a Node>,
}

impl Report<'_> {
    /// The lines for stderr and the exit code. Details of a failure are always told: whoever fences by hand is in a
    /// hurry.
    pub fn render(&self) -> (String, u8) {
        let (result, exit) = self.result();
        let mut out = String::new();
        if self.verbosity > 0 || exit == EXIT_FAILED {
            for (method, attempt) in self.attempts.iter().enumerate() {
                for (device, run) in attempt.devices.iter().enumerate() {
                    self.render_device(&mut out, (method, device), run);
                }
            }
        }
        line(&mut out, &format!("{} {} {result}", self.verb(), self.node));
        (out, exit)
    }

    fn verb(&self) -> &'static str {
        match self.operation {
            FenceOperation::Fence => "fence",
            FenceOperation::Unfence => "unfence",
            FenceOperation::Status => "status",
        }
    }

    fn result(&self) -> (String, u8) {
        let Some(last) = self.attempts.last() else { return ("undefined".to_owned(), EXIT_UNDEFINED) };
        match (self.operation, last.succeeded) {
            (FenceOperation::Status, true) => {
                // Of two power supplies one is enough to be on.
                let on = last.devices.iter().any(|run| run.code == Some(STATUS_ON));
                (format!("success {}", if on { "on" } else { "off" }), 0)
            }
            (FenceOperation::Status, false) => {
                let code = last.devices.iter().rev().find_map(failure_code).unwrap_or(1);
                (format!("failed {code}"), EXIT_FAILED)
            }
            (_, true) => ("success".to_owned(), 0),
            (_, false) => ("failed".to_owned(), EXIT_FAILED),
        }
    }

    fn render_device(&self, out: &mut String, (method, device): (usize, usize), run: &FenceDeviceRun) {
        let succeeded = run.code == Some(0) || self.operation == FenceOperation::Status && is_answer(run);
        let result = match (succeeded, run.code) {
            (true, _) => "success",
            (false, Some(_)) => "error from agent",
            (false, None) => "error: agent not run or killed",
        };
        let place = format!("{} {} dev {method}.{device}", self.verb(), self.node);
        line(out, &format!("{place} agent {} result: {result}", run.agent));
        if self.verbosity > 1
            && let Some(instance) = self.instance(method, device)
        {
            line(out, &format!("agent args: {}", arguments_text(instance)));
        }
        if !succeeded {
            for told in run.output.lines().filter(|told| !told.trim().is_empty()) {
                let visible: String = told.chars().filter(|letter| !letter.is_control()).collect();
                line(out, &format!("    {visible}"));
            }
        }
    }

    fn instance(&self, method: usize, device: usize) -> Option<&FenceInstance> {
        let node = self.conf?;
        match self.operation {
            FenceOperation::Unfence => node.unfence.get(device),
            FenceOperation::Fence | FenceOperation::Status => {
                let name = &self.attempts.get(method)?.method;
                node.methods.iter().find(|method| method.name == *name)?.devices.get(device)
            }
        }
    }
}

/// Whether an agent asked for the status gave one.
pub(super) fn is_answer(run: &FenceDeviceRun) -> bool {
    matches!(run.code, Some(STATUS_ON | STATUS_OFF))
}

fn failure_code(run: &FenceDeviceRun) -> Option<i32> {
    run.code.filter(|_| !is_answer(run))
}

fn arguments_text(instance: &FenceInstance) -> String {
    let shown = |(name, value): &(String, String)| {
        if is_secret(name) { format!("{name}={MASK}") } else { format!("{name}={value}") }
    };
    instance.arguments.iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

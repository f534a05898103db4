//! `clusvcadm --plan`: what would come of a request, computed by the engine; nothing is done.

use std::fmt::Write as _;

use shared::ids::NodeName;
use shared::socket::{Ask, Reply};
use shared::status::Command;
use shared::text::ServiceState;
use shared::why::{Assumption, Prediction};

use super::options::Output;
use super::{Failed, QUICK, no_reply, unexpected};
use crate::cli::client::Client;
use crate::cli::console::print;

/// Tells what would happen and returns the exit code: 0, or 1 if it would be refused.
pub(super) fn show(client: &mut Client, command: Command, output: Output) -> Result<u8, Failed> {
    let ask = Ask::Predict { assumption: Assumption::Request { command } };
    let prediction = match client.ask(&ask, QUICK) {
        Ok(Reply::Prediction { prediction }) => *prediction,
        Ok(reply) => return Err(unexpected(reply)),
        Err(error) => return Err(no_reply(&error)),
    };
    match output {
        Output::Text => print(&render(&prediction)),
        Output::Json => match serde_json::to_string_pretty(&prediction) {
            Ok(text) => print(&format!("{text}\n")),
            Err(error) => return Err(Failed(format!("clusvcadm: cannot write the plan as JSON: {error}"))),
        },
        Output::Nothing => {}
    }
    Ok(u8::from(prediction.refused.is_some()))
}

fn render(prediction: &Prediction) -> String {
    if let Some(refusal) = &prediction.refused {
        return format!("It would be refused: {}. {}\n", refusal.code.text(), refusal.text);
    }
    let mut text = String::from("Nothing is done. If all agents and fence devices do what they are asked:\n");
    for step in &prediction.steps {
        let because = step.reason.as_ref().map(|reason| format!(" ({})", reason.text())).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}{because}", step.text);
    }
    if prediction.changes.is_empty() {
        text.push_str("In the end every service is where and as it is now.\n");
        return text;
    }
    text.push_str("In the end:\n");
    for change in &prediction.changes {
        let _ = writeln!(text, "  {}: {} -> {}", change.service, place(&change.from), place(&change.to));
    }
    text
}

fn place((state, owner): &(ServiceState, Option<NodeName>)) -> String {
    let on = owner.as_ref().map(|owner| format!(" on {owner}")).unwrap_or_default();
    format!("{}{on}", state.name())
}

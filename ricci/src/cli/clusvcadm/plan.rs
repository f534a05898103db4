//! `clusvcadm --plan`: what would come of a request, computed by the engine; nothing is done.

use shared::socket::{Ask, Reply};
use shared::status::Command;
use shared::why::{Assumption, Prediction};

use super::options::Output;
use super::{Failed, QUICK, no_reply, unexpected};
use crate::cli::client::Client;
use crate::cli::console::print;
use crate::cli::prediction::render_course;

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
    match &prediction.refused {
        Some(refusal) => format!("It would be refused: {}. {}\n", refusal.code.text(), refusal.text),
        None => render_course(prediction),
    }
}

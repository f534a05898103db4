//! `clustat --what-if-lost`: what would come of the loss of a node now, computed by the engine; nothing is done.

use shared::ids::NodeName;
use shared::socket::{Ask, Reply};
use shared::text::ServiceState;
use shared::why::{Assumption, PredictedChange, Prediction};

use super::LIMIT;
use crate::cli::client::{Client, socket_path};
use crate::cli::console::{complain, print};
use crate::cli::likeness::{Closest, closest};
use crate::cli::prediction::render_course;

/// No answer, or no such member.
const EXIT_UNKNOWN: u8 = 255;

/// Tells what would happen and returns the exit code: 0 if all that runs now would run again, 1 if not, 255 if nothing
/// is known.
pub(super) fn show(node: &str, json: bool) -> u8 {
    match predict(node) {
        Ok(prediction) if json => match serde_json::to_string_pretty(&prediction) {
            Ok(text) => {
                print(&format!("{text}\n"));
                exit_code(&prediction)
            }
            Err(error) => refuse(&format!("cannot write the prediction as JSON: {error}")),
        },
        Ok(prediction) => {
            print(&render_course(&prediction));
            exit_code(&prediction)
        }
        Err(sentence) => refuse(&sentence),
    }
}

fn predict(node: &str) -> Result<Prediction, String> {
    let mut client = Client::connect(&socket_path(), LIMIT).map_err(|error| shared::chain(&error))?;
    let assumption = Assumption::NodeLost { node: NodeName::from(node) };
    let prediction = match client.ask(&Ask::Predict { assumption }, LIMIT) {
        Ok(Reply::Prediction { prediction }) => *prediction,
        Ok(Reply::PermissionDenied) => return Err("Permission denied; try again as root".into()),
        Ok(Reply::Error { text }) => return Err(text),
        Ok(_) => return Err("rgmanager answered another question; are both of the same release?".into()),
        Err(error) => return Err(shared::chain(&error)),
    };
    match &prediction.refused {
        Some(refusal) => Err(format!("{}{}", refusal.text, meant(&mut client, node))),
        None => Ok(prediction),
    }
}

/// Which member may have been meant, if there is none of this name.
fn meant(client: &mut Client, node: &str) -> String {
    let Ok(Reply::Status { status }) = client.ask(&Ask::Status, LIMIT) else { return String::new() };
    if status.node(&NodeName::from(node)).is_some() {
        return String::new();
    }
    match closest(node, status.nodes.iter().map(|node| node.name.as_str())) {
        Closest::One(one) => format!("; closest match: '{one}'"),
        Closest::None | Closest::Several => String::new(),
    }
}

fn exit_code(prediction: &Prediction) -> u8 {
    let runs = |state| matches!(state, ServiceState::Starting | ServiceState::Started | ServiceState::Migrating);
    let ends = |change: &PredictedChange| runs(change.from.0) && !runs(change.to.0);
    u8::from(prediction.changes.iter().any(ends))
}

fn refuse(sentence: &str) -> u8 {
    complain(&format!("clustat: {sentence}"));
    EXIT_UNKNOWN
}

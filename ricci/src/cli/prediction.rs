//! What the engine expects to happen, as people read it: the steps, and where every service is in the end. Used by
//! `clusvcadm --plan` and `clustat --what-if-lost`. Pure: a prediction in, text out.

use std::fmt::Write as _;

use shared::ids::NodeName;
use shared::text::ServiceState;
use shared::why::Prediction;

/// The steps in their order and what differs in the end.
pub(super) fn render_course(prediction: &Prediction) -> String {
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

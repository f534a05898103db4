//! What a node brings back of the administrators' intents that this history of the cluster never heard of.
//!
//! The newest quorate history wins (design §3.2), so they are not taken over; but who asked for them was told that they were
//! accepted, so they are told now. Called for every hello of a joiner; changes nothing in the state.

use shared::conf::model::Conf;
use shared::ids::{NodeId, Time};
use shared::status::{FactKind, FactSeverity, Subject};
use shared::text::ServiceState;

use crate::message::Hello;
use crate::replicated::{Folded, Replicated, node_name};

impl Replicated {
    /// Tells of intents that were accepted on a node after it parted from those who founded this history.
    pub(crate) fn tell_unheard(&self, at: Time, conf: &Conf, from: NodeId, hello: &Hello, folded: &mut Folded) {
        let Some(theirs) = &hello.intents else { return };
        let parted = theirs.history < self.history && (theirs.history, theirs.change) > self.inherited;
        if !parted {
            return;
        }
        let node = node_name(conf, from);
        for (service, intent) in &theirs.services {
            let Some(record) = self.services.get(service) else { continue };
            let disabled = intent.disabled && record.state != ServiceState::Disabled;
            let frozen = intent.frozen && !record.frozen;
            let (word, verb) = match (disabled, frozen) {
                (true, _) => ("disabled", "disable"),
                (false, true) => ("frozen", "freeze"),
                (false, false) => continue,
            };
            let text = format!(
                "{service} was {word} on {node} while this side of the cluster did not hear of it; it is {} here: {verb} it again if that still stands",
                record.state.name()
            );
            let subject = Subject::Service(service.clone());
            folded.fact(at, subject, FactSeverity::Warning, FactKind::IntentUnheard, text, None);
        }
    }
}

//! `depend`: a service that needs another one (rhcs.md §3.5). It starts only while the other is started. With
//! `depend_mode="hard"` it is also stopped when the other no longer is, and comes back with it; `soft` only holds its start back.

use shared::conf::model::Conf;
use shared::ids::ServiceName;
use shared::text::ServiceState;

use crate::replicated::Replicated;

/// The service that this one needs and that is not started.
pub(crate) fn missing(state: &Replicated, conf: &Conf, service: &ServiceName) -> Option<ServiceName> {
    let needs = conf.service(service)?.depend.as_ref()?;
    let there = state.services.get(needs).is_some_and(|other| is_there(other.state));
    (!there).then(|| needs.clone())
}

/// A guest that migrates runs all the time.
fn is_there(state: ServiceState) -> bool {
    matches!(state, ServiceState::Started | ServiceState::Migrating)
}

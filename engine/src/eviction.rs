//! Exclusive services as priorities (rhcs.md §3.5, §3.8): with `central_processing="1"` an exclusive service that finds no node
//! takes the place of an exclusive one with a higher number. Without it the number only says that the service is exclusive.

use shared::conf::model::{Conf, Service};
use shared::ids::NodeId;
use shared::placement::{Level, level};
use shared::status::Reason;
use shared::text::ServiceState;

use crate::message::{AfterStop, Decision};
use crate::placement::{Load, situation};
use crate::record::Record;
use crate::replicated::Replicated;

/// How an exclusive service without a node gets one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Eviction {
    /// A service of lower priority is stopped.
    Stop(Box<(Decision, Reason)>),
    /// One is being stopped.
    UnderWay,
}

/// Whom the service may put out of its place.
pub(crate) fn evict(
    state: &Replicated,
    conf: &Conf,
    service: &Service,
    record: &Record,
    takers: &[NodeId],
    load: &Load,
) -> Option<Eviction> {
    if !conf.rm.central_processing || service.exclusive == 0 {
        return None;
    }
    let situation = situation(record, takers);
    let legal = |node: &NodeId| level(conf, service, *node, situation);
    let mut nodes: Vec<NodeId> = takers.iter().copied().filter(|node| legal(node) > Level::Illegal).collect();
    nodes.sort_by_key(|node| (std::cmp::Reverse(legal(node)), *node));
    nodes.into_iter().filter(|node| !record.tried.contains(node)).find_map(|node| {
        let [name] = load.others_on(node, &service.name)[..] else { return None };
        let (other, runs) = (conf.service(name)?, state.services.get(name)?);
        let reason = Reason::Evicted { by: service.name.clone() };
        if other.exclusive <= service.exclusive || runs.frozen || runs.order.is_some() {
            return None;
        }
        match runs.state {
            ServiceState::Started => {
                let after = AfterStop::Recover;
                let stop = Decision::Stop { service: name.clone(), epoch: runs.epoch, after };
                Some(Eviction::Stop(Box::new((stop, reason))))
            }
            ServiceState::Stopping if runs.reason == reason => Some(Eviction::UnderWay),
            _ => None,
        }
    })
}

//! What the shared state makes of things that befall parts of a started service (rhcs.md §5.6): the service stays started and
//! keeps its epoch; what changes is which parts are stopped, and what people are told.

use std::collections::BTreeSet;

use shared::ids::{NodeId, RequestId, ResourceName};
use shared::status::{FactKind, FactSeverity, Reason};
use shared::text::ResultCode;

use crate::message::{PartRemedy, ReportOutcome};
use crate::record::{Record, Step};

impl Record {
    /// A report about a part, by the holder, of the epoch that the service has.
    pub(crate) fn part_reported(&mut self, step: &mut Step<'_>, from: NodeId, outcome: &ReportOutcome) {
        let service = step.service;
        let node = step.name_of(from);
        match outcome {
            ReportOutcome::Tolerated { failure, count, max } => {
                let text = format!("{service}: {}; tolerated, {count} of {max}", failure.text());
                step.fact(FactSeverity::Warning, FactKind::ResourceFailed, text, None);
            }
            ReportOutcome::PartFailed { part, failure, remedy } => {
                let remedy_text = match remedy {
                    PartRemedy::Restart => format!("only {part} is restarted"),
                    PartRemedy::Stop => format!("{part} is not critical and stays stopped"),
                    PartRemedy::Check => format!("{part} is checked again"),
                };
                let text = format!("{service}: {}; {remedy_text}", failure.text());
                let resource = failure.resource.clone();
                let reason = match failure.operation.as_str() {
                    "monitor" => Some(Reason::CheckFailed { node, resource }),
                    "start" => Some(Reason::StartFailed { node, resource }),
                    _ => None,
                };
                if *remedy == PartRemedy::Stop {
                    self.failure = Some(failure.clone());
                }
                step.fact(FactSeverity::Warning, FactKind::ResourceFailed, text, reason);
            }
            ReportOutcome::PartRestarted { part } => {
                let text = format!("{service}: {part} runs again on {node}; the rest of the service was not touched");
                step.fact(FactSeverity::Info, FactKind::PartRestarted, text, None);
            }
            ReportOutcome::PartsStopped { parts } => {
                let (severity, text) = if parts.is_empty() {
                    self.failure = None;
                    (FactSeverity::Info, format!("Service {service} runs whole again on {node}"))
                } else {
                    let parts = join(parts);
                    let hint = format!("clusvcadm -c {service} starts it again");
                    (FactSeverity::Warning, format!("Service {service} is partial on {node}: without {parts} ({hint})"))
                };
                self.stopped_parts.clone_from(parts);
                step.fact(severity, FactKind::ServicePartial, text, None);
            }
            ReportOutcome::Convalesced { request, stopped } => self.convalesced(step, from, request, stopped),
            _ => {}
        }
    }

    /// The stopped parts have been tried again. That one of them failed does not hurt the service. Another request may have taken
    /// the place of the one that asked for it.
    fn convalesced(
        &mut self,
        step: &mut Step<'_>,
        from: NodeId,
        request: &RequestId,
        stopped: &BTreeSet<ResourceName>,
    ) {
        if self.order.as_ref().is_none_or(|order| order.request.id != *request) {
            return;
        }
        let (code, text) = if stopped.is_empty() {
            (ResultCode::Success, String::new())
        } else {
            (ResultCode::Failure, format!("{} did not start; the service goes on without", join(stopped)))
        };
        self.end_order(step.folded, code, Some(step.name_of(from)), text);
    }
}

fn join(parts: &BTreeSet<ResourceName>) -> String {
    parts.iter().map(|part| part.0.as_str()).collect::<Vec<_>>().join(", ")
}

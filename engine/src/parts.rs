//! What the shared state makes of things that befall parts of a started service (rhcs.md §5.6): the service stays started and
//! keeps its epoch; what changes is which parts are stopped, and what people are told.

use std::collections::BTreeSet;

use shared::conf::model::Conf;
use shared::ids::{NodeId, RequestId, ResourceName};
use shared::status::{Command, FactKind, FactSeverity, Reason, Subject};
use shared::text::{ResultCode, ServiceState};

use crate::message::{PartRemedy, Report, ReportOutcome};
use crate::replicated::{Folded, Replicated, node_name};

impl Replicated {
    /// A report about a part, by the holder, of the epoch that the service has.
    pub(crate) fn fold_part_report(&mut self, conf: &Conf, from: NodeId, report: &Report, folded: &mut Folded) {
        let service = &report.service;
        let node = node_name(conf, from);
        let Some(record) = self.services.get_mut(service) else { return };
        let mut tell = |severity, kind, text: String, reason| {
            folded.fact(report.at, Subject::Service(service.clone()), severity, kind, text, reason);
        };
        match &report.outcome {
            ReportOutcome::Tolerated { failure, count, max } => {
                let text = format!("{service}: {}; tolerated, {count} of {max}", failure.text());
                tell(FactSeverity::Warning, FactKind::ResourceFailed, text, None);
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
                    record.failure = Some(failure.clone());
                }
                tell(FactSeverity::Warning, FactKind::ResourceFailed, text, reason);
            }
            ReportOutcome::PartRestarted { part } => {
                let text = format!("{service}: {part} runs again on {node}; the rest of the service was not touched");
                tell(FactSeverity::Info, FactKind::PartRestarted, text, None);
            }
            ReportOutcome::PartsStopped { parts } => {
                let (severity, text) = if parts.is_empty() {
                    record.failure = None;
                    (FactSeverity::Info, format!("Service {service} runs whole again on {node}"))
                } else {
                    let parts = join(parts);
                    let hint = format!("clusvcadm -c {service} starts it again");
                    (FactSeverity::Warning, format!("Service {service} is partial on {node}: without {parts} ({hint})"))
                };
                record.stopped_parts.clone_from(parts);
                tell(severity, FactKind::ServicePartial, text, None);
            }
            ReportOutcome::Convalesced { request, stopped } => {
                self.fold_convalesced(conf, report, request, stopped, folded);
            }
            _ => {}
        }
    }

    /// The stopped parts have been tried again. That one of them failed does not hurt the service.
    fn fold_convalesced(
        &mut self,
        conf: &Conf,
        report: &Report,
        request: &RequestId,
        stopped: &BTreeSet<ResourceName>,
        folded: &mut Folded,
    ) {
        let Some(record) = self.services.get(&report.service) else { return };
        let asked = record.order.as_ref().is_some_and(|order| {
            order.request.id == *request && matches!(order.request.command, Command::Convalesce { .. })
        });
        if !asked {
            return;
        }
        let owner = record.holder.map(|holder| node_name(conf, holder));
        let (code, text) = if stopped.is_empty() {
            (ResultCode::Success, String::new())
        } else {
            (ResultCode::Failure, format!("{} did not start; the service goes on without", join(stopped)))
        };
        self.finish_order(&report.service, code, owner, text, folded);
    }

    /// Whether a report about a part fits the state.
    pub(crate) fn fits_part_report(outcome: &ReportOutcome, state: ServiceState) -> bool {
        match outcome {
            ReportOutcome::PartFailed { .. } => matches!(state, ServiceState::Started | ServiceState::Starting),
            ReportOutcome::Tolerated { .. }
            | ReportOutcome::PartRestarted { .. }
            | ReportOutcome::PartsStopped { .. }
            | ReportOutcome::Convalesced { .. } => state == ServiceState::Started,
            _ => false,
        }
    }
}

fn join(parts: &BTreeSet<ResourceName>) -> String {
    parts.iter().map(|part| part.0.as_str()).collect::<Vec<_>>().join(", ")
}

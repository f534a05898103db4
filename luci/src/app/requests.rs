//! Requests to a running cluster: written down, handed to any member that answers under one id however often it must be
//! sent, and followed to their end. Restarting luci in between loses nothing.

use std::time::Duration;

use shared::ids::{NodeName, RequestId};
use shared::status::{Command, Refusal, Request};
use tokio::sync::oneshot;

use super::{App, AppError, Who};
use crate::clock;
use crate::ids::ClusterId;
use crate::repo::clusters::Cluster;
use crate::repo::requests::{RequestState, StoredRequest};
use crate::repo::tasks::Task;
use crate::ricci_client::{Ricci, RicciError};
use crate::watcher::Link;

/// How long a page waits for "accepted" or "refused" before it goes on and leaves the answer to the live update.
const ANSWER_WAIT: Duration = Duration::from_millis(1500);
/// How long a request is offered to the members before it counts as lost. An operator who pressed "stop" a minute
/// ago does not expect it to happen much later.
const OFFER_MS: i64 = 60_000;
/// Longest time a request is followed.
const FOLLOW_MS: i64 = 3600 * 1000;
/// Pause between rounds through the members.
const ROUND: Duration = Duration::from_secs(2);

impl App {
    /// Asks the cluster for something. The answer is the request's row, updated until it ends.
    pub async fn request(&self, who: &Who, cluster: &Cluster, command: Command) -> Result<StoredRequest, AppError> {
        let request = StoredRequest {
            id: RequestId(uuid::Uuid::new_v4().to_string()),
            cluster: cluster.id,
            user: who.name.clone(),
            at: clock::now_ms(),
            state: RequestState::Sending,
            member: None,
            text: None,
            ended_at: None,
            command,
        };
        // Written before it is sent: an operator who saw it accepted finds it again after a crash.
        self.repo.add_request(&request).await?;
        let object = object(&request.command);
        self.audit(who, Some(&cluster.name), request.command.verb(), &object, &detail(&request.command), "requested")
            .await?;
        let answered = self.carry_on(request.clone());
        let _ = tokio::time::timeout(ANSWER_WAIT, answered).await;
        Ok(self.repo.request(&request.id).await?.unwrap_or(request))
    }

    /// Asks for something a task needs: once, however often its step is repeated.
    pub(crate) async fn request_of_task(
        &self,
        task: &Task,
        cluster: ClusterId,
        word: &str,
        command: Command,
    ) -> Result<(), AppError> {
        let request = StoredRequest {
            id: RequestId(format!("{}-{word}", task.id)),
            cluster,
            user: task.user_name.clone(),
            at: clock::now_ms(),
            state: RequestState::Sending,
            member: None,
            text: None,
            ended_at: None,
            command,
        };
        let known = self.repo.request(&request.id).await?;
        match known.map(|known| known.state) {
            None => {
                self.repo.add_request(&request).await?;
                let _ = tokio::time::timeout(ANSWER_WAIT, self.carry_on(request)).await;
                Ok(())
            }
            Some(RequestState::Refused | RequestState::Failed | RequestState::Lost) => {
                let text = self.repo.request(&request.id).await?.and_then(|known| known.text).unwrap_or_default();
                Err(AppError::Conflict(format!("the cluster did not do it ({word}): {text}")))
            }
            Some(RequestState::Sending | RequestState::Accepted | RequestState::Done) => Ok(()),
        }
    }

    /// Sends a request and follows it to its end, beside everything else. Resolves at the first answer.
    pub(super) fn carry_on(&self, request: StoredRequest) -> oneshot::Receiver<()> {
        let (told, answered) = oneshot::channel();
        let app = self.clone();
        self.background.spawn("request", async move {
            let id = request.id.clone();
            if let Err(error) = app.carry(request, told).await {
                tracing::error!(request = %id, error = shared::chain(&error), "a request cannot be followed");
            }
        });
        answered
    }

    async fn carry(&self, request: StoredRequest, told: oneshot::Sender<()>) -> Result<(), AppError> {
        let member = match (request.state, &request.member) {
            (RequestState::Accepted, member) => member.clone(),
            _ => match self.offer(&request).await? {
                Some(member) => Some(member),
                None => return Ok(()),
            },
        };
        let _ = told.send(());
        self.follow(&request, member).await
    }

    /// Offers the request to the members until one takes or refuses it; the member that took it.
    async fn offer(&self, request: &StoredRequest) -> Result<Option<NodeName>, AppError> {
        let body = Request {
            id: request.id.clone(),
            command: request.command.clone(),
            origin: format!("{} via luci", request.user),
        };
        loop {
            let mut why = "no node of this cluster is paired with luci".to_owned();
            for ricci in self.members(request.cluster).await? {
                match ricci.request(&body).await {
                    Ok(()) => {
                        let state = RequestState::Accepted;
                        self.repo.set_request(&request.id, state, Some(ricci.node()), None, None).await?;
                        self.touch(request.cluster);
                        return Ok(Some(ricci.node().clone()));
                    }
                    Err(error) if error.is_about_the_node() => why = error.to_string(),
                    Err(error) => {
                        self.end(request, RequestState::Refused, &refusal_text(&error)).await?;
                        return Ok(None);
                    }
                }
            }
            if clock::now_ms() - request.at > OFFER_MS {
                let text = format!("no member took it: {why}");
                self.end(request, RequestState::Lost, &text).await?;
                return Ok(None);
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    async fn follow(&self, request: &StoredRequest, member: Option<NodeName>) -> Result<(), AppError> {
        loop {
            let mut members = self.members(request.cluster).await?;
            members.sort_by_key(|ricci| Some(ricci.node()) != member.as_ref());
            let mut unknown = 0;
            let count = members.len();
            for ricci in members {
                match ricci.outcome(&request.id).await {
                    Ok(Some(outcome)) => {
                        let state = match outcome.code.exit_status() {
                            0 => RequestState::Done,
                            _ => RequestState::Failed,
                        };
                        let mut text = outcome.code.text().to_owned();
                        if let Some(owner) = &outcome.owner {
                            text.push_str(&format!("; runs on {owner}"));
                        }
                        if !outcome.text.is_empty() && outcome.text != outcome.code.text() {
                            text.push_str(&format!(": {}", outcome.text));
                        }
                        return self.end(request, state, &text).await;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        let not_found = error.problem().is_some_and(|p| p.code == shared::api::ProblemCode::NotFound);
                        unknown += usize::from(not_found);
                    }
                }
            }
            if (count > 0 && unknown == count) || clock::now_ms() - request.at > FOLLOW_MS {
                let text = "no member knows how it ended; look at the state of the service";
                return self.end(request, RequestState::Lost, text).await;
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    async fn end(&self, request: &StoredRequest, state: RequestState, text: &str) -> Result<(), AppError> {
        self.repo.set_request(&request.id, state, None, Some(text), Some(clock::now_ms())).await?;
        self.touch(request.cluster);
        Ok(())
    }

    /// The paired nodes' ricci, the one that feeds the status first, silent ones last.
    pub(crate) async fn members(&self, cluster: ClusterId) -> Result<Vec<Ricci>, AppError> {
        let nodes = self.repo.nodes_of(cluster).await?;
        let snapshot = self.watchers.snapshot(cluster);
        let mut members: Vec<(u8, Ricci)> = nodes
            .iter()
            .filter_map(|node| {
                let ricci = self.clients.paired(node).ok()?;
                let rank = match &snapshot {
                    Some(snapshot) if matches!(&snapshot.link, Link::Live { from } if *from == node.name) => 0,
                    Some(snapshot)
                        if snapshot.nodes.get(&node.name).is_some_and(|seen| seen.silent_since.is_some()) =>
                    {
                        2
                    }
                    _ => 1,
                };
                Some((rank, ricci))
            })
            .collect();
        members.sort_by_key(|(rank, _)| *rank);
        Ok(members.into_iter().map(|(_, ricci)| ricci).collect())
    }
}

/// What a request is about: a service, a node, or all services.
pub fn object(command: &Command) -> String {
    match command {
        Command::Fence { node }
        | Command::AcknowledgeFence { node }
        | Command::Standby { node }
        | Command::Unstandby { node } => node.to_string(),
        other => other.service().map_or_else(|| "all services".into(), ToString::to_string),
    }
}

fn detail(command: &Command) -> String {
    match command {
        Command::Enable { on: Some(node), .. } => format!("on {node}"),
        Command::Enable { by_domain: true, .. } => "where the failover domain wants it".into(),
        Command::Relocate { to: Some(node), .. } | Command::Migrate { to: node, .. } => format!("to {node}"),
        _ => String::new(),
    }
}

fn refusal_text(error: &RicciError) -> String {
    match error.problem().and_then(|problem| problem.refusal.as_ref()) {
        Some(Refusal { code, text }) if text.is_empty() || text == code.text() => code.text().to_owned(),
        Some(Refusal { code, text }) => format!("{}: {text}", code.text()),
        None => error.to_string(),
    }
}

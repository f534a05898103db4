//! Who waits for what at the control socket: answers to requests, outcomes, configurations offered.
//!
//! Kept by the driver, one entry per open question, in bounded numbers; entries whose asker has gone are dropped.
//! Knows nothing of what is asked.

use std::collections::{BTreeMap, VecDeque};

use engine::OfferId;
use shared::conf::Finding;
use shared::ids::RequestId;
use shared::socket::PutConf;
use shared::status::{Answer, Outcome};
use tokio::sync::oneshot;

/// Questions of one kind that may be open. The socket allows fewer connections, and each asks one at a time.
const OPEN_MAX: usize = 1024;

/// Outcomes remembered for those who ask after the end.
const OUTCOMES_MAX: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    answers: BTreeMap<RequestId, Vec<oneshot::Sender<Answer>>>,
    outcomes: BTreeMap<RequestId, Vec<oneshot::Sender<Outcome>>>,
    /// With what the agents had to say.
    offers: BTreeMap<OfferId, (oneshot::Sender<PutConf>, Vec<Finding>)>,
    ended: BTreeMap<RequestId, Outcome>,
    /// Ids of `ended`, oldest first.
    order: VecDeque<RequestId>,
    offered: u64,
}

impl Waiting {
    /// Somebody waits for the answer to a request. Too many: not taken, which its asker sees as no answer.
    pub(super) fn for_answer(&mut self, id: RequestId, reply: oneshot::Sender<Answer>) {
        wait(&mut self.answers, id, reply);
    }

    /// Tells those who wait for it.
    pub(super) fn answer(&mut self, id: &RequestId, answer: &Answer) {
        tell(&mut self.answers, id, answer);
    }

    /// Somebody waits for the end of a request; told at once if it has ended.
    pub(super) fn for_outcome(&mut self, id: RequestId, reply: oneshot::Sender<Outcome>) {
        match self.ended.get(&id) {
            // An asker that has gone meanwhile does not matter.
            Some(outcome) => drop(reply.send(outcome.clone())),
            None => wait(&mut self.outcomes, id, reply),
        }
    }

    /// Whether somebody waits for the end of this request.
    pub(super) fn is_awaited(&self, id: &RequestId) -> bool {
        self.outcomes.contains_key(id)
    }

    /// A request has ended.
    pub(super) fn finish(&mut self, id: RequestId, outcome: Outcome) {
        tell(&mut self.outcomes, &id, &outcome);
        if self.ended.insert(id.clone(), outcome).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > OUTCOMES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.ended.remove(&oldest);
            }
        }
    }

    /// Somebody has offered a configuration; the name under which the engine answers. `findings`: what else is to be told.
    pub(super) fn for_offer(&mut self, reply: oneshot::Sender<PutConf>, findings: Vec<Finding>) -> OfferId {
        self.offers.retain(|_, (open, _)| !open.is_closed());
        self.offered += 1;
        let id = OfferId(self.offered);
        if self.offers.len() < OPEN_MAX {
            self.offers.insert(id, (reply, findings));
        }
        id
    }

    /// Tells who offered it.
    pub(super) fn answer_offer(&mut self, id: OfferId, result: PutConf) {
        if let Some((reply, told)) = self.offers.remove(&id) {
            let result = match result {
                PutConf::Accepted { version, digest, .. } => PutConf::Accepted { version, digest, findings: told },
                refused @ PutConf::Refused { .. } => refused,
            };
            // The asker may have gone; the configuration goes its way all the same.
            drop(reply.send(result));
        }
    }
}

fn wait<T>(open: &mut BTreeMap<RequestId, Vec<oneshot::Sender<T>>>, id: RequestId, reply: oneshot::Sender<T>) {
    if open.len() >= OPEN_MAX {
        for replies in open.values_mut() {
            replies.retain(|reply| !reply.is_closed());
        }
        open.retain(|_, replies| !replies.is_empty());
    }
    if open.len() < OPEN_MAX {
        let replies = open.entry(id).or_default();
        replies.retain(|reply| !reply.is_closed());
        replies.push(reply);
    }
}

fn tell<T: Clone>(open: &mut BTreeMap<RequestId, Vec<oneshot::Sender<T>>>, id: &RequestId, what: &T) {
    for reply in open.remove(id).into_iter().flatten() {
        // Who has gone needs nothing.
        drop(reply.send(what.clone()));
    }
}

#[cfg(test)]
mod tests {
    use shared::text::ResultCode;

    use super::*;

    fn outcome(text: &str) -> Outcome {
        Outcome { code: ResultCode::Success, owner: None, text: text.into() }
    }

    #[test]
    fn an_outcome_reaches_who_asked_before_and_who_asks_after() {
        let mut waiting = Waiting::default();
        let (give, mut before) = oneshot::channel();
        waiting.for_outcome(RequestId::from("1"), give);
        waiting.finish(RequestId::from("1"), outcome("done"));
        assert_eq!(before.try_recv().unwrap().text, "done");
        let (give, mut after) = oneshot::channel();
        waiting.for_outcome(RequestId::from("1"), give);
        assert_eq!(after.try_recv().unwrap().text, "done");
    }

    #[test]
    fn what_is_kept_stays_bounded_whatever_clients_do() {
        let mut waiting = Waiting::default();
        for number in 0..5_000 {
            waiting.finish(RequestId(number.to_string()), outcome(""));
            let (give, gone) = oneshot::channel();
            drop(gone);
            waiting.for_outcome(RequestId(format!("never-{number}")), give);
        }
        assert!(waiting.ended.len() <= OUTCOMES_MAX && waiting.outcomes.len() <= OPEN_MAX);
        // Those who went away make room for those who stay.
        let (give, mut stays) = oneshot::channel();
        waiting.for_outcome(RequestId::from("late"), give);
        waiting.finish(RequestId::from("late"), outcome("x"));
        assert!(stays.try_recv().is_ok());
    }
}

//! Turns successive statuses and facts of the engine into one numbered stream that readers can resume.
//!
//! The driver feeds it; `control` reads from it, any number of readers each at its own pace. Items are kept, as the
//! text that is sent, in a ring of bounded size: a reader that is too slow loses its place and gets the whole
//! status anew, it never costs memory. Each fact also becomes a line in the log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::status::{ClusterStatus, Fact, FactSeverity, StreamItem, StreamPosition};
use tokio::sync::watch;

/// Items kept. A reader that reconnects within this many changes misses nothing.
const ITEMS_KEPT: usize = 1024;
/// Bytes kept, because one change of a large cluster can be long.
const BYTES_KEPT: usize = 4 * 1024 * 1024;
/// Facts that a new reader gets with the whole status.
const FACTS_KEPT: usize = 200;

/// The stream. Clones are the same stream.
#[derive(Debug, Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Sequence of the newest item.
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    /// Names this life of the daemon.
    stream: String,
    status: Arc<ClusterStatus>,
    /// The status as it is answered, once somebody has asked since it changed.
    answer: Option<Arc<[u8]>>,
    /// Facts not yet sent with a change.
    fresh: Vec<Fact>,
    facts: VecDeque<Fact>,
    sequence: u64,
    /// `(sequence, item as JSON)`, without gaps, the newest last.
    items: VecDeque<(u64, Arc<str>)>,
    bytes: usize,
}

/// `Reply::Status` that owns nothing.
#[derive(serde::Serialize)]
struct StatusReply<'a> {
    reply: &'static str,
    status: &'a ClusterStatus,
}

/// What a reader does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Items as JSON, in order.
    pub items: Vec<Arc<str>>,
    /// The reader's place after them.
    pub sequence: u64,
}

impl Feed {
    /// `stream` must be different for every life of the daemon.
    pub fn new(stream: String, status: ClusterStatus) -> Self {
        let state = State {
            stream,
            status: Arc::new(status),
            answer: None,
            fresh: Vec::new(),
            facts: VecDeque::new(),
            sequence: 0,
            items: VecDeque::new(),
            bytes: 0,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), newest: watch::channel(0).0 }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Only a panic while holding the lock could poison it, and nothing in here panics.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status as it was published last.
    pub fn status(&self) -> Arc<ClusterStatus> {
        Arc::clone(&self.state().status)
    }

    /// The answer to a question for the status: one line with its end. Made once per change, because every command and
    /// every page asks, and in a large cluster the text is long.
    pub fn status_answer(&self) -> Result<Arc<[u8]>, serde_json::Error> {
        let status = {
            let state = self.state();
            if let Some(answer) = &state.answer {
                return Ok(Arc::clone(answer));
            }
            Arc::clone(&state.status)
        };
        let mut line = serde_json::to_vec(&StatusReply { reply: "status", status: &status })?;
        line.push(b'\n');
        let answer: Arc<[u8]> = line.into();
        let mut state = self.state();
        if Arc::ptr_eq(&state.status, &status) {
            state.answer = Some(Arc::clone(&answer));
        }
        Ok(answer)
    }

    /// Logs a fact and keeps it for the next [`Feed::publish`].
    pub fn tell(&self, fact: Fact) {
        log(&fact);
        self.state().fresh.push(fact);
    }

    /// Sends what differs from the status before, with the facts told since. Does nothing if nothing differs.
    pub fn publish(&self, status: ClusterStatus) {
        let mut state = self.state();
        let Some(item) = state.change_to(&status) else { return };
        // A status is plain data with string keys, which JSON can always hold.
        let Ok(text) = serde_json::to_string(&item) else {
            tracing::error!("the status cannot be written as JSON");
            return;
        };
        state.status = Arc::new(status);
        state.answer = None;
        state.keep(text.into());
        let newest = state.sequence;
        drop(state);
        self.shared.newest.send_replace(newest);
    }

    /// Wakes up when there is something newer.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.shared.newest.subscribe()
    }

    /// What a reader gets first: what it missed, or everything if that is no longer known.
    pub fn resume(&self, since: Option<&StreamPosition>) -> Batch {
        let state = self.state();
        match since {
            Some(position) if position.stream == state.stream && position.sequence <= state.sequence => {
                state.after(position.sequence)
            }
            _ => state.whole(),
        }
    }

    /// What a reader gets next.
    pub fn after(&self, sequence: u64) -> Batch {
        self.state().after(sequence)
    }

    /// The sign of life in between.
    pub fn alive(&self, sequence: u64) -> StreamItem {
        StreamItem::Alive { position: self.state().position(sequence) }
    }
}

impl State {
    fn position(&self, sequence: u64) -> StreamPosition {
        StreamPosition { stream: self.stream.clone(), sequence }
    }

    fn change_to(&mut self, status: &ClusterStatus) -> Option<StreamItem> {
        let old = Arc::clone(&self.status);
        let (nodes, nodes_removed) = difference(&old.nodes, &status.nodes, |node| node.id);
        let (services, services_removed) = difference(&old.services, &status.services, |service| service.name.clone());
        let head = head_of(status);
        // The time of making alone is no news.
        let mut same_time = head_of(&old);
        same_time.at = head.at;
        let quiet = nodes.is_empty()
            && nodes_removed.is_empty()
            && services.is_empty()
            && services_removed.is_empty()
            && self.fresh.is_empty()
            && same_time == head;
        if quiet {
            return None;
        }
        let facts = std::mem::take(&mut self.fresh);
        self.facts.extend(facts.iter().cloned());
        while self.facts.len() > FACTS_KEPT {
            self.facts.pop_front();
        }
        let position = self.position(self.sequence + 1);
        Some(StreamItem::Change {
            position,
            head: Box::new(head),
            nodes,
            nodes_removed,
            services,
            services_removed,
            facts,
        })
    }

    fn keep(&mut self, text: Arc<str>) {
        self.sequence += 1;
        self.bytes += text.len();
        self.items.push_back((self.sequence, text));
        while self.items.len() > ITEMS_KEPT || self.bytes > BYTES_KEPT {
            let Some((_, old)) = self.items.pop_front() else { break };
            self.bytes -= old.len();
        }
    }

    fn after(&self, sequence: u64) -> Batch {
        let oldest = self.items.front().map_or(self.sequence + 1, |(sequence, _)| *sequence);
        if sequence + 1 < oldest {
            return self.whole();
        }
        let items = self.items.iter().filter(|(number, _)| *number > sequence).map(|(_, text)| Arc::clone(text));
        Batch { items: items.collect(), sequence: self.sequence }
    }

    fn whole(&self) -> Batch {
        let item = StreamItem::Whole {
            position: self.position(self.sequence),
            status: Box::new((*self.status).clone()),
            facts: self.facts.iter().cloned().collect(),
        };
        let items = serde_json::to_string(&item).map(|text| vec![Arc::from(text)]).unwrap_or_default();
        Batch { items, sequence: self.sequence }
    }
}

fn head_of(status: &ClusterStatus) -> ClusterStatus {
    ClusterStatus {
        nodes: Vec::new(),
        services: Vec::new(),
        cluster: status.cluster.clone(),
        conf: status.conf.clone(),
        waits_for_fencing_of: status.waits_for_fencing_of.clone(),
        ..*status
    }
}

/// What is new or different in `new`, and what is gone from `old`. Both are sorted by key.
fn difference<T: Clone + PartialEq, K: Ord>(old: &[T], new: &[T], key: impl Fn(&T) -> K) -> (Vec<T>, Vec<K>) {
    let before: std::collections::BTreeMap<K, &T> = old.iter().map(|entry| (key(entry), entry)).collect();
    let now: std::collections::BTreeSet<K> = new.iter().map(&key).collect();
    let changed = new.iter().filter(|entry| before.get(&key(entry)) != Some(entry)).cloned().collect();
    let removed = before.into_keys().filter(|key| !now.contains(key)).collect();
    (changed, removed)
}

fn log(fact: &Fact) {
    let line = match &fact.reason {
        Some(reason) => format!("{} ({})", fact.text, reason.text()),
        None => fact.text.clone(),
    };
    match fact.severity {
        FactSeverity::Info => tracing::info!("{line}"),
        FactSeverity::Warning => tracing::warn!("{line}"),
        FactSeverity::Error => tracing::error!("{line}"),
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::{NodeId, ServiceName, Time};
    use shared::status::{FactKind, Phase, Quorum, Reason, ServiceStatus, Subject};
    use shared::text::ServiceState;

    use super::*;

    fn status(services: &[(&str, ServiceState)]) -> ClusterStatus {
        ClusterStatus {
            cluster: "c".into(),
            at: Time(1),
            local: NodeId(1),
            phase: Phase::Member,
            conf: None,
            quorum: Quorum::default(),
            coordinator: None,
            locked: false,
            nodes: Vec::new(),
            services: services
                .iter()
                .map(|(name, state)| ServiceStatus {
                    name: ServiceName::parse(name),
                    state: *state,
                    frozen: false,
                    partial: false,
                    owner: None,
                    last_owner: None,
                    restarts: 0,
                    last_transition: None,
                    reason: Reason::New,
                    waits_for: None,
                    request: None,
                    failure: None,
                    resources: Vec::new(),
                })
                .collect(),
            waits_for_fencing_of: Vec::new(),
        }
    }

    fn fact(text: &str) -> Fact {
        let (subject, severity, kind) = (Subject::Cluster, FactSeverity::Info, FactKind::ClusterFormed);
        Fact { at: Time(1), subject, severity, kind, text: text.into(), reason: None }
    }

    fn read(batch: &Batch) -> Vec<StreamItem> {
        batch.items.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    use ServiceState::{Disabled, Started, Stopped};

    #[test]
    fn a_reader_that_applies_every_item_has_the_same_status() {
        let feed = Feed::new("s".into(), status(&[]));
        let first = feed.resume(None);
        let mut copy = status(&[("wrong", Stopped)]);
        for services in [
            &[("a", Stopped), ("b", Stopped)][..],
            &[("a", Started), ("b", Stopped)],
            &[("b", Stopped), ("c", Disabled)],
            &[],
        ] {
            feed.publish(status(services));
        }
        for item in read(&first).iter().chain(&read(&feed.after(first.sequence))) {
            copy.apply(item);
        }
        assert_eq!(&copy, &*feed.status());
    }

    #[test]
    fn a_change_carries_only_what_changed_and_the_facts_since() {
        let feed = Feed::new("s".into(), status(&[("a", Stopped), ("b", Stopped)]));
        feed.tell(fact("it happened"));
        feed.publish(status(&[("a", Started), ("b", Stopped)]));
        let items = read(&feed.after(0));
        let [StreamItem::Change { services, services_removed, facts, .. }] = &items[..] else { panic!("{items:?}") };
        assert_eq!(services.iter().map(|service| service.name.bare()).collect::<Vec<_>>(), ["a"]);
        assert!(services_removed.is_empty());
        assert_eq!(facts.len(), 1);
    }

    #[test]
    fn the_answer_is_the_status_of_the_moment_and_made_once() {
        let feed = Feed::new("s".into(), status(&[("a", Stopped)]));
        let read = |answer: &[u8]| match serde_json::from_slice(answer).unwrap() {
            shared::socket::Reply::Status { status } => *status,
            other => panic!("{other:?}"),
        };
        let first = feed.status_answer().unwrap();
        assert_eq!((read(&first), first.last()), (status(&[("a", Stopped)]), Some(&b'\n')));
        assert!(Arc::ptr_eq(&first, &feed.status_answer().unwrap()));
        feed.publish(status(&[("a", Started)]));
        assert_eq!(read(&feed.status_answer().unwrap()), status(&[("a", Started)]));
    }

    #[test]
    fn nothing_is_sent_when_only_the_time_differs() {
        let feed = Feed::new("s".into(), status(&[]));
        feed.publish(ClusterStatus { at: Time(2), ..status(&[]) });
        assert_eq!(feed.after(0), Batch { items: Vec::new(), sequence: 0 });
    }

    #[test]
    fn a_reader_of_this_stream_resumes_and_any_other_gets_everything() {
        let feed = Feed::new("s".into(), status(&[]));
        for _ in 0..3 {
            feed.tell(fact("x"));
            feed.publish(status(&[]));
        }
        let at = |stream: &str, sequence| StreamPosition { stream: stream.into(), sequence };
        assert_eq!(feed.resume(Some(&at("s", 2))).items.len(), 1);
        assert!(feed.resume(Some(&at("s", 3))).items.is_empty());
        for position in [None, Some(at("t", 2)), Some(at("s", 4))] {
            let items = read(&feed.resume(position.as_ref()));
            let [StreamItem::Whole { facts, .. }] = &items[..] else { panic!("{items:?}") };
            assert_eq!(facts.len(), 3);
        }
    }

    #[test]
    fn a_reader_that_fell_behind_the_ring_gets_everything_and_the_ring_stays_bounded() {
        let feed = Feed::new("s".into(), status(&[]));
        for _ in 0..ITEMS_KEPT + 5 {
            feed.tell(fact("x"));
            feed.publish(status(&[]));
        }
        assert_eq!(feed.state().items.len(), ITEMS_KEPT);
        assert!(matches!(read(&feed.after(3))[..], [StreamItem::Whole { .. }]));
        assert_eq!(feed.after(5).items.len(), ITEMS_KEPT);
    }
}

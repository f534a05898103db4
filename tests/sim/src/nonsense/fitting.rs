//! Messages that fit the member they are handed to, so that they come past the first gate: the service is one that it knows, the
//! epoch that of its record, the sender one who could have said it. And each now and then not quite.

use std::collections::BTreeMap;

use engine::{
    AfterStop, Claim, ConfText, Decision, Hello, Incarnation, Intent, Lost, Message, Offer, Record, Replicated,
    ReportOutcome, StateTag, ViewTag,
};
use shared::ids::{BootId, ConfDigest, ConfVersion, Epoch, NodeId, NodeName, RequestId, ServiceName};
use shared::status::{Command, FencedHow};
use shared::text::ServiceState;

use crate::rng::Rng;

/// A node that no cluster.conf has.
pub(super) const STRANGER: NodeId = NodeId(77);

/// More than a joiner takes.
const PIECES_TOO_MANY: u32 = 20_000;

/// What must be known of a member to tell it something that fits.
pub(super) struct Fitting<'a> {
    pub(super) rng: &'a mut Rng,
    pub(super) me: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) nonce: u64,
    pub(super) view: ViewTag,
    pub(super) state: &'a Replicated,
}

impl Fitting<'_> {
    /// The message made to fit, with whatever must come before it, each with who sends it.
    pub(super) fn fit(&mut self, message: Message) -> Vec<(NodeId, Message)> {
        let from = self.member();
        let one = |from, message| vec![(from, message)];
        match message {
            Message::Hello(hello) => {
                let from = self.node();
                one(from, Message::Hello(Box::new(self.hello(from, *hello))))
            }
            Message::Found { at, .. } => self.founding(at),
            Message::Snapshot { .. } => {
                let (to, nonce, view) = (self.me, self.nonce + u64::from(self.rng.chance(100)), self.view);
                one(from, Message::Snapshot { to, nonce, view, state: Box::new(self.snapshot()) })
            }
            Message::SnapshotPiece { .. } => self.pieces(from),
            Message::Ready { at, clean, .. } => {
                one(from, Message::Ready { at, incarnation: self.incarnation_of(from), clean })
            }
            Message::Decide(mut decide) => {
                (decide.view, decide.branch) = (self.view, self.state.branch);
                if self.rng.chance(60) {
                    decide.branch.0 ^= 1;
                }
                decide.joins = self.state.joins;
                decide.decision = self.decision();
                one(from, Message::Decide(decide))
            }
            Message::Report(mut report) => {
                let (service, record) = self.service_that(|record| record.holder.is_some());
                let from = record.holder.filter(|_| !self.rng.chance(150)).unwrap_or(from);
                (report.service, report.epoch) = (service, self.epoch(record.epoch));
                report.incarnation = self.incarnation_of(from);
                if let Some(order) = record.order.filter(|_| self.rng.chance(300)) {
                    let other = RequestId("another".into());
                    let request = if self.rng.chance(300) { other } else { order.request.id };
                    report.outcome = ReportOutcome::Convalesced { request, stopped: record.stopped_parts };
                }
                one(from, Message::Report(report))
            }
            Message::FenceReport(mut report) => {
                let victims: Vec<_> =
                    self.state.lost.iter().map(|(id, lost)| (*id, lost.attempt, lost.running)).collect();
                let Some((victim, attempt, running)) = self.rng.pick(&victims).copied() else {
                    return one(from, Message::FenceReport(report));
                };
                let from = running.map(|(by, _)| by).filter(|_| !self.rng.chance(200)).unwrap_or(from);
                (report.victim, report.attempt) = (victim, self.nearly(attempt));
                one(from, Message::FenceReport(report))
            }
            Message::Progress { resources, .. } => {
                let (service, record) = self.service();
                let from = record.holder.unwrap_or(from);
                one(from, Message::Progress { service, epoch: self.epoch(record.epoch), resources })
            }
            Message::Request { at, mut request } => {
                self.fit_command(&mut request.command);
                let known: Vec<RequestId> = self.state.requests.iter().map(|record| record.id.clone()).collect();
                request.id = match self.rng.pick(&known).filter(|_| self.rng.below(4) == 0) {
                    Some(known) => known.clone(),
                    None => RequestId(format!("nonsense {}", self.rng.draw())),
                };
                one(from, Message::Request { at, request })
            }
            Message::ConfOffer { at, origin, .. } => {
                let conf = self.conf();
                one(from, Message::ConfOffer { at, conf, origin })
            }
            Message::ConfStored { failed, .. } => {
                let conf = self.state.offer.as_ref().map_or(&self.state.conf, |offer| &offer.conf);
                let (version, digest) = (conf.version, conf.digest.clone());
                // All say so, and the last of them perhaps not.
                let members: Vec<NodeId> = self.state.members.keys().copied().collect();
                let mut told: Vec<_> = members
                    .into_iter()
                    .map(|from| (from, Message::ConfStored { version, digest: digest.clone(), failed: None }))
                    .collect();
                if let (Some((_, Message::ConfStored { failed: last, .. })), true) =
                    (told.last_mut(), self.rng.chance(300))
                {
                    *last = failed;
                }
                told
            }
            Message::Leaving { .. } => one(from, Message::Leaving { incarnation: self.incarnation_of(from) }),
            Message::Restarting { at, .. } => {
                one(from, Message::Restarting { at, incarnation: self.incarnation_of(from) })
            }
            Message::Goodbye { .. } => one(from, Message::Goodbye { incarnation: self.incarnation_of(from) }),
        }
    }

    // Names and numbers.

    fn member(&mut self) -> NodeId {
        let members: Vec<NodeId> = self.state.members.keys().copied().collect();
        match self.rng.below(12) {
            0 => STRANGER,
            1 | 2 => self.me,
            _ => self.rng.pick(&members).copied().unwrap_or(self.me),
        }
    }

    /// A member, one that is or was lost, or one that nobody knows.
    fn node(&mut self) -> NodeId {
        let lost: Vec<NodeId> = self.state.lost.keys().chain(self.state.last_fenced.keys()).copied().collect();
        let lost = self.rng.pick(&lost).copied().filter(|_| self.rng.chance(400));
        lost.unwrap_or_else(|| self.member())
    }

    fn node_name(&mut self) -> NodeName {
        NodeName(format!("n{}", self.node()))
    }

    fn incarnation_of(&mut self, node: NodeId) -> Incarnation {
        let known = self.state.members.get(&node).map(|member| member.incarnation);
        let own = if node == self.me { Some(self.incarnation) } else { None };
        known.or(own).filter(|_| !self.rng.chance(120)).unwrap_or(Incarnation(9))
    }

    fn service(&mut self) -> (ServiceName, Record) {
        self.service_that(|_| true)
    }

    fn service_that(&mut self, wanted: impl Fn(&Record) -> bool) -> (ServiceName, Record) {
        let known: Vec<_> = self.state.services.iter().filter(|(_, record)| wanted(record)).collect();
        let known = self.rng.pick(&known).filter(|_| !self.rng.chance(60));
        known.map_or_else(nobodys_service, |(name, record)| ((*name).clone(), (*record).clone()))
    }

    fn epoch(&mut self, epoch: Epoch) -> Epoch {
        if self.rng.chance(150) { Epoch(epoch.0.saturating_sub(1)) } else { epoch }
    }

    fn nearly(&mut self, number: u32) -> u32 {
        if self.rng.chance(150) { number.saturating_add(1) } else { number }
    }

    // What is said.

    fn hello(&mut self, from: NodeId, hello: Hello) -> Hello {
        let own = if from == self.me { Some(self.nonce) } else { None };
        let boot = self.state.lost.get(&from).and_then(|lost| lost.boot.clone());
        let boot = boot.or_else(|| self.state.members.get(&from).map(|member| member.boot.clone()));
        let history = self.state.history;
        // What it speaks is no matter of opinion: the others go by it.
        let speaks = self.state.members.get(&from).map(|member| member.protocol);
        let (service, record) = self.service();
        let claim = if self.rng.chance(500) { Claim::Full } else { Claim::Part };
        Hello {
            nonce: own.unwrap_or(hello.nonce),
            view: self.view,
            boot: boot.filter(|_| self.rng.chance(500)).unwrap_or_else(|| BootId("another".into())),
            incarnation: self.incarnation_of(from),
            protocol: speaks.unwrap_or_else(|| 1 + u8::from(self.rng.chance(700))),
            state: if self.rng.chance(200) { Some(self.state_tag(from)) } else { None },
            claims: if self.rng.chance(600) { [(service.clone(), claim)].into() } else { BTreeMap::new() },
            conf: hello.conf.map(|_| self.conf()),
            intents: self.rng.chance(500).then(|| {
                let mut intents = hello.intents.unwrap_or_default();
                // Newer than what this history began with, and of another one: nobody here has heard of it.
                (intents.history, intents.change) = (history.saturating_sub(1), self.state.inherited.1 + 1);
                let intent = Intent { disabled: !record.frozen, frozen: true, enabled: false };
                intents.services.insert(service, intent);
                intents.services.insert(nobodys_service().0, intent);
                intents.standby.insert(STRANGER);
                intents
            }),
            ..hello
        }
    }

    fn state_tag(&mut self, lowest: NodeId) -> StateTag {
        let mut branch = self.state.branch;
        branch.0 ^= u64::from(self.rng.chance(500));
        StateTag {
            branch,
            history: self.state.history,
            was_quorate: self.rng.chance(500),
            quorate_ring: self.rng.below(3),
            decided: self.state.decided,
            lowest,
        }
    }

    /// Hellos, and a founding that names them.
    fn founding(&mut self, at: shared::ids::Time) -> Vec<(NodeId, Message)> {
        let mut told = Vec::new();
        let mut members = BTreeMap::new();
        let flaw = self.rng.below(8);
        for from in [self.me, self.member(), self.member()] {
            let nonce = if from == self.me { self.nonce } else { 1 };
            let hello = Hello {
                nonce,
                at,
                view: self.view,
                incarnation: self.incarnation_of(from),
                boot: BootId::default(),
                protocol: engine::PROTOCOL,
                state: if flaw == 1 { Some(self.state_tag(from)) } else { None },
                claims: BTreeMap::new(),
                conf: match flaw {
                    2 => None,
                    3 => Some(ConfText { text: "<cluster".into(), ..self.state.conf.clone() }),
                    _ => Some(self.state.conf.clone()),
                },
                intents: None,
            };
            members.insert(from, if flaw == 4 { nonce + 1 } else { nonce });
            told.push((from, Message::Hello(Box::new(hello))));
        }
        if flaw == 5 {
            members.remove(&self.me);
        }
        let mut view = self.view;
        view.0 ^= u64::from(flaw == 6);
        told.push((self.member(), Message::Found { at, view, members }));
        told
    }

    /// A state as a joiner gets it, or not quite.
    fn snapshot(&mut self) -> Replicated {
        let mut state = self.state.clone();
        match self.rng.below(9) {
            0 => state.conf.text.truncate(40),
            1 => {
                state.members.remove(&self.me);
            }
            // As of a release that did not know of proofs.
            2 => state.proofs.clear(),
            // What is on offer is in force already.
            3 => {
                let stored_by = state.members.keys().copied().collect();
                state.offer = Some(Offer { conf: state.conf.clone(), origin: "nobody".into(), stored_by });
            }
            // A node that cluster.conf does not have is to be fenced.
            4 => {
                let lost = Lost {
                    boot: None,
                    victim: true,
                    startup: false,
                    restarting: false,
                    since: None,
                    attempt: 1,
                    running: Some((self.me, 0)),
                    unfenceable: false,
                    last: None,
                    unwitnessed: false,
                    conf_version: state.conf.version,
                };
                state.lost.insert(STRANGER, lost);
            }
            _ => {}
        }
        state
    }

    fn pieces(&mut self, from: NodeId) -> Vec<(NodeId, Message)> {
        let state = Box::new(self.snapshot());
        let (to, nonce, view) = (self.me, self.nonce + u64::from(self.rng.chance(100)), self.view);
        let bytes = Message::Snapshot { to, nonce, view, state }.encode();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // What stands behind the name of the field, up to the two braces that end the message.
        let text = text.split_once("\"state\":").map_or("", |(_, state)| state.trim_end_matches('}'));
        let text = format!("{text}}}");
        let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (first, second) = text.split_at(middle);
        let mut pieces = vec![first.to_owned(), second.to_owned()];
        let mut count = 2;
        match self.rng.below(6) {
            0 => pieces.reverse(),
            1 => pieces[0].insert(0, 'x'),
            2 => count = PIECES_TOO_MANY,
            _ => {}
        }
        let first_number = u32::from(self.rng.chance(150));
        let numbered = (first_number..).zip(pieces);
        numbered.map(|(number, text)| (from, Message::SnapshotPiece { to, nonce, number, count, text })).collect()
    }

    /// One that could come next, or has something wrong with it.
    fn conf(&mut self) -> ConfText {
        let now = self.state.conf.version.0;
        let next = |version: u64| {
            self.state.conf.text.replace(&format!("config_version=\"{now}\""), &format!("config_version=\"{version}\""))
        };
        let (version, text) = match self.rng.below(6) {
            0 => (now, next(now)),
            1 => (now + 1, "<cluster name=\"c\" config_version=\"2\">".to_owned()),
            2 => (now + 1, String::new()),
            _ => (now + 1, next(now + 1)),
        };
        let digest = if self.rng.chance(150) { ConfDigest("0".into()) } else { shared::conf::digest(&text) };
        ConfText { version: ConfVersion(version), digest, text }
    }

    fn fit_command(&mut self, command: &mut Command) {
        let known = self.service().0;
        let name = self.node_name();
        match command {
            Command::Enable { service, on, .. } => {
                *service = known;
                *on = on.take().map(|_| name);
            }
            Command::Relocate { service, to } => {
                *service = known;
                *to = to.take().map(|_| name);
            }
            Command::Migrate { service, to } => (*service, *to) = (known, name),
            Command::Disable { service }
            | Command::Stop { service }
            | Command::Restart { service }
            | Command::Freeze { service }
            | Command::Unfreeze { service }
            | Command::Convalesce { service } => *service = known,
            Command::Fence { node }
            | Command::AcknowledgeFence { node }
            | Command::Standby { node }
            | Command::Unstandby { node } => *node = name,
            Command::Lock | Command::Unlock => {}
        }
    }

    /// Any decision about what there is.
    fn decision(&mut self) -> Decision {
        let (service, record) = self.service();
        let epoch = self.epoch(record.epoch);
        let victims: Vec<_> = self.state.lost.iter().map(|(id, lost)| (*id, lost.attempt)).collect();
        let (victim, attempt) = self.rng.pick(&victims).copied().unwrap_or((STRANGER, 0));
        if self.state.offer.is_some() && self.rng.chance(400) {
            return self.switch();
        }
        match self.rng.below(11) {
            0..=2 => Decision::Start { service, epoch, on: self.node() },
            3 => Decision::Stop { service, epoch, after: self.after_stop() },
            4 => Decision::Migrate { service, epoch, to: self.node() },
            5 => Decision::Decline { service, epoch },
            6 => Decision::Settle { service, epoch, state: self.settled() },
            7 => {
                let by = if self.rng.chance(300) { self.me } else { self.node() };
                // The first, or one that the node perhaps does not have.
                let method = if self.rng.chance(400) { 2 } else { 0 };
                let attempt = self.nearly(attempt).saturating_add(u32::from(self.rng.chance(850)));
                Decision::Fence { victim, by, method, attempt }
            }
            8 => Decision::Unfenceable { victim },
            9 => Decision::Assume { node: victim, how: FencedHow::Assumed },
            _ => self.switch(),
        }
    }

    fn switch(&mut self) -> Decision {
        let conf = self.state.offer.as_ref().map_or(&self.state.conf, |offer| &offer.conf);
        let version = ConfVersion(conf.version.0 + u64::from(self.rng.chance(200)));
        let digest = if self.rng.chance(200) { ConfDigest("0".into()) } else { conf.digest.clone() };
        Decision::Switch { version, digest }
    }

    fn after_stop(&mut self) -> AfterStop {
        match self.rng.below(7) {
            0 => AfterStop::Stopped,
            1 | 2 => AfterStop::Disabled,
            3 => AfterStop::Recover,
            4 => AfterStop::Relocate { to: Some(self.node()) },
            5 => AfterStop::Restart { on: self.node() },
            _ => AfterStop::Wait,
        }
    }

    fn settled(&mut self) -> ServiceState {
        [ServiceState::Stopped, ServiceState::Disabled, ServiceState::Started][self.rng.index(3)]
    }
}

fn nobodys_service() -> (ServiceName, Record) {
    (ServiceName("service:nobody".into()), Record::default())
}

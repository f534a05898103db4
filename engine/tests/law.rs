//! The law, clause by clause: what each rule refuses, and that it refuses nothing beside it. A cluster never comes by most of
//! this, because its policy obeys; the law is for the day when it does not.

use std::collections::{BTreeMap, BTreeSet};

use engine::law::{Proposal, check};
use engine::{
    AfterStop, Branch, Claim, ConfText, Decide, Decision, Incarnation, Lost, Member, Offer, Order, Record, Replicated,
    ViewTag,
};
use shared::ids::{BootId, ConfDigest, ConfVersion, Epoch, NodeId, RequestId, ServiceName, Time};
use shared::status::{Command, Reason, Request};
use shared::text::ServiceState;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

fn web() -> ServiceName {
    ServiceName::parse("web")
}

fn member() -> Member {
    Member {
        incarnation: Incarnation(1),
        boot: BootId("boot".into()),
        protocol: engine::PROTOCOL,
        has_state: true,
        clean: true,
        leaving: false,
        restarting: false,
        goodbye: false,
        claims: BTreeMap::new(),
        conf_version: ConfVersion(1),
        joined: 0,
    }
}

fn record(state: ServiceState, holder: Option<NodeId>) -> Record {
    Record { state, holder, ..Record::default() }
}

fn conf(version: u64, digest: &str) -> ConfText {
    ConfText { version: ConfVersion(version), digest: ConfDigest(digest.into()), text: String::new() }
}

/// Three clean members, and the service in this state.
fn cluster(state: ServiceState, holder: Option<NodeId>) -> Replicated {
    Replicated {
        branch: Branch(7),
        history: 1,
        inherited: (0, 0),
        decided: 0,
        intents_changed: 0,
        formed_at: Time(0),
        conf: conf(1, "one"),
        members: [N1, N2, N3].into_iter().map(|node| (node, member())).collect(),
        lost: BTreeMap::new(),
        services: BTreeMap::from([(web(), record(state, holder))]),
        locked: false,
        standby: BTreeSet::new(),
        offer: None,
        joins: 0,
        last_fenced: BTreeMap::new(),
        proofs: BTreeMap::new(),
        requests: Vec::new(),
    }
}

/// The rule that a decision of n1 breaks; 0: none.
fn broken(state: &Replicated, decision: Decision) -> u8 {
    broken_by(state, N1, state.branch, decision)
}

fn broken_by(state: &Replicated, from: NodeId, branch: Branch, decision: Decision) -> u8 {
    let decide = Decide { view: ViewTag(0), branch, at: Time(0), joins: 0, decision, reason: Reason::New };
    check(state, Proposal::Decide(from, &decide)).map_or_else(|unlawful| unlawful.rule, |()| 0)
}

fn start(on: NodeId) -> Decision {
    Decision::Start { service: web(), epoch: Epoch(0), on }
}

fn migrate(to: NodeId) -> Decision {
    Decision::Migrate { service: web(), epoch: Epoch(0), to }
}

fn stop(after: AfterStop) -> Decision {
    Decision::Stop { service: web(), epoch: Epoch(0), after }
}

fn settle() -> Decision {
    Decision::Settle { service: web(), epoch: Epoch(0), state: ServiceState::Stopped }
}

fn goodbye(state: &Replicated, node: NodeId) -> u8 {
    check(state, Proposal::Goodbye(node)).map_or_else(|unlawful| unlawful.rule, |()| 0)
}

#[test]
fn what_somebody_holds_is_neither_started_nor_called_stopped() {
    use ServiceState::{Recovering, Started, Starting, Stopped, Stopping};
    for state in [Started, Starting, Stopping] {
        let held = cluster(state, Some(N2));
        assert_eq!(
            [broken(&held, start(N2)), broken(&held, start(N3)), broken(&held, settle())],
            [1, 1, 1],
            "{state:?}"
        );
        assert_eq!(broken(&held, stop(AfterStop::Recover)), 0, "{state:?}");
    }
    for state in [Stopped, Recovering] {
        let free = cluster(state, None);
        assert_eq!([broken(&free, start(N3)), broken(&free, settle())], [0, 0], "{state:?}");
    }
}

#[test]
fn only_what_is_started_migrates() {
    assert_eq!(broken(&cluster(ServiceState::Started, Some(N1)), migrate(N2)), 0);
    for state in [ServiceState::Stopping, ServiceState::Migrating, ServiceState::Failed] {
        assert_eq!(broken(&cluster(state, Some(N1)), migrate(N2)), 1, "{state:?}");
    }
    assert_eq!(broken(&cluster(ServiceState::Stopped, None), migrate(N2)), 1);
}

#[test]
fn nothing_starts_while_a_lost_node_is_not_accounted_for() {
    let lost = Lost {
        boot: None,
        victim: true,
        startup: false,
        restarting: false,
        since: None,
        attempt: 0,
        running: None,
        unfenceable: false,
        last: None,
        unwitnessed: false,
        conf_version: ConfVersion(1),
    };
    let with_lost = |mut state: Replicated| {
        state.lost.insert(NodeId(4), lost.clone());
        state
    };
    assert_eq!(broken(&with_lost(cluster(ServiceState::Recovering, None)), start(N2)), 2);
    let held = with_lost(cluster(ServiceState::Started, Some(N1)));
    assert_eq!([broken(&held, migrate(N2)), broken(&held, stop(AfterStop::Disabled))], [0, 0]);
    assert_eq!(broken(&with_lost(cluster(ServiceState::Stopped, None)), settle()), 0);
}

#[test]
fn what_nobody_holds_is_not_stopped_and_comes_to_rest_stopped_or_disabled() {
    let free = cluster(ServiceState::Recovering, None);
    assert_eq!(broken(&free, stop(AfterStop::Disabled)), 1);
    let settle = |state| broken(&free, Decision::Settle { service: web(), epoch: Epoch(0), state });
    use ServiceState::{Disabled, Failed, Started, Stopped, Stopping};
    assert_eq!([Stopped, Disabled].map(settle), [0, 0]);
    assert_eq!([Started, Stopping, Failed].map(settle), [1, 1, 1]);
}

#[test]
fn a_member_that_says_goodbye_holds_nothing_expects_nothing_and_runs_nothing() {
    let mut state = cluster(ServiceState::Migrating, Some(N1));
    state.services.get_mut(&web()).unwrap().arriving = Some(N2);
    assert_eq!([N1, N2, N3].map(|node| goodbye(&state, node)), [3, 3, 0]);
    state.members.get_mut(&N3).unwrap().claims.insert(web(), Claim::Part);
    assert_eq!(goodbye(&state, N3), 3);
}

#[test]
fn what_failed_to_stop_stays_until_somebody_disables_it() {
    let with = |command: Option<Command>| {
        let mut state = cluster(ServiceState::Failed, Some(N1));
        let request = |command| Request { id: RequestId("r".into()), command, origin: "root".into() };
        state.services.get_mut(&web()).unwrap().order = command.map(|command| Order {
            request: request(command),
            asked_on: N1,
            since: Time(0),
            owner_before: Some(N1),
            begun: false,
        });
        state
    };
    let decisions =
        || [start(N2), settle(), stop(AfterStop::Recover), stop(AfterStop::Stopped), stop(AfterStop::Disabled)];
    let refused = |state: &Replicated| decisions().map(|decision| broken(state, decision));
    assert_eq!(refused(&with(None)), [4; 5]);
    assert_eq!(refused(&with(Some(Command::Stop { service: web() }))), [4; 5]);
    assert_eq!(refused(&with(Some(Command::Disable { service: web() }))), [4, 4, 4, 4, 0]);
    // One that nobody holds any more is still nobody's to start, and there is nobody to stop it.
    assert_eq!(refused(&cluster(ServiceState::Failed, None)), [4, 4, 1, 1, 1]);
}

#[test]
fn nothing_starts_on_who_is_not_a_clean_member_that_stays() {
    let state = cluster(ServiceState::Stopped, None);
    assert_eq!(broken(&state, start(NodeId(4))), 5);
    let change = |change: fn(&mut Member)| {
        let mut state = state.clone();
        change(state.members.get_mut(&N2).unwrap());
        [N2, N3].map(|node| broken(&state, start(node)))
    };
    assert_eq!(change(|member| member.clean = false), [5, 0]);
    assert_eq!(change(|member| member.goodbye = true), [5, 0]);
    let mut running = cluster(ServiceState::Started, Some(N1));
    running.members.get_mut(&N2).unwrap().clean = false;
    assert_eq!([N2, N3].map(|node| broken(&running, migrate(node))), [5, 0]);
}

#[test]
fn nothing_starts_that_somebody_runs_without_a_grant() {
    let claimed = |name: &str| {
        let mut state = cluster(ServiceState::Stopped, None);
        state.members.get_mut(&N1).unwrap().claims.insert(ServiceName::parse(name), Claim::Full);
        broken(&state, start(N2))
    };
    assert_eq!([claimed("web"), claimed("mail")], [5, 0]);
}

#[test]
fn a_decision_belongs_to_its_history_and_comes_from_one_who_knows_it() {
    let mut state = cluster(ServiceState::Stopped, None);
    assert_eq!(broken_by(&state, N1, Branch(8), start(N2)), 6);
    assert_eq!(broken_by(&state, NodeId(4), Branch(7), start(N2)), 6);
    state.members.get_mut(&N1).unwrap().has_state = false;
    assert_eq!(broken_by(&state, N1, Branch(7), start(N2)), 6);
}

#[test]
fn a_configuration_takes_effect_when_all_have_stored_that_one_and_it_is_newer() {
    let offered = |version: u64, stored_by: &[NodeId]| {
        let mut state = cluster(ServiceState::Stopped, None);
        let stored_by = stored_by.iter().copied().collect();
        state.offer = Some(Offer { conf: conf(version, "two"), origin: "root".into(), stored_by });
        state
    };
    let switch =
        |version, digest: &str| Decision::Switch { version: ConfVersion(version), digest: ConfDigest(digest.into()) };
    let all = [N1, N2, N3];
    assert_eq!(broken(&offered(2, &all), switch(2, "two")), 0);
    assert_eq!(broken(&offered(2, &[N1, N3]), switch(2, "two")), 7);
    assert_eq!(broken(&offered(2, &all), switch(3, "two")), 7);
    assert_eq!(broken(&offered(2, &all), switch(2, "other")), 7);
    assert_eq!(broken(&offered(1, &all), switch(1, "two")), 7);
    assert_eq!(broken(&cluster(ServiceState::Stopped, None), switch(2, "two")), 7);
}

//! Which requests about a service the cluster would take now, and why not the others: a button that would be refused is
//! shown, and says why it cannot be pressed. Follows the engine's admission (rhcs.md §2.3, §3.2); the engine decides.

use shared::status::{ClusterStatus, Command, ServiceStatus};
use shared::text::ServiceState;

/// Why each request would be refused now; `None`: it would be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Offers {
    pub start: Option<String>,
    pub relocate: Option<String>,
    pub migrate: Option<String>,
    pub restart: Option<String>,
    pub stop: Option<String>,
    pub disable: Option<String>,
    pub freeze: Option<String>,
    pub unfreeze: Option<String>,
    pub convalesce: Option<String>,
}

/// Words for a request that is under way.
fn under_way(service: &ServiceStatus) -> Option<String> {
    let request = service.request.as_ref()?;
    Some(format!("{} asked by {} is still under way", request.command.verb(), request.origin))
}

fn can_be_called_off(service: &ServiceStatus) -> bool {
    let stops = |command: &Command| matches!(command, Command::Disable { .. } | Command::Stop { .. });
    let stopping = service.request.as_ref().is_some_and(|request| stops(&request.command));
    !stopping && service.state != ServiceState::Migrating
}

/// What is stopped while a lost node is not fenced could not start again.
fn unfenced(status: &ClusterStatus) -> Option<String> {
    let names: Vec<&str> =
        status.nodes.iter().filter(|node| node.fencing.is_some()).map(|node| node.name.0.as_str()).collect();
    let text =
        format!("{} must be fenced first; until then nothing starts, and it goes on where it is", names.join(", "));
    (!names.is_empty()).then_some(text)
}

impl Offers {
    /// Everything is refused for one reason.
    fn none(why: &str) -> Self {
        let why = Some(why.to_owned());
        Self {
            start: why.clone(),
            relocate: why.clone(),
            migrate: why.clone(),
            restart: why.clone(),
            stop: why.clone(),
            disable: why.clone(),
            freeze: why.clone(),
            unfreeze: why.clone(),
            convalesce: why,
        }
    }

    /// What can be asked of a service of a cluster that answers.
    pub fn of(service: &ServiceStatus, status: &ClusterStatus) -> Self {
        if !status.quorum.quorate {
            return Self::none("the members that answer have no quorum");
        }
        let state = service.state;
        let say = |text: &str| Some(text.to_owned());
        let when = |refused: bool, text: &str| refused.then(|| text.to_owned());
        let restful = matches!(state, ServiceState::Stopped | ServiceState::Started | ServiceState::Disabled);
        let busy = || (!restful).then(|| format!("it is {}; wait until that has ended", state.name()));
        let freeze = when(service.frozen, "it is frozen already").or_else(busy);
        let unfreeze = when(!service.frozen, "it is not frozen");
        if service.frozen {
            return Self { freeze, unfreeze, ..Self::none("it is frozen; unfreeze it first") };
        }
        if let Some(why) = under_way(service) {
            // Stopping takes the place of what is under way, but for a migration and for stopping itself; the others wait for its end.
            let ends_it = service.owner.is_none() || can_be_called_off(service);
            let disable = (!ends_it).then(|| why.clone());
            let freeze = freeze.or_else(|| Some(why.clone()));
            return Self { freeze, unfreeze, stop: disable.clone(), disable, ..Self::none(&why) };
        }
        let locked = when(status.locked, "services are locked; unlock them first");
        let failed = when(state == ServiceState::Failed, "it is failed; disable it first");
        let idle = matches!(state, ServiceState::Disabled | ServiceState::Uninitialized);
        let runs = service.owner.is_some() && !matches!(state, ServiceState::Failed);
        let started = matches!(state, ServiceState::Started | ServiceState::Stopped);
        let unfenced = unfenced(status).filter(|_| state == ServiceState::Started);
        let moves =
            failed.clone().or_else(|| when(idle, "it is disabled; start it instead")).or_else(|| locked.clone());
        let moves = moves.or_else(|| unfenced.clone());
        Self {
            start: failed.clone().or_else(|| when(runs, "it has an owner already")).or(locked),
            migrate: failed
                .clone()
                .or_else(|| when(state != ServiceState::Started, &format!("it is {}, not started", state.name())))
                .or_else(|| when(status.locked, "services are locked; unlock them first")),
            relocate: moves,
            restart: when(!started, &format!("it is {}, not started", state.name())).or(unfenced),
            stop: failed.or_else(|| when(idle, "it is disabled already")),
            disable: when(state == ServiceState::Disabled, "it is disabled already"),
            freeze,
            unfreeze,
            convalesce: if service.partial { None } else { say("nothing of it was left stopped by fault isolation") },
        }
    }
}

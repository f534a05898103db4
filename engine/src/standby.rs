//! Standby: a node gives its services away and gets none, while it stays a full member that votes and fences. What was driven
//! out by it remembers where it came from and goes home when the node is online again (design: a drain that remembers).
//!
//! The mark is an administrator's intent: it is kept over a restart of the daemon and of the whole cluster.

use shared::conf::model::{Conf, Service};
use shared::ids::{NodeId, Time};
use shared::placement::{Situation, level};
use shared::status::{FactKind, FactSeverity, Reason, Subject};

use crate::coordinator::obstacle;
use crate::placement::{Load, takers};
use crate::record::Record;
use crate::replicated::{Folded, Replicated, node_name};

impl Replicated {
    /// An operator put the node in standby, or ended that.
    pub(crate) fn fold_standby(
        &mut self,
        at: Time,
        conf: &Conf,
        id: NodeId,
        standby: bool,
        reason: Reason,
        folded: &mut Folded,
    ) {
        let changed = if standby { self.standby.insert(id) } else { self.standby.remove(&id) };
        if !changed {
            return;
        }
        self.intents_changed += 1;
        if !standby {
            // For whoever its domain prefers there it is as if the node had just joined.
            self.joins += 1;
            let joins = self.joins;
            if let Some(member) = self.members.get_mut(&id).filter(|member| member.clean) {
                member.joined = joins;
            }
        }
        self.unpark();
        if !standby {
            self.note_newcomer(conf, id);
            self.forget_worse_homes(conf, id);
        }
        let name = node_name(conf, id);
        let text = if standby {
            format!("{name} is in standby: its services move away and it gets none")
        } else {
            format!("{name} is online again; what standby drove away returns")
        };
        folded.fact(at, Subject::Node(name), FactSeverity::Info, FactKind::NodeStandby, text, Some(reason));
    }
}

impl Replicated {
    /// What has found a better place than its home stays there, also when its domain changes later.
    fn forget_worse_homes(&mut self, conf: &Conf, home: NodeId) {
        let takers = takers(self);
        for (name, record) in self.services.iter_mut().filter(|(_, record)| record.home == Some(home)) {
            let Some((service, holder)) = conf.service(name).zip(record.holder) else { continue };
            if !is_no_worse(conf, service, home, holder, &takers) {
                record.home = None;
            }
        }
    }
}

/// As if the service ran nowhere: that it runs elsewhere now is no reason to leave it there.
fn is_no_worse(conf: &Conf, service: &Service, home: NodeId, holder: NodeId, takers: &[NodeId]) -> bool {
    let neutral = Situation { online: takers, owner: None, running: false };
    level(conf, service, home, neutral) >= level(conf, service, holder, neutral)
}

/// Where a service that standby drove away goes home to: the node takes services again, and is by itself no worse a place.
pub(crate) fn home(
    state: &Replicated,
    conf: &Conf,
    service: &Service,
    record: &Record,
    takers: &[NodeId],
    load: &Load,
) -> Option<NodeId> {
    let (home, holder) = (record.home?, record.holder?);
    let returns = home != holder && takers.contains(&home) && takers.contains(&holder);
    if !returns || !load.admits(home, service) || obstacle(state, conf, &service.name, record).is_some() {
        return None;
    }
    is_no_worse(conf, service, home, holder, takers).then_some(home)
}

//! Who acts, and what they may where: roles everywhere and on single clusters, narrowed by the token they come with.
//! Called by the door of `http`, the only place that refuses for want of a role; decides nothing else.

use std::collections::BTreeMap;

use super::{App, AppError};
use crate::ids::{ClusterId, UserId};
use crate::repo::RepoError;
use crate::repo::tasks::Task;
use crate::repo::users::{Preferences, Role};

/// Where an account, or a token of it, has which role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    everywhere: Option<Role>,
    clusters: BTreeMap<ClusterId, Role>,
    limit: Option<Limit>,
}

/// What a token takes away from the rights of its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The most it may.
    pub role: Role,
    /// The only cluster it is for.
    pub cluster: Option<ClusterId>,
}

impl Access {
    pub fn new(everywhere: Option<Role>, clusters: BTreeMap<ClusterId, Role>, limit: Option<Limit>) -> Self {
        Self { everywhere, clusters, limit }
    }

    /// Whether a token with this role, for this cluster or for all, may no more than who asks for it.
    pub fn may_hand_on(&self, role: Role, cluster: Option<ClusterId>) -> bool {
        self.limit.is_none_or(|own| role <= own.role && (own.cluster.is_none() || own.cluster == cluster))
    }

    /// The role on luci itself and on clusters to come.
    pub fn everywhere(&self) -> Option<Role> {
        match self.limit {
            Some(Limit { cluster: Some(_), .. }) => None,
            Some(limit) => self.everywhere.map(|role| role.min(limit.role)),
            None => self.everywhere,
        }
    }

    /// The role on one cluster; `None`: the cluster is not to be seen.
    pub fn on(&self, cluster: ClusterId) -> Option<Role> {
        // `None` is less than any role, so that the higher of both counts.
        let own = self.everywhere.max(self.clusters.get(&cluster).copied());
        match self.limit {
            Some(Limit { cluster: Some(only), .. }) if only != cluster => None,
            Some(limit) => own.map(|role| role.min(limit.role)),
            None => own,
        }
    }

    /// The highest role anywhere.
    pub fn highest(&self) -> Option<Role> {
        let anywhere = self.everywhere.max(self.clusters.values().copied().max());
        self.limit.map_or(anywhere, |limit| anywhere.map(|role| role.min(limit.role)))
    }

    /// The role on what a task is about: its cluster, or luci itself while there is none.
    pub fn on_task(&self, task: &Task) -> Option<Role> {
        self.on_cluster_or_luci(task.cluster_id)
    }

    /// The role on a cluster, or on luci itself.
    pub fn on_cluster_or_luci(&self, cluster: Option<ClusterId>) -> Option<Role> {
        cluster.map_or_else(|| self.everywhere(), |cluster| self.on(cluster))
    }
}

/// How somebody proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A browser's session: hash of its token, and the token of its forms.
    Session { token_hash: String, csrf: String },
    /// A token of the API, by its name.
    Token { token_hash: String, name: String },
}

/// What a request is about, for its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// luci itself.
    Luci,
    Cluster(ClusterId),
}

/// The person (or token) that acts.
#[derive(Debug, Clone)]
pub struct Who {
    pub id: UserId,
    pub name: String,
    pub access: Access,
    /// What the request is about.
    pub scope: Scope,
    /// Where the request came from.
    pub address: String,
    pub proof: Proof,
    pub preferences: Preferences,
}

impl Who {
    /// The role on what the request is about.
    pub fn role(&self) -> Option<Role> {
        match self.scope {
            Scope::Luci => self.access.everywhere(),
            Scope::Cluster(cluster) => self.access.on(cluster),
        }
    }

    /// Whether the role on what the request is about suffices; for showing or hiding buttons.
    pub fn may(&self, needs: Role) -> bool {
        self.role() >= Some(needs)
    }

    /// The word for the role, in the frame of a page.
    pub fn role_name(&self) -> &'static str {
        self.role().map_or("some clusters", Role::name)
    }

    /// The token of the session's forms; a token of the API has no forms.
    pub fn csrf(&self) -> &str {
        match &self.proof {
            Proof::Session { csrf, .. } => csrf,
            Proof::Token { .. } => "",
        }
    }

    /// The session, if there is one.
    pub fn session(&self) -> Option<&str> {
        match &self.proof {
            Proof::Session { token_hash, .. } => Some(token_hash),
            Proof::Token { .. } => None,
        }
    }

    /// As the audit trail names the one who asked.
    pub fn audit_name(&self) -> String {
        match &self.proof {
            Proof::Session { .. } => self.name.clone(),
            Proof::Token { name, .. } => format!("{} (token {name})", self.name),
        }
    }

    /// As the cluster's log names the one who asked.
    pub fn origin(&self) -> String {
        format!("{} via luci", self.name)
    }
}

impl App {
    /// Who comes with this session. `browser`: what the browser calls itself; `None` for a page that is open already.
    pub async fn who_by_session(
        &self,
        token_hash: &str,
        browser: Option<&str>,
        address: &str,
    ) -> Result<Option<Who>, RepoError> {
        let Some(session) = self.repo.session(token_hash, browser).await? else { return Ok(None) };
        let grants = self.repo.grants_of(session.user_id).await?;
        Ok(Some(Who {
            id: session.user_id,
            name: session.user_name,
            access: Access::new(session.everywhere, grants, None),
            scope: Scope::Luci,
            address: address.to_owned(),
            proof: Proof::Session { token_hash: token_hash.to_owned(), csrf: session.csrf },
            preferences: session.preferences,
        }))
    }

    /// Who comes with this token of the API.
    pub async fn who_by_token(&self, token_hash: &str, address: &str) -> Result<Option<Who>, RepoError> {
        let Some(token) = self.repo.api_token(token_hash).await? else { return Ok(None) };
        let Some(user) = self.repo.user(token.user_id).await? else { return Ok(None) };
        let grants = self.repo.grants_of(user.id).await?;
        let limit = Limit { role: token.role, cluster: token.cluster_id };
        Ok(Some(Who {
            id: user.id,
            name: user.name,
            access: Access::new(user.everywhere, grants, Some(limit)),
            scope: Scope::Luci,
            address: address.to_owned(),
            proof: Proof::Token { token_hash: token_hash.to_owned(), name: token.name },
            preferences: user.preferences,
        }))
    }

    /// The same person now: an open page must not go on seeing what was taken away. `None`: the session or token ended,
    /// the role on what the page is about is gone, or a second factor is demanded that the account does not have.
    pub async fn still(&self, who: &Who) -> Result<Option<Who>, RepoError> {
        let now = match &who.proof {
            Proof::Session { token_hash, .. } => self.who_by_session(token_hash, None, &who.address).await?,
            Proof::Token { token_hash, .. } => self.who_by_token(token_hash, &who.address).await?,
        };
        let gone = |now: &Who| matches!(now.scope, Scope::Cluster(_)) && now.role().is_none();
        let Some(now) = now.map(|now| Who { scope: who.scope, ..now }).filter(|now| !gone(now)) else {
            return Ok(None);
        };
        Ok((!self.lacks_factor(&now).await?).then_some(now))
    }
}

/// Refuses unless the role suffices. On a cluster without any role, the cluster is not even admitted to exist.
pub fn check_role(role: Option<Role>, needs: Role) -> Result<(), AppError> {
    if role >= Some(needs) { Ok(()) } else { Err(AppError::NotAllowed { needs }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: ClusterId = ClusterId(1);
    const BETA: ClusterId = ClusterId(2);

    #[test]
    fn the_higher_role_counts_and_a_token_only_takes_away() {
        let grants = BTreeMap::from([(ALPHA, Role::Administrator)]);
        let account = Access::new(Some(Role::Viewer), grants.clone(), None);
        assert_eq!(account.on(ALPHA), Some(Role::Administrator));
        assert_eq!(account.on(BETA), Some(Role::Viewer));
        assert_eq!(account.everywhere(), Some(Role::Viewer));

        let limit = |role, cluster| Access::new(Some(Role::Viewer), grants.clone(), Some(Limit { role, cluster }));
        assert_eq!(limit(Role::Operator, None).on(ALPHA), Some(Role::Operator));
        assert_eq!(limit(Role::Operator, None).on(BETA), Some(Role::Viewer));
        let only_beta = limit(Role::Administrator, Some(BETA));
        assert_eq!((only_beta.on(ALPHA), only_beta.on(BETA)), (None, Some(Role::Viewer)));
        assert_eq!(only_beta.everywhere(), None);
    }

    #[test]
    fn without_a_role_everywhere_only_the_granted_clusters_exist() {
        let account = Access::new(None, BTreeMap::from([(ALPHA, Role::Operator)]), None);
        assert_eq!((account.on(ALPHA), account.on(BETA)), (Some(Role::Operator), None));
        assert!(check_role(account.on(BETA), Role::Viewer).is_err());
        assert!(check_role(account.on(ALPHA), Role::Operator).is_ok());
        assert!(check_role(account.on(ALPHA), Role::Administrator).is_err());
    }
}

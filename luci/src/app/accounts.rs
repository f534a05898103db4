//! Accounts: made, given roles, shut out; their sessions and tokens; and what everyone sets for themselves.

use std::collections::BTreeMap;

use super::auth::{check_password, check_user_name, hash_password};
use super::{App, AppError, Who};
use crate::ids::{ClusterId, SessionId, TokenId, UserId};
use crate::repo::RepoError;
use crate::repo::access::NewApiToken;
use crate::repo::users::{Preferences, Role, User};
use crate::tokens;

/// Most lines of a list on one page that an account may ask for.
pub const LINES_MAX: i64 = 500;
/// Fewest.
pub const LINES_MIN: i64 = 10;
/// How every token of the API begins, so that one that leaked is recognised.
const TOKEN_START: &str = "luci_";
/// Longest name of a token.
const TOKEN_NAME_MAX: usize = 64;

/// Roles of an account: everywhere, and on single clusters by their names.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    pub everywhere: Option<Role>,
    pub clusters: BTreeMap<String, Role>,
}

impl Roles {
    /// In words, for the audit trail.
    fn text(&self) -> String {
        let everywhere = self.everywhere.map_or_else(|| "no role everywhere".to_owned(), role_everywhere);
        let clusters = self.clusters.iter().map(|(cluster, role)| role_on(*role, cluster));
        std::iter::once(everywhere).chain(clusters).collect::<Vec<_>>().join("; ")
    }
}

/// How an account logs in, in the audit trail.
const BY_PAM: &str = "by PAM";

fn role_everywhere(role: Role) -> String {
    format!("role {role} everywhere", role = role.name())
}

fn role_on(role: Role, cluster: &str) -> String {
    format!("role {role} on {cluster}", role = role.name())
}

/// An account as lists show it.
#[derive(Debug)]
pub struct Listed {
    pub user: User,
    /// Its roles on single clusters.
    pub grants: BTreeMap<ClusterId, Role>,
    pub has_factor: bool,
}

impl App {
    /// All accounts by name, in three questions however many there are.
    pub async fn accounts(&self) -> Result<Vec<Listed>, RepoError> {
        let (mut grants, factors) = (self.repo.grants().await?, self.repo.users_with_factor().await?);
        let listed = |user: User| Listed {
            grants: grants.remove(&user.id).unwrap_or_default(),
            has_factor: factors.contains(&user.id),
            user,
        };
        Ok(self.repo.users().await?.into_iter().map(listed).collect())
    }

    /// The account with this name.
    pub async fn account(&self, name: &str) -> Result<User, AppError> {
        let user = self.repo.user_by_name(name).await?;
        user.ok_or_else(|| AppError::NoSuch { what: "account", name: name.to_owned() })
    }

    async fn cluster_roles(&self, roles: &Roles) -> Result<BTreeMap<ClusterId, Role>, AppError> {
        let mut found = BTreeMap::new();
        for (name, role) in &roles.clusters {
            found.insert(self.cluster(name).await?.id, *role);
        }
        Ok(found)
    }

    /// Adds an account.
    pub async fn add_user(&self, who: &Who, name: &str, password: String, roles: &Roles) -> Result<(), AppError> {
        check_user_name(name)?;
        check_password(&password)?;
        let clusters = self.cluster_roles(roles).await?;
        let hash = hash_password(password).await?;
        if !self.repo.add_user(name, &hash, roles.everywhere).await? {
            return Err(AppError::field("name", format!("there is already an account named {name}")));
        }
        let user = self.account(name).await?;
        self.repo.set_roles(user.id, roles.everywhere, &clusters).await?;
        Ok(self.audit(who, None, "add-user", name, &roles.text(), "done").await?)
    }

    /// Adds an account that logs in by PAM: its name is the one that the system knows, and its roles are luci's.
    pub async fn add_pam_user(&self, who: &Who, name: &str, roles: &Roles) -> Result<(), AppError> {
        check_user_name(name)?;
        if !self.has_pam() {
            return Err(AppError::field("login", "logging in by PAM is switched off; LUCI_PAM_SERVICE switches it on"));
        }
        let clusters = self.cluster_roles(roles).await?;
        if !self.repo.add_pam_user(name, roles.everywhere).await? {
            return Err(AppError::field("name", format!("there is already an account named {name}")));
        }
        let user = self.account(name).await?;
        self.repo.set_roles(user.id, roles.everywhere, &clusters).await?;
        Ok(self.audit(who, None, "add-user", name, &format!("{BY_PAM}; {}", roles.text()), "done").await?)
    }

    /// Sets what an account may where; open pages of it follow at once. Nobody changes their own roles, so that one
    /// administrator stays.
    pub async fn set_roles(&self, who: &Who, name: &str, roles: &Roles) -> Result<(), AppError> {
        let user = self.account(name).await?;
        if user.id == who.id {
            return Err(AppError::Conflict("you cannot change the roles of the account that you are using".into()));
        }
        let clusters = self.cluster_roles(roles).await?;
        self.repo.set_roles(user.id, roles.everywhere, &clusters).await?;
        self.watchers.touch_rights();
        Ok(self.audit(who, None, "set-roles", &user.name, &roles.text(), "done").await?)
    }

    /// Sets another account's password and ends its sessions.
    pub async fn reset_password(&self, who: &Who, name: &str, password: String) -> Result<(), AppError> {
        check_password(&password)?;
        let user = self.account(name).await?;
        let hash = hash_password(password).await?;
        self.repo.set_password(&user.name, &hash).await?;
        self.watchers.touch_rights();
        Ok(self.audit(who, None, "reset-password", &user.name, "", "done; all sessions ended").await?)
    }

    /// Removes an account with its sessions and tokens; never the own one, so that one administrator stays.
    pub async fn remove_user(&self, who: &Who, name: &str) -> Result<(), AppError> {
        let user = self.account(name).await?;
        if user.id == who.id {
            return Err(AppError::Conflict("you cannot remove the account that you are using".into()));
        }
        self.repo.remove_user(&user.name).await?;
        self.watchers.touch_rights();
        Ok(self.audit(who, None, "remove-user", &user.name, "", "done").await?)
    }

    /// Ends a session of an account.
    pub async fn revoke_session(&self, who: &Who, of: &User, session: SessionId) -> Result<(), AppError> {
        if !self.repo.revoke_session(of.id, session).await? {
            return Err(AppError::Conflict("this session has ended already".into()));
        }
        self.watchers.touch_rights();
        Ok(self.audit(who, None, "end-session", &of.name, "", "done").await?)
    }

    /// Makes a token for the own account. The secret is returned once, and stored nowhere.
    pub async fn add_api_token(
        &self,
        who: &Who,
        name: &str,
        role: Role,
        cluster: Option<&str>,
    ) -> Result<String, AppError> {
        if name.is_empty() || name.chars().count() > TOKEN_NAME_MAX || name.chars().any(char::is_control) {
            return Err(AppError::field("token-name", "name the token after what uses it, in at most 64 characters"));
        }
        let cluster = match cluster {
            Some(name) => Some(self.cluster(name).await?),
            None => None,
        };
        if let Some(cluster) = &cluster
            && who.access.on(cluster.id).is_none()
        {
            return Err(AppError::NoSuch { what: "cluster", name: cluster.name.clone() });
        }
        // A token was made before the second factor, or lies where the factor does not: it is no proof of both.
        if who.session().is_none() && self.repo.factor(who.id).await?.is_some() {
            let text =
                "this account has a second factor: its tokens are made in the browser, after logging in with both";
            return Err(AppError::field("token-name", text));
        }
        let id = cluster.as_ref().map(|cluster| cluster.id);
        if !who.access.may_hand_on(role, id) {
            return Err(AppError::field("token-role", "a token can make no token that may more than itself"));
        }
        let secret = format!("{TOKEN_START}{}", tokens::random());
        let token_hash = tokens::hash(&secret);
        if !self
            .repo
            .add_api_token(NewApiToken { token_hash: &token_hash, user: who.id, name, role, cluster: id })
            .await?
        {
            return Err(AppError::field("token-name", format!("you already have a token named {name}")));
        }
        let cluster = cluster.map(|cluster| cluster.name);
        let detail = cluster.as_deref().map_or_else(|| role_everywhere(role), |cluster| role_on(role, cluster));
        self.audit(who, cluster.as_deref(), "add-token", name, &detail, "done").await?;
        Ok(secret)
    }

    /// Ends a token of an account.
    pub async fn revoke_api_token(&self, who: &Who, of: &User, token: TokenId) -> Result<(), AppError> {
        let name = self.repo.revoke_api_token(of.id, token).await?;
        let name = name.ok_or_else(|| AppError::Conflict("this token was revoked already".into()))?;
        self.watchers.touch_rights();
        Ok(self.audit(who, None, "revoke-token", &name, &format!("token of {user}", user = of.name), "done").await?)
    }

    /// The own account.
    pub async fn own_account(&self, who: &Who) -> Result<User, AppError> {
        let user = self.repo.user(who.id).await?;
        user.ok_or_else(|| AppError::NoSuch { what: "account", name: who.name.clone() })
    }

    /// Sets how the own pages look.
    pub async fn set_preferences(&self, user: UserId, preferences: &Preferences) -> Result<(), AppError> {
        if !(LINES_MIN..=LINES_MAX).contains(&preferences.lines) {
            return Err(AppError::field("lines", format!("choose between {LINES_MIN} and {LINES_MAX} lines")));
        }
        Ok(self.repo.set_preferences(user, preferences).await?)
    }
}

//! Accounts: the list, one account, and the own one; sessions and tokens.

use std::collections::BTreeMap;

use askama::Template;

use super::manage::FormErrors;
use super::{Shell, time};
use crate::ids::ClusterId;
use crate::language::{Language, filters};
use crate::repo::access::ApiToken;
use crate::repo::clusters::Cluster;
use crate::repo::sessions::OpenSession;
use crate::repo::users::{Role, Theme, User};

/// Roles in a choice: value, words.
const ROLES: &[(&str, &str)] = &[
    ("viewer", "Viewer: sees"),
    ("operator", "Operator: also starts, stops, moves and fences"),
    ("administrator", "Administrator: also changes the configuration"),
];

/// The choice of a role with one of them chosen.
fn choice(chosen: Option<Role>) -> Vec<(&'static str, &'static str, bool)> {
    ROLES.iter().map(|(value, text)| (*value, *text, chosen.is_some_and(|role| role.name() == *value))).collect()
}

/// An account in the list.
#[derive(Debug)]
pub struct UserLine {
    pub name: String,
    pub everywhere: &'static str,
    pub clusters: Vec<String>,
    pub factor: bool,
}

impl UserLine {
    pub fn new(user: &User, grants: &BTreeMap<ClusterId, Role>, clusters: &[Cluster], factor: bool) -> Self {
        let named = clusters.iter().filter_map(|cluster| {
            let role = grants.get(&cluster.id)?;
            Some(format!("{}: {}", cluster.name, role.name()))
        });
        Self {
            name: user.name.clone(),
            everywhere: user.everywhere.map_or("none", Role::name),
            clusters: named.collect(),
            factor,
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "users.html")]
pub struct UsersPage {
    pub shell: Shell,
    pub users: Vec<UserLine>,
    pub name: String,
    /// Accounts may log in by PAM.
    pub pam: bool,
    /// The least role that demands a second factor.
    pub demanded_from: Option<Role>,
    /// Accounts that must switch theirs on first.
    pub lacking: Vec<String>,
    pub errors: FormErrors,
}

impl UsersPage {
    /// Of whom a second factor may be demanded: value, words, whether it is so.
    pub fn demands(&self) -> Vec<(&'static str, &'static str, bool)> {
        let now = self.demanded_from.map_or("", Role::name);
        [
            ("", "Nobody: each account decides for itself"),
            ("administrator", "Administrators, everywhere or on a cluster"),
            ("operator", "Operators and administrators"),
            ("viewer", "Every account that has a role"),
        ]
        .map(|(value, words)| (value, words, value == now))
        .to_vec()
    }

    pub fn lacks(&self, name: &str) -> bool {
        self.lacking.iter().any(|lacking| lacking == name)
    }

    pub fn roles(&self) -> Vec<(&'static str, &'static str, bool)> {
        choice(Some(Role::Viewer))
    }
}

/// The role of an account on one cluster.
#[derive(Debug)]
pub struct ClusterRole {
    pub name: String,
    pub role: Option<Role>,
}

impl ClusterRole {
    pub fn roles(&self) -> Vec<(&'static str, &'static str, bool)> {
        choice(self.role)
    }
}

/// An open session.
#[derive(Debug)]
pub struct SessionLine {
    pub id: String,
    pub browser: String,
    pub address: String,
    pub opened: String,
    pub seen: String,
    /// The one that asks.
    pub own: bool,
}

impl SessionLine {
    pub fn new(session: &OpenSession, own: Option<&str>) -> Self {
        Self {
            id: session.id.to_string(),
            browser: if session.browser.is_empty() { "says nothing".into() } else { session.browser.clone() },
            address: session.address.clone(),
            opened: time(session.created_at),
            seen: time(session.seen_at),
            own: own == Some(session.token_hash.as_str()),
        }
    }
}

/// A token of the API, without its secret.
#[derive(Debug)]
pub struct TokenRow {
    pub id: String,
    pub name: String,
    pub role: &'static str,
    pub cluster: String,
    pub made: String,
    pub used: String,
}

impl TokenRow {
    pub fn new(token: &ApiToken, clusters: &[Cluster]) -> Self {
        let name = |id| clusters.iter().find(|cluster| cluster.id == id).map(|cluster| cluster.name.clone());
        Self {
            id: token.id.to_string(),
            name: token.name.clone(),
            role: token.role.name(),
            cluster: token.cluster_id.map_or_else(|| "all".into(), |id| name(id).unwrap_or_default()),
            made: time(token.created_at),
            used: token.used_at.map_or_else(|| "never".into(), time),
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "user.html")]
pub struct UserPage {
    pub shell: Shell,
    pub name: String,
    /// The account that asks: it cannot take its own rights away.
    pub own: bool,
    /// It logs in by PAM.
    pub pam: bool,
    /// Since when it has a second factor.
    pub factor_since: Option<String>,
    pub everywhere: Option<Role>,
    pub roles: Vec<ClusterRole>,
    pub sessions: Vec<SessionLine>,
    pub tokens: Vec<TokenRow>,
    pub errors: FormErrors,
}

impl UserPage {
    pub fn everywhere_roles(&self) -> Vec<(&'static str, &'static str, bool)> {
        choice(self.everywhere)
    }

    /// Where the forms of this account go.
    pub fn root(&self) -> String {
        format!("/users/{}", self.name)
    }
}

#[derive(Debug, Template)]
#[template(path = "account.html")]
pub struct AccountPage {
    pub shell: Shell,
    /// Its password is the system's, and is changed there.
    pub pam: bool,
    pub has_factor: bool,
    pub sessions: Vec<SessionLine>,
    pub tokens: Vec<TokenRow>,
    /// Clusters that a token may be limited to.
    pub clusters: Vec<String>,
    /// Lines of a list: fewest, chosen, most.
    pub lines: (i64, i64, i64),
    /// The token that was just made; shown this once.
    pub secret: Option<String>,
    pub errors: FormErrors,
}

impl AccountPage {
    /// Languages in a choice: tag, own name, whether it is chosen.
    pub fn languages(&self) -> Vec<(&'static str, &'static str, bool)> {
        let chosen = self.shell.who.preferences.language;
        Language::ALL.into_iter().map(|each| (each.tag(), each.own_name(), chosen == Some(each))).collect()
    }

    pub fn themes(&self) -> Vec<(&'static str, &'static str, bool)> {
        Theme::ALL
            .into_iter()
            .map(|theme| {
                let text = match theme {
                    Theme::Auto => "As the system has it",
                    Theme::Light => "Light",
                    Theme::Dark => "Dark",
                };
                (theme.name(), text, theme == self.shell.who.preferences.theme)
            })
            .collect()
    }

    pub fn roles(&self) -> Vec<(&'static str, &'static str, bool)> {
        choice(Some(Role::Viewer))
    }
}

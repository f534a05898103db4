//! The fields of a form, as text. Handlers turn them into types with the functions here; rows of a form that can grow
//! have numbered names (`attr-0-name`, `attr-0-value`).

use axum::Form;
use axum::extract::{FromRequest, Request};
use shared::ids::ConfVersion;

use super::error::PageError;
use crate::app::AppError;
use crate::app::clusters::NodeEntry;
use crate::repo::nodes::NewNode;
use crate::tasks::PairSecret;

/// Most rows of a form that are read.
const ROWS_MAX: usize = 200;

/// All fields, in the order of the form.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) async fn read(request: Request) -> Result<Self, PageError> {
        match Form::<Vec<(String, String)>>::from_request(request, &()).await {
            Ok(Form(fields)) => Ok(Self(fields)),
            Err(rejection) => Err(PageError::Unreadable(rejection.to_string())),
        }
    }

    /// The first field of this name, without blanks around it; empty if there is none.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The same, blanks kept (passwords).
    pub fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    /// A field that may be left empty.
    pub fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A check box.
    pub fn checked(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// All values of a field that may occur several times.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone()).collect()
    }

    /// A number; empty is `None`.
    pub fn number<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, AppError> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| AppError::field(name, format!("{what} must be a whole number"))),
        }
    }

    /// The version that the page was made from.
    pub fn base(&self) -> Result<ConfVersion, AppError> {
        self.text("base")
            .parse()
            .map(ConfVersion)
            .map_err(|_| AppError::Conflict("the form does not say which version it changes; reload the page".into()))
    }

    /// All fields but the form's own, for showing the form again.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Values of fields `<prefix><name>`, in the order of the form.
    pub fn prefixed(&self, prefix: &str) -> Vec<(String, String)> {
        self.0
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.trim().to_owned())))
            .collect()
    }

    /// How many numbered rows `<stem>-N-…` there are.
    pub fn rows(&self, stem: &str) -> usize {
        let count = self
            .0
            .iter()
            .filter_map(|(key, _)| key.strip_prefix(stem)?.strip_prefix('-')?.split('-').next()?.parse::<usize>().ok())
            .max()
            .map_or(0, |last| last + 1);
        count.min(ROWS_MAX)
    }

    /// Free attribute rows `attr-N-name`, `attr-N-value`.
    pub fn attribute_rows(&self) -> Vec<(String, String)> {
        (0..self.rows("attr"))
            .map(|row| {
                (self.text(&format!("attr-{row}-name")).to_owned(), self.text(&format!("attr-{row}-value")).to_owned())
            })
            .filter(|(name, _)| !name.is_empty())
            .collect()
    }

    /// The secret of a node row: a token if one is given, else the password.
    pub fn pair_secret(&self, row: usize) -> Option<PairSecret> {
        let secret = self.raw(&format!("node-{row}-secret"));
        if secret.is_empty() {
            return None;
        }
        Some(match self.text(&format!("node-{row}-with")) {
            "token" => PairSecret::Token(secret.trim().to_owned()),
            _ => PairSecret::Password(secret.to_owned()),
        })
    }

    /// Rows of nodes; rows without a name are left out.
    pub fn node_entries(&self) -> Result<Vec<NodeEntry>, AppError> {
        let same = self.checked("same-secret").then(|| self.pair_secret(0)).flatten();
        let mut entries = Vec::new();
        for row in 0..self.rows("node") {
            let name = self.text(&format!("node-{row}-name"));
            let host = self.text(&format!("node-{row}-host"));
            if name.is_empty() && host.is_empty() {
                continue;
            }
            let port = self.number(&format!("node-{row}-port"), "the port")?.unwrap_or(shared::api::PORT);
            let node = NewNode {
                name: if name.is_empty() { host } else { name }.into(),
                host: if host.is_empty() { name } else { host }.to_owned(),
                port,
            };
            entries.push(NodeEntry { node, secret: self.pair_secret(row).or_else(|| same.clone()) });
        }
        Ok(entries)
    }
}

//! The numbers that name rows of luci's own database.

use std::fmt;

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

row_id!(
    /// A cluster that luci manages.
    ClusterId(i64)
);
row_id!(
    /// A node that luci knows; other than `shared::ids::NodeId`, which is the node's number in cluster.conf.
    NodeRow(i64)
);
row_id!(
    /// An account of luci.
    UserId(i64)
);
row_id!(
    /// A token of the API.
    TokenId(i64)
);
row_id!(
    /// A browser session, as the pages name it; other than its secret token.
    SessionId(i64)
);

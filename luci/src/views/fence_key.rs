//! The key of fence_xvm on the page of a fence device.

/// What the nodes have, and what the host needs.
#[derive(Debug)]
pub struct FenceKeyView {
    /// Node, SHA-256 of its key; `None`: it has none, or has not told.
    pub nodes: Vec<(String, Option<String>)>,
    /// Commands and file for the host.
    pub host: String,
}

impl FenceKeyView {
    /// Whether all nodes have the same key.
    pub fn agree(&self) -> bool {
        let first = self.nodes.first().and_then(|(_, key)| key.as_ref());
        first.is_some() && self.nodes.iter().all(|(_, key)| key.as_ref() == first)
    }

    /// Whether any node has one.
    pub fn exists(&self) -> bool {
        self.nodes.iter().any(|(_, key)| key.is_some())
    }
}

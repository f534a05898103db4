//! Resource and fence agents: the mapping of cluster.conf types to agents of today, and agents' metadata.

pub mod differences;
pub mod fence_names;
pub mod kinds;
pub mod mapping;
pub mod metadata;

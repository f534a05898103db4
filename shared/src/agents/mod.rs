//! Resource and fence agents: the mapping of cluster.conf types to agents of today, and agents' metadata.

pub mod kinds;
pub mod mapping;
pub mod metadata;

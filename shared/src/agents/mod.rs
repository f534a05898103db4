//! Resource and fence agents: the mapping of cluster.conf types to agents of today, and agents' metadata.

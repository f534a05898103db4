//! What corosync's quorum service says of a ring. Every node has one vote, as in all our configurations.
//!
//! What the model claims, held against the traces in tests/cpg_traces: each process hears of rings in the order in which its
//! node was in them, over a connection of its own, so earlier or later than the ring itself; each word names the ring it is
//! about; a ring that is soon replaced may get none, the last one always does.

/// Whether a ring of this size is quorate. `two_node`: a half is enough. `seen_all`: whether one of its members has seen all
/// nodes together since it started, which `wait_for_all` asks for (and `two_node` implies).
pub fn is_quorate(members: usize, nodes: usize, two_node: bool, seen_all: bool) -> bool {
    let needed = if two_node { nodes / 2 } else { nodes / 2 + 1 };
    members >= needed && seen_all
}

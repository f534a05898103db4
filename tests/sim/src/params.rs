//! How fast and how reliable the simulated world is. Drawn per seed (swarm testing): worlds that are all alike find little.

use crate::rng::Rng;

/// A range in milliseconds, both ends included.
pub type Range = (u64, u64);

/// The world's habits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Params {
    pub two_node: bool,
    /// States for joiners travel in pieces of this length.
    pub piece_bytes: usize,
    /// Messages go through their wire form.
    pub wire: bool,
    pub token_ms: Range,
    pub receive_ms: Range,
    pub take_ms: Range,
    /// Now and then a daemon does not come to its events for longer.
    pub stall_permille: u64,
    pub stall_ms: Range,
    pub quorum_ms: Range,
    pub token_loss_ms: Range,
    pub merge_ms: Range,
    /// Rings that do not hold all who reach each other.
    pub flap_permille: u64,
    pub run_ms: Range,
    /// Declared timeout of agents.
    pub timeout_ms: u64,
    pub fence_ms: Range,
    pub reboot_ms: Range,
    /// From power to corosync, from corosync to the daemon.
    pub start_ms: Range,
    pub store_ms: Range,
    pub start_fails_permille: u64,
    pub stop_fails_permille: u64,
    pub monitor_fails_permille: u64,
    pub fence_fails_permille: u64,
    /// The agent says that it is done and has done nothing.
    pub fence_lies_permille: u64,
    pub store_fails_permille: u64,
    /// A fenced node stays off.
    pub fence_leaves_off_permille: u64,
    /// The kernel tells of dead resources.
    pub notices: bool,
    /// Of addresses and mounts it tells beyond doubt that they are gone.
    pub notices_certain: bool,
}

impl Params {
    /// A world without haste and without chance.
    pub fn calm(two_node: bool) -> Self {
        Self {
            two_node,
            piece_bytes: engine::SNAPSHOT_PIECE_BYTES,
            wire: true,
            token_ms: (1, 1),
            receive_ms: (1, 1),
            take_ms: (1, 1),
            stall_permille: 0,
            stall_ms: (0, 0),
            quorum_ms: (5, 5),
            token_loss_ms: (3000, 3000),
            merge_ms: (100, 100),
            flap_permille: 0,
            run_ms: (200, 200),
            timeout_ms: 20_000,
            fence_ms: (2000, 2000),
            reboot_ms: (20_000, 20_000),
            start_ms: (500, 500),
            store_ms: (10, 10),
            start_fails_permille: 0,
            stop_fails_permille: 0,
            monitor_fails_permille: 0,
            fence_fails_permille: 0,
            fence_lies_permille: 0,
            store_fails_permille: 0,
            fence_leaves_off_permille: 0,
            notices: true,
            notices_certain: false,
        }
    }

    /// A world of the seed.
    pub fn draw(two_node: bool, rng: &mut Rng) -> Self {
        let mut scale = |small: u64, large: u64| -> Range {
            let high = match rng.below(3) {
                0 => small,
                1 => (small + large) / 2,
                _ => large,
            };
            (0, high)
        };
        let (token_ms, receive_ms, take_ms) = (scale(1, 10), scale(1, 20), scale(1, 30));
        let (quorum_ms, merge_ms, store_ms) = (scale(5, 400), scale(50, 1500), scale(5, 300));
        let (run_ms, fence_ms, start_ms) = (scale(20, 3000), scale(200, 6000), scale(100, 3000));
        let rare = |rng: &mut Rng, permille: u64| if rng.chance(400) { permille } else { 0 };
        Self {
            two_node,
            piece_bytes: if rng.chance(300) { 3000 } else { engine::SNAPSHOT_PIECE_BYTES },
            wire: rng.chance(60),
            token_ms,
            receive_ms,
            take_ms,
            stall_permille: rare(rng, 4),
            stall_ms: (100, 4000),
            quorum_ms,
            token_loss_ms: (300, 300 + rng.below(4000)),
            merge_ms,
            flap_permille: rare(rng, 200),
            run_ms,
            timeout_ms: 20_000,
            fence_ms,
            reboot_ms: (500, 2000 + rng.below(30_000)),
            start_ms,
            store_ms,
            start_fails_permille: rare(rng, 150),
            stop_fails_permille: rare(rng, 120),
            monitor_fails_permille: rare(rng, 30),
            fence_fails_permille: rare(rng, 500),
            fence_lies_permille: 0,
            store_fails_permille: rare(rng, 200),
            fence_leaves_off_permille: rare(rng, 300),
            notices: rng.chance(500),
            // From a copy, so that the seeds stay what they are.
            notices_certain: rng.clone().chance(500),
        }
    }

    /// From now on nothing fails by itself and nothing dawdles.
    pub fn heal(&mut self) {
        self.stall_permille = 0;
        self.flap_permille = 0;
        self.start_fails_permille = 0;
        self.stop_fails_permille = 0;
        self.monitor_fails_permille = 0;
        self.fence_fails_permille = 0;
        self.fence_lies_permille = 0;
        self.store_fails_permille = 0;
        self.fence_leaves_off_permille = 0;
    }
}

//! Any bytes from the group, on members of a formed cluster and on one that knows nothing.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static MEMBERS: LazyLock<Vec<engine::Engine>> = LazyLock::new(sim::nonsense::members);

fuzz_target!(|bytes: &[u8]| {
    sim::nonsense::deliver(&MEMBERS, bytes);
});

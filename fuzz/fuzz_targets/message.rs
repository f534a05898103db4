//! Any bytes from the group, as they are and made to fit, on members in the middle of something and on one that knows nothing.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sim::nonsense::{Listener, deliver, listeners};

static LISTENERS: LazyLock<Vec<Listener>> = LazyLock::new(listeners);

fuzz_target!(|bytes: &[u8]| {
    deliver(&LISTENERS, bytes);
});

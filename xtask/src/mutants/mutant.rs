//! The switches of the mutants; only in the copy that `cargo xtask mutants` builds.

use std::fs::File;
use std::io::Write as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

static ACTIVE: LazyLock<u32> =
    LazyLock::new(|| std::env::var("MUTANT").ok().and_then(|number| number.parse().ok()).unwrap_or(0));
static RECORD: LazyLock<Option<File>> = LazyLock::new(|| {
    let path = std::env::var_os("MUTANTS_REACHED")?;
    File::options().append(true).create(true).open(path).ok()
});
static REACHED: [AtomicBool; 10_000] = [const { AtomicBool::new(false) }; 10_000];

/// Whether this mutant is on. Notes that its place was reached.
#[inline]
pub fn is(number: u32) -> bool {
    if let Some(mut file) = RECORD.as_ref()
        && !REACHED[number as usize].swap(true, Ordering::Relaxed)
    {
        let _ = writeln!(file, "{number}");
    }
    *ACTIVE == number
}

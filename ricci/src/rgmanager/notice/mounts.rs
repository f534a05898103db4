//! What is mounted, and what of it has gone or changed since it was looked last.
//!
//! Read by the notice thread: the kernel marks `/proc/self/mountinfo` as urgent at every change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

const MOUNTINFO: &str = "/proc/self/mountinfo";

pub(super) struct Mounts {
    file: File,
    known: BTreeMap<String, String>,
}

impl Mounts {
    pub(super) fn open() -> io::Result<Self> {
        let file = File::open(MOUNTINFO)?;
        Ok(Self { file, known: parse(&std::fs::read_to_string(MOUNTINFO)?) })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Places whose mount is gone or another one (also one that became read-only); true: nothing is mounted there any more.
    pub(super) fn take(&mut self) -> BTreeMap<String, bool> {
        let Ok(text) = std::fs::read_to_string(MOUNTINFO) else { return BTreeMap::new() };
        let now = parse(&text);
        let changed = changed(&self.known, &now);
        let told = changed.into_iter().map(|place| (place.clone(), !now.contains_key(&place))).collect();
        self.known = now;
        told
    }
}

/// Whether something is mounted there now. What cannot be read is taken for mounted: nobody is told in vain.
pub(super) fn is_mounted(place: &str) -> bool {
    std::fs::read_to_string(MOUNTINFO).map_or(true, |text| parse(&text).contains_key(place))
}

fn changed(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> BTreeSet<String> {
    before.iter().filter(|(place, mount)| now.get(*place) != Some(mount)).map(|(place, _)| place.clone()).collect()
}

/// Place → everything about its topmost mount. A line: id, parent, device, root, place, options, … - type, source, …
fn parse(mountinfo: &str) -> BTreeMap<String, String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let place = line.split(' ').nth(4)?;
        Some((unescape(place), line.to_owned()))
    });
    // A later line lies over an earlier one.
    mounts.collect()
}

/// The kernel writes blanks and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match (byte, octal) {
            (b'\\', Some(written)) => {
                bytes.push(written);
                rest = &after[3..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_is_gone_or_became_read_only_is_told_and_a_new_one_is_not() {
        let before =
            parse("1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /srv\\040x rw - ext4 b rw\n3 1 8:3 / /mnt rw - ext4 c rw");
        let now = parse("1 0 8:1 / / rw - ext4 a rw\n3 1 8:3 / /mnt ro - ext4 c rw\n4 1 8:4 / /new rw - ext4 d rw");
        let changed: Vec<String> = changed(&before, &now).into_iter().collect();
        assert_eq!(changed, ["/mnt", "/srv x"]);
    }
}

//! One-time tokens for pairing. `ricci token` makes one, a running `ricci serve` takes it: each is a file named by the
//! token's hash in the state folder, so that the two processes need nothing else in common, and removing the file is
//! what uses it up, so that two takers cannot both succeed. The token itself is stored nowhere.

use std::fs;
use std::path::PathBuf;

use super::files::{self, FileError};
use super::fingerprint::sha256_hex;

/// Long enough to walk from one terminal to another browser.
pub(super) const LIFE_MS: u64 = 15 * 60 * 1000;

/// Digits without the ones that people mix up (I L O U).
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// 16 digits of 5 bits: 80 bits, far beyond what slowed-down guessing reaches in 15 minutes.
const LENGTH: usize = 16;

/// The folder of tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    folder: PathBuf,
}

impl Tokens {
    /// In `folder`, which is made when the first token is.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Makes a token from 16 random bytes and stores its hash; sweeps out the expired ones.
    pub(super) fn create(&self, random: &[u8; LENGTH], now_ms: u64) -> Result<String, FileError> {
        files::create_folder(&self.folder, 0o700)?;
        self.sweep(now_ms);
        let token: String = random.iter().map(|byte| char::from(DIGITS[usize::from(byte & 31)])).collect();
        let expires = now_ms.saturating_add(LIFE_MS).to_string();
        files::write_atomic(&self.path(&token), expires.as_bytes(), 0o600)?;
        let groups: Vec<&str> = (0..LENGTH).step_by(4).filter_map(|at| token.get(at..at + 4)).collect();
        Ok(groups.join("-"))
    }

    /// Uses a token up. False: unknown, used or expired.
    pub(super) fn take(&self, token: &str, now_ms: u64) -> Result<bool, FileError> {
        let plain: String = token.chars().filter(char::is_ascii_alphanumeric).collect();
        if plain.len() != LENGTH {
            return Ok(false);
        }
        let path = self.path(&plain.to_ascii_uppercase());
        let Some(bytes) = files::read(&path)? else { return Ok(false) };
        let in_time = expiry(&bytes).is_some_and(|expires| now_ms < expires);
        Ok(files::remove(&path)? && in_time)
    }

    fn path(&self, token: &str) -> PathBuf {
        self.folder.join(sha256_hex(token.as_bytes()))
    }

    fn sweep(&self, now_ms: u64) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let expired = fs::read(&path).is_ok_and(|bytes| expiry(&bytes).is_none_or(|expires| expires <= now_ms));
            if expired {
                // An old token that cannot be removed is still refused by its date.
                let _ = fs::remove_file(&path);
            }
        }
    }
}

fn expiry(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_works_once_and_in_any_spelling() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(folder.path().join("tokens"));
        let token = tokens.create(&[7; LENGTH], 1000).unwrap();
        assert_eq!(token, "7777-7777-7777-7777");
        assert!(!tokens.take("7777-7777-7777-7778", 1001).unwrap());
        assert!(tokens.take(" 7777 7777-77777777\n", 1001).unwrap());
        assert!(!tokens.take(&token, 1002).unwrap());
    }

    #[test]
    fn a_token_dies_after_fifteen_minutes() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(folder.path().to_owned());
        let token = tokens.create(&[9; LENGTH], 1000).unwrap();
        assert!(!tokens.take(&token, 1000 + LIFE_MS).unwrap());
    }

    #[test]
    fn the_token_itself_is_not_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(folder.path().to_owned());
        let token = tokens.create(&[3; LENGTH], 1000).unwrap();
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 1);
        assert!(!names[0].to_string_lossy().contains(&token.replace('-', "")));
    }
}

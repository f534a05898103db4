//! True PAM with service files that the test makes under names of its own; nobody's login is touched. Root, because PAM reads its
//! services from /etc/pam.d alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use pam::{PasswordChecks, Verdict};
use tempfile::TempDir;

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service of PAM, gone when dropped.
struct Service {
    name: String,
    path: PathBuf,
}

impl Service {
    fn new(name: &str, stack: &str) -> Self {
        let name = format!("cluster-suite-test-{}-{name}", std::process::id());
        let path = PathBuf::from("/etc/pam.d").join(&name);
        fs::write(&path, stack).expect("root may write a service of PAM");
        Self { name, path }
    }

    /// A stack in which a script decides: it gets the name in `PAM_USER` and the password on standard input.
    fn script(name: &str, folder: &TempDir, script: &str) -> Self {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        // As Debian's own stacks do it: the next line refuses, and is jumped over when the script agrees.
        let stack = format!(
            "auth [success=1 default=ignore] pam_exec.so quiet expose_authtok {}\nauth requisite pam_deny.so\n\
             auth required pam_permit.so\naccount required pam_permit.so\n",
            path.display()
        );
        Self::new(name, &stack)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn check(checks: &PasswordChecks, service: &Service, user: &str, password: &str) -> Verdict {
    checks.check(&service.name, user, password.to_owned()).await
}

#[tokio::test]
async fn the_stack_decides_about_name_and_password() {
    let folder = tempfile::tempdir().expect("folder");
    let script = "read -r password; [ \"$PAM_USER\" = alice ] && [ \"$password\" = 'correct horse' ]";
    let service = Service::script("script", &folder, script);
    let checks = PasswordChecks::new(2, PATIENCE);
    assert_eq!(check(&checks, &service, "alice", "correct horse").await, Verdict::Right);
    assert_eq!(check(&checks, &service, "alice", "wrong").await, Verdict::Wrong);
    assert_eq!(check(&checks, &service, "bob", "correct horse").await, Verdict::Wrong);
}

#[tokio::test]
async fn an_empty_password_is_wrong_whatever_the_stack_says() {
    let service = Service::new("permit", "auth required pam_permit.so\naccount required pam_permit.so\n");
    let checks = PasswordChecks::new(2, PATIENCE);
    assert_eq!(check(&checks, &service, "alice", "anything").await, Verdict::Right);
    assert_eq!(check(&checks, &service, "alice", "").await, Verdict::Wrong);
    assert_eq!(check(&checks, &service, "alice", "any\0thing").await, Verdict::Wrong);
}

#[tokio::test]
async fn an_account_that_may_not_log_in_is_refused_with_the_right_password() {
    let service = Service::new("shut", "auth required pam_permit.so\naccount required pam_deny.so\n");
    let checks = PasswordChecks::new(2, PATIENCE);
    assert_ne!(check(&checks, &service, "alice", "anything").await, Verdict::Right);
}

#[tokio::test]
async fn a_stack_that_hangs_is_given_up_and_keeps_no_more_than_its_places() {
    let folder = tempfile::tempdir().expect("folder");
    let gate = folder.path().join("gate");
    let made = std::process::Command::new("mkfifo").arg(&gate).status().expect("mkfifo");
    assert!(made.success());
    // Reading a pipe that nobody has opened for writing waits until somebody does.
    let service = Service::script("hangs", &folder, &format!("read -r line < {}", gate.display()));
    let checks = PasswordChecks::new(1, Duration::from_millis(200));
    let given_up = check(&checks, &service, "alice", "anything").await;
    assert!(matches!(&given_up, Verdict::Unknown(why) if why.contains("did not answer")), "{given_up:?}");
    let refused = check(&checks, &service, "alice", "anything").await;
    assert!(matches!(&refused, Verdict::Unknown(why) if why.contains("earlier checks")), "{refused:?}");
    // Lets the hanging one end, so that the runtime can.
    tokio::task::spawn_blocking(move || fs::write(gate, "\n")).await.expect("ended").expect("written");
}

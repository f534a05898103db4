//! The commands of the program `luci` as they are typed: what they print, to the byte, and their exit code.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder of the console in a folder of the test.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Exit code, standard output and standard error; the folder is `(folder)` in both, and `(folder)` in `line` is it.
    fn typed(&self, line: &str, input: &str) -> (i32, String, String) {
        let folder = self.folder.path().display().to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_luci"))
            .args(line.split_whitespace().map(|word| word.replace("(folder)", &folder)))
            .env("LUCI_STATE_DIR", self.path("state"))
            .env_remove("LUCI_LOG")
            .env_remove("LUCI_LOG_JSON")
            .env_remove("LUCI_DATABASE_URL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command may end without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&folder, "(folder)");
        (output.status.code().unwrap(), said(output.stdout), said(output.stderr))
    }

    #[track_caller]
    fn done(&self, line: &str, input: &str, expected: &str) {
        assert_eq!(self.typed(line, input), (0, expected.to_owned(), String::new()), "luci {line}");
    }

    #[track_caller]
    fn refused(&self, line: &str, input: &str, expected: &str) {
        assert_eq!(self.typed(line, input), (1, String::new(), expected.to_owned()), "luci {line}");
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

#[test]
fn accounts_are_added_listed_reset_and_removed() {
    let desk = Desk::new();
    // Before the first start, and so into a folder that is not there yet.
    desk.done("user add alice --role administrator", "quite a secret\n", "account alice added\n");
    desk.done("user add bob", "another secret\nnot this line\n", "account bob added\n");
    desk.done("user add carol --role operator", "a third secret", "account carol added\n");
    desk.done("user add dave --role=none", "a fourth secret\r\n", "account dave added\n");
    desk.done("user list", "", "alice\tadministrator\nbob\tviewer\ncarol\toperator\ndave\tnone\n");
    desk.done("user reset bob", "better than before\n", "password of bob set, its sessions ended\n");
    desk.done("user password bob", "and better again\n", "password of bob set, its sessions ended\n");
    desk.done("user remove bob", "", "account bob removed\n");
    desk.done("--state-dir (folder)/state user list", "", "alice\tadministrator\ncarol\toperator\ndave\tnone\n");
}

#[test]
fn what_cannot_be_done_to_an_account_is_said_in_one_line_and_changes_nothing() {
    let desk = Desk::new();
    desk.done("user add alice --role operator", "quite a secret\n", "account alice added\n");
    let name = "use letters, digits, and . _ - @ (at most 64)";
    for (line, input, sentence) in [
        ("user add alice", "another secret\n", "there is already an account named alice".to_owned()),
        ("user add a/b", "another secret\n", format!("'a/b' cannot be the name of an account: {name}")),
        ("user add bob", "short\n", "the password cannot be used: use at least 8 characters".to_owned()),
        ("user add bob", "", "the password cannot be used: use at least 8 characters".to_owned()),
        ("user reset bob", "another secret\n", "there is no account named bob".to_owned()),
        ("user reset alice", "short\n", "the password cannot be used: use at least 8 characters".to_owned()),
        ("user remove bob", "", "there is no account named bob".to_owned()),
    ] {
        desk.refused(line, input, &format!("luci: {sentence}\n"));
    }
    desk.done("user list", "", "alice\toperator\n");
}

#[test]
fn accounts_of_the_system_need_no_password_and_a_second_factor_is_taken_away_where_there_is_one() {
    let desk = Desk::new();
    desk.done("user add alice --role operator --pam", "", "account alice added\n");
    desk.done("user list", "", "alice\toperator\n");
    desk.refused("user remove-factor bob", "", "luci: there is no account named bob\n");
    desk.refused("user remove-factor alice", "", "luci: alice has no second factor\n");
}

#[test]
fn a_folder_without_a_database_is_named_and_left_as_it_is() {
    let desk = Desk::new();
    let sentence = "luci: there is no database in (folder)/state; name the state folder with --state-dir\n";
    for line in ["user list", "user reset alice", "user remove alice", "backup (folder)/saved"] {
        desk.refused(line, "quite a secret\n", sentence);
    }
    assert_eq!(files(desk.folder.path()), [""; 0], "nothing was made");
    std::fs::write(desk.path("state"), "").unwrap();
    let sentence = "luci: making the folder (folder)/state: File exists (os error 17)\n";
    desk.refused("user add alice", "quite a secret\n", sentence);
}

#[test]
fn a_backup_is_written_once_and_put_in_place_elsewhere() {
    let desk = Desk::new();
    desk.done("user add alice --role administrator", "quite a secret\n", "account alice added\n");
    desk.done("backup (folder)/saved", "", "luci.db written to (folder)/saved\n");
    assert_eq!(files(&desk.path("saved")), ["backup.txt", "luci.db"]);
    let full = "luci: (folder)/saved is not empty; name a folder of its own for each backup\n";
    desk.refused("backup (folder)/saved", "", full);
    desk.done("user remove alice", "", "account alice removed\n");

    let restored = "(folder)/new restored from (folder)/saved; everybody logs in anew\n";
    desk.done("--state-dir (folder)/new restore (folder)/saved", "", restored);
    desk.done("--state-dir (folder)/new user list", "", "alice\tadministrator\n");
    let (code, out, err) = desk.typed("restore (folder)/saved", "");
    assert_eq!((code, err.as_str()), (0, ""));
    let (first, second) = out.split_once('\n').unwrap();
    assert_eq!(first, "(folder)/state restored from (folder)/saved; everybody logs in anew");
    let kept = second.strip_prefix("what was there before is in (folder)/").and_then(|rest| rest.strip_suffix('\n'));
    assert!(desk.path(kept.unwrap()).join("luci.db").exists(), "{second}");
    desk.done("user list", "", "alice\tadministrator\n");

    std::fs::write(desk.path("saved/luci.db"), "x").unwrap();
    let damaged =
        "luci: (folder)/saved/luci.db is damaged: its checksum is not the one in backup.txt; take another backup\n";
    desk.refused("restore (folder)/saved", "", damaged);
    let nothing = "luci: (folder)/nowhere is no backup of luci: reading (folder)/nowhere/backup.txt: No such file or directory (os error 2)\n";
    desk.refused("restore (folder)/nowhere", "", nothing);
}

#[test]
fn mistyped_command_lines_are_explained_with_exit_code_2() {
    let desk = Desk::new();
    for (line, sentence) in [
        ("user add alice --role king", "error: invalid value 'king' for '--role <ROLE>'\n"),
        ("usr list", "error: unrecognized subcommand 'usr'\n"),
        ("user list --all", "error: unexpected argument '--all' found\n"),
        ("serve --listen everywhere", "error: invalid value 'everywhere' for '--listen <ADDRESS:PORT>': "),
        ("restore", "error: the following required arguments were not provided:\n  <FOLDER>\n"),
    ] {
        let (code, out, err) = desk.typed(line, "");
        assert_eq!((code, out.as_str()), (2, ""), "luci {line}");
        assert!(err.starts_with(sentence), "luci {line}: {err}");
    }
    assert_eq!(files(desk.folder.path()), [""; 0], "nothing was made");
    desk.done("--version", "", &format!("luci {}\n", env!("CARGO_PKG_VERSION")));
    let (code, out, err) = desk.typed("--help", "");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("\nUsage: luci [OPTIONS] <COMMAND>\n"), "{out}");
}

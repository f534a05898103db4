//! Bad input to every command: options that do not exist, files that cannot be read, sockets that may not be used, daemons
//! that are silent. One sentence says what, the exit code is the documented one, stdout stays empty.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fake::{FakeRgmanager, Ran, Say, run, three_nodes};
use ricci::cli::definition::ALL;
use shared::socket::Ask;

fn nowhere(program: &str, arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    run(program, arguments, &folder.path().join("rgmanager.sk"), "")
}

#[test]
fn an_option_that_does_not_exist_is_named_and_nothing_is_done() {
    for definition in ALL {
        let program = definition.program;
        let ran = nowhere(program, &["-~"]);
        // clustat forgives, as it did; ccs and fence_check have a code of their own; rg_test reads words.
        let code = match program {
            "clustat" => 0,
            "ccs" | "fence_check" => 2,
            _ => 1,
        };
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{program}: {ran:?}");
        let first = ran.err.lines().next().unwrap_or_default();
        let expected = match program {
            "rg_test" => "rg_test: there is no command '-~'".to_owned(),
            _ => format!("{program}: invalid option -- '~'"),
        };
        assert_eq!(first, expected);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().display().to_string();
    let missing = folder.path().join("missing.conf").display().to_string();
    for (program, before, after) in
        [("ccs_config_validate", "-f", None), ("rg_test", "test", None), ("ccs", "-f", Some("--lsnodes"))]
    {
        for (file, why) in [(&directory, "Is a directory"), (&missing, "No such file or directory")] {
            let mut arguments = vec![before, file.as_str()];
            arguments.extend(after);
            let ran = nowhere(program, &arguments);
            assert_eq!(ran.code, 1, "{program}: {ran:?}");
            assert!(ran.err.contains(file.as_str()) && ran.err.contains(why), "{program}: {}", ran.err);
            assert_eq!(ran.err.trim_end().lines().count(), 1, "{program}: {}", ran.err);
        }
    }
}

/// Runs a command as somebody who may not use the socket; `None` if the test itself is not root and cannot.
fn as_nobody(fake: &FakeRgmanager, path: &str, arguments: &[&str]) -> Option<Ran> {
    let output = Command::new(path)
        .args(arguments)
        .env("RGMANAGER_SOCKET", fake.socket())
        .env("TZ", "UTC")
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    Some(Ran {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    })
}

#[test]
fn who_may_not_use_the_socket_is_told_so_and_nothing_is_asked() {
    // The folder of the fake belongs to whoever runs the tests, and to nobody else.
    let fake = FakeRgmanager::with_status(three_nodes());
    let cases: [(&str, &[&str], i32, &str, &str); 4] = [
        (
            env!("CARGO_BIN_EXE_clusvcadm"),
            &["-d", "web"],
            238,
            "Local machine disabling service:web...Permission denied\n",
            "Only root may use clusvcadm.",
        ),
        (env!("CARGO_BIN_EXE_fence_tool"), &["ls"], 1, "", "fence_tool: no permission to use "),
        (env!("CARGO_BIN_EXE_fence_ack_manual"), &["-O", "node3"], 1, "", "fence_ack_manual: no permission to use "),
        (env!("CARGO_BIN_EXE_clustat"), &["-s", "web"], 1, "", "Could not connect to CMAN: "),
    ];
    for (path, arguments, code, out, err) in cases {
        let Some(ran) = as_nobody(&fake, path, arguments) else { return };
        // Where corosync runs, clustat still knows the members.
        if path.ends_with("clustat") && Path::new("/run/corosync.pid").exists() {
            continue;
        }
        assert_eq!((ran.code, ran.out.as_str()), (code, out), "{path}: {ran:?}");
        assert!(ran.err.starts_with(err), "{path}: {}", ran.err);
    }
    assert!(fake.asked().is_empty());
}

#[test]
fn a_daemon_that_is_silent_is_named_by_every_command_that_asks_it() {
    let fake = FakeRgmanager::start(|_: &Ask| Say::Nothing);
    for (program, arguments) in [
        ("clusvcadm", &["-e", "web"][..]),
        ("clusvcadm", &["-S"]),
        ("fence_tool", &["ls"]),
        ("fence_tool", &["dump"]),
        ("fence_check", &[]),
        ("fence_ack_manual", &["node3"]),
        ("cman_tool", &["services"]),
        ("cman_tool", &["version"]),
    ] {
        let ran = fake.run(program, arguments);
        assert_ne!(ran.code, 0, "{program} {arguments:?}");
        assert_eq!(ran.out, "", "{program} {arguments:?}");
        assert!(ran.err.contains("rgmanager did not answer within"), "{program} {arguments:?}: {}", ran.err);
    }
}

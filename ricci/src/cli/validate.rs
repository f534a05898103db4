//! `ccs_config_validate`: is this a cluster.conf that a cluster can use (rhcs.md §6.4)? Looks at one file and changes
//! nothing. The rules are those by which rgmanager, ricci and luci accept a new version.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use shared::conf::{Severity, load};

use super::VERSION;
use super::conf_file::{default_path, read, render_findings};
use super::console::{complain, print};
use super::definition::{Completes, Definition, Operands, flag, value};
use super::getopt::{self, Getopt, Item};
use crate::secrets::{Secrets, findings as secret_findings};

const USAGE: &str = "\
usage: ccs_config_validate [-v] [-f FILE | -l FILE]
    -f FILE   the file to check; otherwise the cluster.conf of this node
    -l FILE   the same
    -v        also notes, and what the file is
    -V        print the version
    -h        print this
    -u -r -n -o -C LOADER -t FILE   accepted for old scripts, without effect
";

/// `ccs_config_validate` as its user types it.
pub const DEFINITION: Definition = Definition {
    program: "ccs_config_validate",
    purpose: "check a cluster.conf",
    options: &[
        value('f', "FILE", Completes::File, "the file to check"),
        value('l', "FILE", Completes::File, "the file to check"),
        flag('v', "also notes, and what the file is"),
        flag('V', "print the version"),
        flag('h', "print a short help"),
        flag('u', "accepted, without effect").hidden(),
        flag('r', "accepted, without effect").hidden(),
        flag('n', "accepted, without effect").hidden(),
        flag('o', "accepted, without effect").hidden(),
        value('C', "LOADER", Completes::Nothing, "accepted, without effect").hidden(),
        value('t', "FILE", Completes::Nothing, "accepted, without effect").hidden(),
    ],
    operands: Operands::Each(Completes::File),
};

#[derive(Debug, Default)]
struct Options {
    file: Option<PathBuf>,
    verbose: bool,
}

enum Parsed {
    Check(Options),
    Version,
    Usage,
    Unknown(String),
}

/// Runs the command.
pub fn main() -> ExitCode {
    match parse(getopt::process_arguments()) {
        Parsed::Check(options) => {
            let path = options.file.unwrap_or_else(default_path);
            ExitCode::from(check(&path, options.verbose))
        }
        Parsed::Version => {
            print(&format!("ccs_config_validate version {VERSION}\n"));
            ExitCode::SUCCESS
        }
        Parsed::Usage => {
            print(USAGE);
            ExitCode::SUCCESS
        }
        Parsed::Unknown(sentence) => {
            complain(&format!("ccs_config_validate: {sentence}\n{USAGE}"));
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: Vec<String>) -> Parsed {
    let mut getopt = Getopt::new(&DEFINITION, arguments);
    let mut options = Options::default();
    for item in getopt.by_ref() {
        match item {
            Item::Flag('v') => options.verbose = true,
            Item::Flag('V') => return Parsed::Version,
            Item::Flag('u' | 'r' | 'n' | 'o') | Item::Value('C' | 't', _) => {}
            Item::Value('f' | 'l', file) if options.file.is_none() => options.file = Some(file.into()),
            Item::Value('f' | 'l', _) => return Parsed::Unknown("give one file".into()),
            Item::Unknown(sentence) => return Parsed::Unknown(sentence),
            Item::Flag(_) | Item::Value(..) | Item::Long(..) => return Parsed::Usage,
        }
    }
    for operand in getopt.into_operands() {
        if options.file.is_some() {
            return Parsed::Unknown(format!("'{operand}' is one argument too many"));
        }
        options.file = Some(operand.into());
    }
    Parsed::Check(options)
}

fn check(path: &Path, verbose: bool) -> u8 {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("ccs_config_validate: {}", shared::chain(&error)));
            print("Configuration fails to validate\n");
            return 1;
        }
    };
    let mut loaded = load(&text);
    if path == default_path() {
        loaded.findings.extend(secret_findings(&Secrets::beside(path), &loaded.document));
    }
    let least = if verbose { Severity::Info } else { Severity::Warning };
    let findings = render_findings(&path.display().to_string(), &loaded.findings, least);
    if !findings.is_empty() {
        complain(findings.trim_end());
    }
    if loaded.has_errors() {
        print("Configuration fails to validate\n");
        return 1;
    }
    if let Some(conf) = loaded.conf.as_ref().filter(|_| verbose) {
        print(&format!(
            "Cluster {}, version {}: {} nodes, {} fence devices, {} failover domains, {} services\n",
            conf.name,
            conf.version,
            conf.nodes.len(),
            conf.fence_devices.len(),
            conf.domains.len(),
            conf.services.len()
        ));
    }
    print("Configuration validates\n");
    0
}

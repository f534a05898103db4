//! Every chore of the project behind one command: `cargo xtask <chore>`. Each chore does its own set-up; what it installs is
//! listed in `packages`. Nothing here is part of the product.
// SPDX-License-Identifier: MIT OR Apache-2.0

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the person who started it")]

mod axe;
mod check;
mod coverage;
mod deb;
mod mutants;
mod packages;
mod run;
mod scratch;
mod stories;
mod test;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what the other chores need (Debian packages; root).
    Setup,
    /// A three-host lab with a working cluster and luci; stays until Ctrl-C, leaves nothing behind.
    Demo {
        /// How many hosts.
        #[arg(long, default_value_t = 3)]
        hosts: usize,
        /// Port of luci on 127.0.0.1.
        #[arg(long, default_value_t = 8084)]
        port: u16,
    },
    /// Everything that must hold, with a closing line of counts.
    Test,
    /// Format, lints, documentation, house rules; no root.
    Check,
    /// House rules alone: dependency table, module docs, leftovers.
    Tidy,
    /// The simulator; arguments are handed on (`--seeds N`, `--seed S --trace`, `--break-law K`).
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Which lines and branches of the engine the stories and the simulation reach; fails under 95 %.
    Coverage,
    /// Changes the engine in small ways, one after another, and sees whether a test notices; fails when none does and docs/mutants.md
    /// does not say why.
    Mutants(mutants::Selection),
    /// Tests on true hosts made of namespaces (root).
    Lab {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The browser tests (root, Chromium): stories on a lab, and every page and action of luci.
    Browser {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Debian packages of the node's programs and of the console, in target/debian.
    Package,
    /// Measurements: `failover`, `detect`, `commands`, `console`.
    Bench {
        what: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> Result<()> {
    std::env::set_current_dir(run::root())?;
    match Arguments::parse().chore {
        Chore::Setup => setup(),
        Chore::Demo { hosts, port } => demo(hosts, port),
        Chore::Test => test::everything(),
        Chore::Check => check::everything(),
        Chore::Tidy => tidy::everything(),
        Chore::Sim { arguments } => sim(&arguments),
        Chore::Coverage => coverage::everything(),
        Chore::Mutants(selection) => mutants::everything(&selection),
        Chore::Lab { arguments } => cargo_test("lab", &arguments),
        Chore::Browser { arguments } => browser(&arguments),
        Chore::Package => deb::everything(),
        Chore::Bench { what, arguments } => bench(&what, &arguments),
    }
}

fn setup() -> Result<()> {
    packages::install(packages::EVERYTHING)?;
    axe::fetch()
}

fn browser(arguments: &[String]) -> Result<()> {
    axe::fetch()?;
    run::cargo(&["test", "--package", "luci", "--test", "it", "--", "pages::", "actions::", "building::"])?;
    cargo_test("browser", arguments)
}

fn demo(hosts: usize, port: u16) -> Result<()> {
    packages::need_root("the demo makes network namespaces and mounts")?;
    packages::install(packages::LAB)?;
    run::cargo(&["build", "--workspace", "--bins"])?;
    run::become_built("demo", &["--hosts", &hosts.to_string(), "--port", &port.to_string()])
}

fn sim(arguments: &[String]) -> Result<()> {
    packages::install(packages::BUILD)?;
    run::cargo(&["build", "--release", "--package", "sim", "--bin", "sim"])?;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run::released("sim", &words)
}

fn cargo_test(package: &str, arguments: &[String]) -> Result<()> {
    packages::need_root("these tests make network namespaces and mounts")?;
    packages::install(packages::EVERYTHING)?;
    run::cargo(&["build", "--workspace", "--bins"])?;
    let mut words = vec!["test", "--package", package, "--"];
    words.extend(arguments.iter().map(String::as_str));
    run::cargo(&words)
}

/// Optimised programs, because the figures are of what is shipped.
fn bench(what: &str, arguments: &[String]) -> Result<()> {
    if what == "console" {
        return bench_console(arguments);
    }
    packages::need_root("the measurements run on hosts made of network namespaces")?;
    packages::install(packages::LAB)?;
    run::cargo(&["build", "--release", "--package", "ricci", "--package", "lab", "--bins"])?;
    let mut words = vec![what];
    words.extend(arguments.iter().map(String::as_str));
    run::released("bench", &words)
}

/// luci alone under the load of a large site; its nodes are simulated, so no root is needed.
fn bench_console(arguments: &[String]) -> Result<()> {
    packages::install(packages::BUILD)?;
    run::cargo(&["build", "--release", "--package", "luci", "--bin", "luci", "--example", "console_load"])?;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run::released("examples/console_load", &words)
}

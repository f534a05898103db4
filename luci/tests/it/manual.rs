//! The manual page of luci and what packages ship for shells follow its command line; `UPDATE_EXPECT=1` writes them.

use clap::CommandFactory as _;
use luci::settings::Cli;

#[test]
fn the_list_of_options_in_the_manual_page_is_made_from_the_options() {
    crate::cli_pages::holds("luci", &crate::cli_pages::of_clap(Cli::command()));
}

#[test]
fn the_manual_page_tells_of_every_command() {
    let page = include_str!("../../../docs/man/luci.8");
    let mut command = Cli::command();
    command.build();
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let below: Vec<&clap::Command> = verb.get_subcommands().filter(|below| below.get_name() != "help").collect();
        if below.is_empty() {
            assert!(page.contains(&format!("\n.It Cm {}", verb.get_name())), "{}", verb.get_name());
        }
        for below in below {
            let words = format!("{} {}", verb.get_name(), below.get_name());
            assert!(page.contains(&format!("\n.It Cm {words}")), "{words}");
        }
    }
}

#[test]
fn what_packages_ship_for_shells_is_made_from_the_options() {
    crate::cli_pages::completions_hold(&mut Cli::command());
}

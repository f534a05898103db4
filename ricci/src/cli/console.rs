//! The three streams of a command: data to stdout, sentences to stderr, a word from stdin.
//!
//! Used by every command. A reader that went away (`clustat | head -1`) ends the program quietly; a stdout that cannot
//! be written (a full disk) ends it with a sentence, because a status that was cut short must not look complete.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process;

/// Writes data to stdout, all of it or the program ends.
pub fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) else { return };
    if error.kind() == io::ErrorKind::BrokenPipe {
        process::exit(0);
    }
    complain(&format!("cannot write to standard output: {error}"));
    process::exit(1);
}

/// One sentence for the person, to stderr. Nobody can be told when stderr is gone.
pub fn complain(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{}", text.trim_end_matches('\n'));
}

/// One line from stdin without its end; `None` at the end of the input.
pub fn read_line() -> Option<String> {
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(count) if count > 0 => Some(line.trim_end_matches(['\n', '\r']).to_owned()),
        _ => None,
    }
}

/// Whether stdout may be coloured: a terminal that can, before somebody who did not ask for the contrary with `NO_COLOR`.
pub fn wants_color() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Columns of the terminal; 80 when stdout is none.
pub fn terminal_width() -> usize {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return 80;
    }
    let from_environment = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse::<usize>().ok());
    let columns =
        from_environment.or_else(|| rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col)));
    // Narrower than this the name columns vanish.
    columns.filter(|columns| *columns >= 40).unwrap_or(80)
}

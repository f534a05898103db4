//! How the daemon's log lines look on standard error: `Nov 21 02:03:04.567 rgmanager: text`, as the field reads
//! them, with `warning:` or `error:` before the text. Set up once by `main`.

use std::fmt;
use std::sync::OnceLock;

use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Names the level in `RGMANAGER_LOG`, e.g. `debug`.
pub const LEVEL_VARIABLE: &str = "RGMANAGER_LOG";

struct PlainLine {
    /// Read once while there is a single thread; reading it later is not safe on Unix.
    offset: UtcOffset,
}

/// What is said if neither the environment nor cluster.conf says how much.
const LEVEL: &str = "info";

type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

/// There is one log, so there is one way to change how much it says. Empty while nothing logs, and for good when the
/// environment has decided.
static SET_LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// Logs as much as cluster.conf wants from here on (`Conf::log_level`; `None`: the usual).
pub fn follow(level: Option<usize>) {
    if let Some(set_level) = SET_LEVEL.get() {
        set_level(level.map_or(LEVEL, word));
    }
}

/// Levels of syslog, as this log has them.
fn word(level: usize) -> &'static str {
    match level {
        0..=3 => "error",
        4 => "warn",
        5 | 6 => "info",
        _ => "debug",
    }
}

/// Logs to standard error from here on. To be called before any thread is started.
pub fn start() {
    let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    let chosen = tracing_subscriber::EnvFilter::try_from_env(LEVEL_VARIABLE);
    let is_chosen = chosen.is_ok();
    let filter = chosen.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(LEVEL));
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        // The journal and log files are no terminals, and a terminal reads plain lines as well.
        .with_ansi(false)
        .with_env_filter(filter)
        .event_format(PlainLine { offset })
        .with_filter_reloading();
    if !is_chosen {
        let handle = log.reload_handle();
        let set_level = move |level: &str| {
            if let Err(error) = handle.reload(tracing_subscriber::EnvFilter::new(level)) {
                tracing::error!("the log still says as much as before: {error}");
            }
        };
        // Called once, by `main`.
        let _ = SET_LEVEL.set(Box::new(set_level));
    }
    log.init();
}

impl<S, N> FormatEvent<S, N> for PlainLine
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = OffsetDateTime::now_utc().to_offset(self.offset);
        let format =
            format_description!("[month repr:short] [day padding:space] [hour]:[minute]:[second].[subsecond digits:3]");
        let stamp = now.format(format).map_err(|_| fmt::Error)?;
        let word = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG | Level::TRACE => "debug: ",
        };
        write!(writer, "{stamp} rgmanager: {word}")?;
        ctx.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

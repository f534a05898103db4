//! How the daemon's log lines look on standard error: `Nov 21 02:03:04.567 rgmanager: text`, as the field reads
//! them, with `warning:` or `error:` before the text. Set up once by `main`.

use std::fmt;

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

/// Logs to standard error from here on. To be called before any thread is started.
pub fn start() {
    let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    let filter = tracing_subscriber::EnvFilter::try_from_env(LEVEL_VARIABLE)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .event_format(PlainLine { offset })
        .init();
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

//! The clock on the wall, as ctime(3) writes it: `Thu Nov  5 10:00:00 2026` in local time.
//!
//! Used by the commands for what they print; no decision depends on it. Local time is known only while the process
//! has one thread (a C library rule), so the offset of this moment is taken first and serves when that fails.

use shared::ids::Time;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// In which time zone times are printed.
#[derive(Debug, Clone, Copy)]
pub enum Zone {
    /// The node's; the offset is that of this moment.
    Local(UtcOffset),
    Fixed(UtcOffset),
}

impl Zone {
    /// The zone of the node.
    pub fn local() -> Self {
        Self::Local(UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC))
    }

    fn offset_at(self, moment: OffsetDateTime) -> UtcOffset {
        match self {
            // Summer time may have changed since.
            Self::Local(now) => UtcOffset::local_offset_at(moment).unwrap_or(now),
            Self::Fixed(offset) => offset,
        }
    }

    /// The time as ctime(3) writes it, without the newline.
    pub fn ctime(self, at: Time) -> String {
        let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
        let Ok(moment) = OffsetDateTime::from_unix_timestamp(seconds) else { return format!("{seconds} s after 1970") };
        let format = format_description!(
            "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
        );
        let local = moment.checked_to_offset(self.offset_at(moment)).unwrap_or(moment);
        local.format(&format).unwrap_or_else(|_| format!("{seconds} s after 1970"))
    }
}

impl Zone {
    /// The time as `2026-11-05 10:00:00`, as cman wrote it.
    pub fn date_and_time(self, at: Time) -> String {
        let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
        let Ok(moment) = OffsetDateTime::from_unix_timestamp(seconds) else { return format!("{seconds} s after 1970") };
        let local = moment.checked_to_offset(self.offset_at(moment)).unwrap_or(moment);
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        local.format(&format).unwrap_or_else(|_| format!("{seconds} s after 1970"))
    }
}

/// The present moment.
pub fn now() -> Time {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_ctime_writes_it() {
        let zone = Zone::Fixed(UtcOffset::UTC);
        assert_eq!(zone.ctime(Time(1_793_872_800_999)), "Thu Nov  5 10:00:00 2026");
        assert_eq!(zone.ctime(Time(1_794_823_200_000)), "Mon Nov 16 10:00:00 2026");
        assert_eq!(zone.ctime(Time(0)), "Thu Jan  1 00:00:00 1970");
        assert_eq!(zone.date_and_time(Time(1_793_872_800_999)), "2026-11-05 10:00:00");
        let east = Zone::Fixed(UtcOffset::from_hms(8, 0, 0).unwrap());
        assert_eq!(east.ctime(Time(0)), "Thu Jan  1 08:00:00 1970");
        assert!(zone.ctime(Time(u64::MAX)).ends_with("s after 1970"));
    }
}

//! Times as cluster.conf writes them: `30`, `5m`, `1h30m` (rhcs.md §5.7), and numbers as C reads them.
//!
//! Used by the view. Never fails: what cannot be read counts as 0, as it did in the original; the checks tell of it.

/// Seconds behind a time; parts with an unknown unit count 0, and so does a time that is too large.
pub fn parse_duration_s(text: &str) -> u64 {
    let mut total: u64 = 0;
    for (number, unit) in parts(text) {
        if number == u64::MAX {
            return 0;
        }
        let Some(seconds) = number.checked_mul(seconds_of(unit).unwrap_or(0)) else { return 0 };
        let Some(sum) = total.checked_add(seconds) else { return 0 };
        total = sum;
    }
    total
}

/// Milliseconds behind a time.
pub fn parse_duration_ms(text: &str) -> u64 {
    parse_duration_s(text).saturating_mul(1000)
}

/// Whether every part of the text is a number with a known unit.
pub fn is_duration(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty()
        && text.starts_with(|c: char| c.is_ascii_digit())
        && parts(text).into_iter().all(|(number, unit)| number < u64::MAX && seconds_of(unit).is_some())
}

/// Number and unit of each part; a number that is too large is `u64::MAX`.
fn parts(text: &str) -> Vec<(u64, Option<char>)> {
    let mut parts = Vec::new();
    let mut number: Option<u64> = None;
    for c in text.trim().chars() {
        match c.to_digit(10) {
            Some(digit) => {
                let next = number.unwrap_or(0).saturating_mul(10).saturating_add(u64::from(digit));
                number = Some(next);
            }
            None => parts.push((number.take().unwrap_or(0), Some(c))),
        }
    }
    if let Some(number) = number {
        parts.push((number, None));
    }
    parts
}

fn seconds_of(unit: Option<char>) -> Option<u64> {
    match unit.map(|unit| unit.to_ascii_lowercase()) {
        None | Some('s') => Some(1),
        Some('m') => Some(60),
        Some('h') => Some(3600),
        Some('d') => Some(86_400),
        Some('w') => Some(604_800),
        Some('y') => Some(31_536_000),
        Some(_) => None,
    }
}

/// The number at the start of the text, 0 if there is none: C's `atoi`, by which the original reads its switches.
pub fn atoi(text: &str) -> i64 {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut number: i64 = 0;
    for digit in digits.chars().map_while(|c| c.to_digit(10)) {
        number = number.saturating_mul(10).saturating_add(i64::from(digit));
    }
    if negative { -number } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_sum_of_its_parts() {
        for (text, seconds, valid) in [
            ("30", 30, true),
            ("30s", 30, true),
            ("5m", 300, true),
            ("1H30m", 5400, true),
            ("1d", 86_400, true),
            ("2w", 1_209_600, true),
            ("1y", 31_536_000, true),
            ("1m30", 90, true),
            ("", 0, false),
            ("abc", 0, false),
            ("5x10s", 10, false),
            ("-5", 5, false),
            ("99999999999999999999", 0, false),
            ("99999999999999999999y", 0, false),
        ] {
            assert_eq!(parse_duration_s(text), seconds, "{text}");
            assert_eq!(is_duration(text), valid, "{text}");
        }
    }

    #[test]
    fn a_switch_is_on_when_its_number_is_not_zero() {
        for (text, number) in [("1", 1), ("0", 0), ("yes", 0), (" 2x", 2), ("-1", -1), ("", 0)] {
            assert_eq!(atoi(text), number, "{text}");
        }
    }
}

//! Durations, as options take them and as people are told them.

/// A day in seconds.
pub(super) const DAY: u32 = 86_400;
/// The longest that a join token lives, a command waits or an order to go ahead holds.
pub(super) const MONTH: u32 = 30 * DAY;
/// The longest window.
pub(super) const WEEK: u32 = 7 * DAY;

/// Units and their seconds, the longest first.
const UNITS: [(char, u32); 4] = [('d', DAY), ('h', 3600), ('m', 60), ('s', 1)];

/// Takes a whole number with its unit, of at least and at most so many seconds. A plain number is refused: it would have
/// to be guessed what it counts.
pub(super) fn duration(
    least: u32,
    most: u32,
) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync + 'static {
    move |text| {
        let limits = || format!("use {} to {}", in_units(least), in_units(most));
        let unit = text
            .chars()
            .last()
            .and_then(|last| UNITS.iter().find(|(unit, _)| *unit == last));
        let digits = text.strip_suffix(|last: char| unit.is_some_and(|(unit, _)| *unit == last));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match (unit, digits) {
            (Some((_, factor)), Some(digits)) if is_number(digits) => {
                let number = digits.parse::<u32>().ok();
                let seconds = number.and_then(|number| number.checked_mul(*factor));
                seconds
                    .filter(|seconds| (least..=most).contains(seconds))
                    .ok_or_else(limits)
            }
            _ if is_number(text) => Err(format!(
                "a duration has a unit, s, m, h or d: write {text}s or {text}m, say; {}",
                limits()
            )),
            _ => Err(format!(
                "write a whole number with s, m, h or d, e.g. 30s, 5m or 2h; {}",
                limits()
            )),
        }
    }
}

/// Exactly, in the longest unit that it is a whole number of, as options take it.
pub(super) fn in_units(seconds: u32) -> String {
    let fits = |(_, factor): &&(char, u32)| seconds >= *factor && seconds.is_multiple_of(*factor);
    match UNITS.iter().find(fits) {
        Some((unit, factor)) => format!("{}{unit}", seconds / factor),
        None => "0s".to_owned(),
    }
}

/// About how long, for people: in the longest unit that it has two of, rounded down.
pub(super) fn about(seconds: i64) -> String {
    let (unit, factor) = UNITS
        .iter()
        .find(|(_, factor)| seconds >= 2 * i64::from(*factor))
        .unwrap_or(&('s', 1));
    format!("{}{unit}", seconds.max(0) / i64::from(*factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_and_is_within_its_limits() {
        let taken = duration(60, MONTH);
        for (text, seconds) in [
            ("60s", 60),
            ("15m", 900),
            ("24h", DAY),
            ("7d", WEEK),
            ("30d", MONTH),
        ] {
            assert_eq!(taken(text), Ok(seconds), "{text}");
        }
        for (text, says) in [
            ("90", "write 90s or 90m, say; use 1m to 30d"),
            ("0", "write 0s or 0m, say; use 1m to 30d"),
            ("59s", "use 1m to 30d"),
            ("31d", "use 1m to 30d"),
            ("99999999999999999999d", "use 1m to 30d"),
            ("", "e.g. 30s, 5m or 2h; use 1m to 30d"),
            ("m", "e.g. 30s, 5m or 2h; use 1m to 30d"),
            ("1w", "e.g. 30s, 5m or 2h; use 1m to 30d"),
            ("1.5h", "e.g. 30s, 5m or 2h; use 1m to 30d"),
            ("-5m", "e.g. 30s, 5m or 2h; use 1m to 30d"),
            ("ä", "e.g. 30s, 5m or 2h; use 1m to 30d"),
        ] {
            let error = taken(text).unwrap_err();
            assert!(error.ends_with(says), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_an_option_takes_it() {
        for text in ["1s", "61s", "90m", "3h", "7d"] {
            assert_eq!(in_units(duration(1, MONTH)(text).unwrap()), text);
        }
    }

    #[test]
    fn people_are_told_a_duration_in_a_unit_that_fits() {
        for (seconds, shown) in [
            (-3, "0s"),
            (1, "1s"),
            (119, "119s"),
            (120, "2m"),
            (7199, "119m"),
            (7200, "2h"),
            (400_000, "4d"),
        ] {
            assert_eq!(about(seconds), shown);
        }
    }
}

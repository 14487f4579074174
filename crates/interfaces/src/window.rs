//! Maintenance windows: when an update may begin. One pure function, used by the agent and by Cloudly's pages.

use crate::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::{SignedDuration, ToSpan as _, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// A window that opens at a local time of day on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// `mon` … `sun`; empty: every day.
    #[serde(default)]
    pub days: Vec<String>,
    /// `HH:MM`, in the window's time zone.
    pub start: String,
    /// How long it stays open, seconds; at most a week.
    pub duration_seconds: u32,
    /// IANA name, e.g. `Europe/Berlin`.
    pub time_zone: String,
}

/// What is wrong with a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not a day.
    #[error("`{0}` is not a day: use mon, tue, wed, thu, fri, sat or sun")]
    Day(String),
    /// A day is named twice.
    #[error("the day `{0}` is named twice: name each day once")]
    DayTwice(String),
    /// Not a time of day.
    #[error("`{0}` is not a time of day: use HH:MM, e.g. 01:30")]
    Start(String),
    /// Not a time zone.
    #[error("`{0}` is not a time zone: use an IANA name, e.g. Europe/Berlin or UTC")]
    TimeZone(String),
    /// Empty or longer than a week.
    #[error("a window of {0} s: use 1 to 604800")]
    Duration(u32),
}

/// Whether any of the windows is open, and if not, when the next one opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Open now.
    Open,
    /// Closed; the next one opens at this time, if there is a next one.
    Closed(Option<Timestamp>),
}

impl Window {
    /// Checks a window as Cloudly does before it accepts one.
    ///
    /// # Errors
    /// Names the member that is wrong and what would be right.
    pub fn check(&self) -> Result<(), WindowError> {
        self.parsed()?;
        let mut days = self.days.iter().enumerate();
        let twice = days.find(|(at, day)| self.days[..*at].contains(day));
        twice.map_or(Ok(()), |(_, day)| Err(WindowError::DayTwice(day.clone())))
    }

    fn parsed(&self) -> Result<(Vec<Weekday>, Time, TimeZone), WindowError> {
        let days = self
            .days
            .iter()
            .map(|day| weekday(day))
            .collect::<Result<Vec<_>, _>>()?;
        let start = time_of_day(&self.start).ok_or_else(|| WindowError::Start(self.start.clone()))?;
        let zone =
            TimeZone::get(&self.time_zone).map_err(|_| WindowError::TimeZone(self.time_zone.clone()))?;
        if self.duration_seconds == 0 || self.duration_seconds > 604_800 {
            return Err(WindowError::Duration(self.duration_seconds));
        }
        Ok((days, start, zone))
    }

    fn opening(&self, now: Timestamp) -> Result<Opening, WindowError> {
        let (days, start, zone) = self.parsed()?;
        let today = now.to_zoned_datetime(zone.clone()).date();
        let mut next = None;
        // A window may have opened up to a week ago; the next one opens within a week.
        for offset in -8i64..=8 {
            let Ok(day) = today.checked_add(offset.days()) else {
                continue;
            };
            if !days.is_empty() && !days.contains(&day.weekday()) {
                continue;
            }
            let Ok(opens) = zone
                .to_ambiguous_zoned_datetime(day.to_datetime(start))
                .compatible()
            else {
                continue;
            };
            let opens = opens.timestamp();
            let Ok(closes) = opens.checked_add(SignedDuration::from_secs(self.duration_seconds.into()))
            else {
                continue;
            };
            if opens <= now && now < closes {
                return Ok(Opening::Open);
            }
            if opens > now && next.is_none() {
                next = Some(opens);
            }
        }
        Ok(Opening::Closed(next))
    }
}

/// Whether any of the windows is open at `now`. No windows at all: always open. A malformed window counts as
/// closed: an update that comes too early does harm, one that waits is reported.
pub fn opening(windows: &[Window], now: Timestamp) -> Opening {
    if windows.is_empty() {
        return Opening::Open;
    }
    let mut next: Option<Timestamp> = None;
    for window in windows {
        match window.opening(now) {
            Ok(Opening::Open) => return Opening::Open,
            Ok(Opening::Closed(at)) => next = [next, at].into_iter().flatten().min(),
            Err(_) => {}
        }
    }
    Opening::Closed(next)
}

/// Reads `HH:MM`, also with numbers of one digit and with spaces before them. `strptime` takes the same texts, and is ten
/// times as large.
fn time_of_day(text: &str) -> Option<Time> {
    let number = |text: &str| {
        let digits = text.trim_ascii_start();
        let is_number = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| is_number)
    };
    let (hour, minute) = text.split_once(':')?;
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

fn weekday(day: &str) -> Result<Weekday, WindowError> {
    Ok(match day {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        other => return Err(WindowError::Day(other.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_of_day_is_what_strptime_takes(text in "[ 0-9]{0,3}[0-9+:-]{0,2}:?[ +0-9]{0,4}") {
            prop_assert_eq!(time_of_day(&text), Time::strptime("%H:%M", &text).ok());
        }
    }

    fn weekend() -> Window {
        Window {
            days: vec!["sat".into(), "sun".into()],
            start: "01:00".into(),
            duration_seconds: 10_800,
            time_zone: "Europe/Berlin".into(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_is_open_from_its_start_to_its_end_in_its_own_zone() {
        let windows = [weekend()];
        // Saturday 01:00 in Berlin in winter is 00:00 UTC.
        assert_eq!(opening(&windows, at("2026-11-28T00:00:00Z")), Opening::Open);
        assert_eq!(opening(&windows, at("2026-11-28T02:59:59Z")), Opening::Open);
        assert_eq!(
            opening(&windows, at("2026-11-28T03:00:00Z")),
            Opening::Closed(Some(at("2026-11-29T00:00:00Z")))
        );
    }

    #[test]
    fn summer_time_moves_the_window_with_the_local_clock() {
        assert_eq!(opening(&[weekend()], at("2026-07-25T00:00:00Z")), Opening::Open);
        assert_eq!(
            opening(&[weekend()], at("2026-07-24T22:59:59Z")),
            Opening::Closed(Some(at("2026-07-24T23:00:00Z")))
        );
    }

    #[test]
    fn a_window_over_midnight_is_still_open_the_next_morning() {
        let night = Window {
            days: vec!["fri".into()],
            start: "22:00".into(),
            duration_seconds: 8 * 3600,
            time_zone: "UTC".into(),
        };
        assert_eq!(opening(&[night], at("2026-11-28T05:59:00Z")), Opening::Open);
    }

    #[test]
    fn no_window_means_any_time_and_a_malformed_one_never() {
        assert_eq!(opening(&[], at("2026-11-28T05:59:00Z")), Opening::Open);
        let broken = Window {
            time_zone: "Mars/Olympus".into(),
            ..weekend()
        };
        assert_eq!(broken.check(), Err(WindowError::TimeZone("Mars/Olympus".into())));
        assert_eq!(
            opening(&[broken], at("2026-11-28T00:30:00Z")),
            Opening::Closed(None)
        );
    }

    #[test]
    fn a_day_that_is_named_twice_is_refused_and_opens_where_it_was_accepted() {
        let twice = Window {
            days: vec!["sat".into(), "sun".into(), "sat".into()],
            ..weekend()
        };
        assert_eq!(twice.check(), Err(WindowError::DayTwice("sat".into())));
        assert_eq!(weekend().check(), Ok(()));
        assert_eq!(opening(&[twice], at("2026-11-28T00:00:00Z")), Opening::Open);
    }

    #[test]
    fn clocks_at_the_ends_of_time_do_not_panic() {
        for now in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
            let _ = opening(&[weekend()], now);
        }
    }
}

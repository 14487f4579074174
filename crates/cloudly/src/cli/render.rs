//! How things look on a terminal.

use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::PresenceState;
use serde::Serialize;
use std::error::Error;
use std::io::{self, Write as _};

/// Prints a value as JSON for machines.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Box<dyn Error>> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints one line; a reader that went away (`| head`) is not an error.
pub(crate) fn line(text: &str) -> Result<(), Box<dyn Error>> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a table; `none` stands in its place when there are no rows.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>], none: &str) -> Result<(), Box<dyn Error>> {
    if rows.is_empty() {
        return line(none);
    }
    let mut widths: Vec<usize> = headers.iter().map(|header| header.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    line(&row_of(headers.iter().copied(), &widths))?;
    rows.iter()
        .try_for_each(|row| line(&row_of(row.iter().map(String::as_str), &widths)))
}

fn row_of<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.zip(widths) {
        text.push_str(&format!("{:<width$}  ", plain(cell)));
    }
    text.trim_end().to_owned()
}

/// Without control characters: what a node says must not move the cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

/// To the second, UTC.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A time, or a dash.
pub(crate) fn time_or_dash(at: Option<Timestamp>) -> String {
    at.map_or_else(dash, time)
}

/// Nothing, in a table.
pub(crate) fn dash() -> String {
    "-".to_owned()
}

/// The first digits of a commit.
pub(crate) fn short(commit: Option<&str>) -> String {
    commit.map_or_else(dash, |commit| commit.chars().take(12).collect())
}

/// Presence in one word.
pub(crate) const fn presence(state: PresenceState) -> &'static str {
    match state {
        PresenceState::Online => "online",
        PresenceState::Late => "late",
        PresenceState::Offline => "offline",
        PresenceState::Unknown => "unknown",
    }
}

//! What commands print.

use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::PresenceState;
use baseos_interfaces::terminal::plain_json;
pub(super) use baseos_interfaces::terminal::{plain, time};
use serde::Serialize;
use std::error::Error;
use std::io::{self, Write as _};

/// How a command ends. An error is a sentence for whoever ran it.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

pub(super) fn json(value: &impl Serialize) -> Outcome {
    print(&plain_json(&serde_json::to_string_pretty(value)?))
}

/// Prints one line, whoever the text is of.
pub(super) fn line(text: &str) -> Outcome {
    print(&plain(text))
}

/// A reader that went away (`| head`) is not an error.
fn print(text: &str) -> Outcome {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Tells whoever runs the command something that is no part of its result.
pub(super) fn warning(text: &str) {
    eprintln!("cloudly: {}", plain(text));
}

/// Prints a list: as JSON if asked for, else as a table with a row for each item, or `none` without items.
pub(super) fn list<T: Serialize, const N: usize>(
    as_json: bool,
    items: &[T],
    headers: [&str; N],
    row: impl Fn(&T) -> [String; N],
    none: &str,
) -> Outcome {
    if as_json {
        return json(&items);
    }
    let rows: Vec<_> = items.iter().map(row).collect();
    table(headers, &rows, none)
}

fn table<const N: usize>(headers: [&str; N], rows: &[[String; N]], none: &str) -> Outcome {
    if rows.is_empty() {
        return line(none);
    }
    let mut widths = headers.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    line(&row_of(headers.into_iter(), &widths))?;
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

pub(super) fn time_or_dash(at: Option<Timestamp>) -> String {
    at.map_or_else(dash, time)
}

pub(super) fn dash() -> String {
    "-".to_owned()
}

/// The first digits of a commit, which may be any text that a node reports.
pub(super) fn short(commit: Option<&str>) -> String {
    commit.map_or_else(dash, |commit| plain(&commit.chars().take(12).collect::<String>()))
}

pub(super) const fn presence(state: PresenceState) -> &'static str {
    match state {
        PresenceState::Online => "online",
        PresenceState::Late => "late",
        PresenceState::Offline => "offline",
        PresenceState::Unknown => "unknown",
    }
}

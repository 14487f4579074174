//! The text format: `time LEVEL message field=value`.

use std::fmt::{self, Write};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Not `tracing_subscriber`'s own format, whose colours need a further crate.
pub(super) struct Text {
    pub(super) colour: bool,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let level = *event.metadata().level();
        if self.colour {
            write!(writer, " \x1b[{}m{:<5}\x1b[0m ", colour_of(level), level.as_str())?;
        } else {
            write!(writer, " {:<5} ", level.as_str())?;
        }
        // From debug on, the target shows where in the code the event comes from.
        if level >= Level::DEBUG {
            write!(writer, "{}: ", event.metadata().target())?;
        }
        let mut line = OneLine(&mut writer);
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            let extensions = span.extensions();
            let fields = extensions
                .get::<FormattedFields<N>>()
                .filter(|fields| !fields.is_empty());
            match fields {
                Some(fields) => write!(line, "{}{{{fields}}}: ", span.name())?,
                None => write!(line, "{}: ", span.name())?,
            }
        }
        context.format_fields(Writer::new(&mut line), event)?;
        writeln!(writer)
    }
}

const fn colour_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// Escapes control characters, so that no field can start a new line or colour the terminal.
struct OneLine<'a, 'w>(&'a mut Writer<'w>);

impl Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            match piece.char_indices().next_back() {
                Some((at, last)) if last.is_control() => {
                    self.0.write_str(&piece[..at])?;
                    write!(self.0, "{}", last.escape_default())?;
                }
                _ => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

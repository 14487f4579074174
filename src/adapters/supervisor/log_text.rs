//! A collected log as text: whole lines, without secrets, colours and other control sequences.

use baseos_interfaces::redact::redact;

/// Size limit of a collected log, bytes; its beginning is cut off.
pub(super) const LOG_MAX_BYTES: usize = 16 * 1024;

/// The end of a log as lines. If the beginning is missing, the first line is dropped (of a single one the first word):
/// it is not whole, and may begin with the end of a token, which the redaction would not recognise.
pub(super) fn log_text(tail: &[u8], truncated: bool, key: &str) -> String {
    let from = if truncated { first_whole(tail) } else { 0 };
    let text = plain(&String::from_utf8_lossy(&tail[from..]));
    let clean = redact(&text, &[key]);
    last_lines(&clean, LOG_MAX_BYTES).trim_start().to_owned()
}

/// Where the first whole line begins, else the first whole word.
fn first_whole(tail: &[u8]) -> usize {
    let after = |is_end: fn(&u8) -> bool| tail.iter().position(is_end).map(|at| at + 1);
    after(|byte| *byte == b'\n')
        .filter(|from| *from < tail.len())
        .or_else(|| after(u8::is_ascii_whitespace))
        .unwrap_or(tail.len())
}

/// The last whole lines of at most `limit` bytes; of a longer single line its end.
fn last_lines(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = &text[text.ceil_char_boundary(text.len() - limit)..];
    match end.split_once('\n') {
        Some((_, whole)) if !whole.is_empty() => whole,
        _ => end,
    }
}

/// Without control sequences: the Supervisor runs containers with a terminal, so programs that ask for one print colours.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => plain.push(c),
            '\u{1b}' => match chars.next() {
                Some('[') => skip_control_sequence(&mut chars),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut chars),
                // Two characters, or three of which the second is an intermediate one (a character set).
                Some(' '..='/') => drop(chars.next()),
                Some('\n') => plain.push('\n'),
                _ => {}
            },
            '\u{9b}' => skip_control_sequence(&mut chars),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Parameters up to the final character. A sequence does not go on over the end of a line.
fn skip_control_sequence(chars: &mut Chars<'_>) {
    while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    chars.next_if(|c| matches!(c, '@'..='~'));
}

/// A title or the like, up to BEL or ESC and a backslash; never over the end of a line.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_and_other_sequences_are_left_out() {
        for (log, text) in [
            ("\u{1b}[1;32mINFO\u{1b}[0m ready\r\n", "INFO ready\n"),
            ("\u{1b}]0;title\u{7}a \u{1b}]8;;x\u{1b}\\b", "a b"),
            ("\u{1b}(Bplain \u{1b}Mx", "plain x"),
            ("\u{9b}31mred", "red"),
            ("10 %\r20 %\tdone", "10 %20 %\tdone"),
            ("cut \u{1b}[3", "cut "),
            ("cut \u{1b}", "cut "),
            ("open \u{1b}]0;title\nnext", "open \nnext"),
            ("a [1m b", "a [1m b"),
        ] {
            assert_eq!(log_text(log.as_bytes(), false, ""), text, "{log:?}");
        }
    }

    #[test]
    fn only_whole_lines_are_kept_where_the_beginning_is_missing() {
        assert_eq!(log_text(b"half a line\nwhole\n", true, ""), "whole\n");
        assert_eq!(log_text(b"no end of a line", true, ""), "end of a line");
        assert_eq!(log_text(b"nowhere", true, ""), "");
        let line = format!("{}\n", "x".repeat(999));
        let text = log_text(line.repeat(40).as_bytes(), false, "");
        assert!(text.len() <= LOG_MAX_BYTES && text.lines().all(|line| line.len() == 999));
        let long = log_text("y".repeat(50_000).as_bytes(), false, "");
        assert_eq!(long.len(), LOG_MAX_BYTES);
    }

    proptest! {
        #[test]
        fn no_control_character_but_line_ends_and_tabs_is_left(
            log in "(\\PC|\u{1b}|\u{9b}|\u{7}|\\[|\\]|[0-9;m]|\n|\r|\t){0,200}", truncated: bool,
        ) {
            let text = log_text(log.as_bytes(), truncated, "");
            prop_assert!(text.chars().all(|c| matches!(c, '\n' | '\t') || !c.is_control()), "{text:?}");
        }

        #[test]
        fn text_without_control_characters_stays(line in "[ -~äöü]{0,100}") {
            prop_assert_eq!(log_text(line.as_bytes(), false, ""), redact(line.trim_start(), &[]).into_owned());
        }
    }
}

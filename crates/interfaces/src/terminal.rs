//! Text of others on a terminal: without characters that control it or that change how the rest is read.

use crate::Timestamp;

/// Whether a character controls a terminal (C0, DEL, C1), ends a line, has no width, or changes the direction of text.
#[must_use]
pub const fn is_hidden(character: char) -> bool {
    // Unicode's categories Cc, Cf, Zl and Zp.
    matches!(character,
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{AD}' | '\u{600}'..='\u{605}' | '\u{61C}' | '\u{6DD}' | '\u{70F}'
        | '\u{890}'..='\u{891}' | '\u{8E2}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{110BD}' | '\u{110CD}'
        | '\u{13430}'..='\u{1343F}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E007F}')
}

/// The text on one line, with a space for each hidden character.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|character| if is_hidden(character) { ' ' } else { character })
        .collect()
}

/// A time as people are shown it everywhere: RFC 3339 in UTC, to the second, as in JSON and logs.
#[must_use]
pub fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// The same JSON with hidden characters written as `\u` and four hex digits. Line ends between its values stay; within
/// strings JSON escapes them itself.
#[must_use]
pub fn plain_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character == '\n' || !is_hidden(character) {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            text.push_str(&format!("\\u{unit:04X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const HIDDEN: &str = "\x1b\x07\r\n\t\u{7f}\u{9b}\u{ad}\u{61c}\u{200b}\u{200e}\u{2028}\u{2029}\u{202e}\u{2066}\u{2069}\u{feff}\u{e0041}";

    #[test]
    fn a_time_is_in_utc_and_has_no_fraction() {
        for at in ["2026-11-22T20:00:00Z", "2026-11-22T21:00:00.987654321+01:00"] {
            assert_eq!(time(at.parse().unwrap()), "2026-11-22T20:00:00Z");
        }
    }

    #[test]
    fn what_controls_a_terminal_or_is_not_seen_becomes_a_space() {
        for character in HIDDEN.chars() {
            assert_eq!(plain(&format!("a{character}b")), "a b", "{character:?}");
        }
        let seen = "vm-1 ä ß 日本 ‘…’ → 🦀 é";
        assert_eq!(plain(seen), seen);
    }

    #[test]
    fn json_says_the_same_without_a_hidden_character() {
        let value = json!({ HIDDEN: ["ä 日本 🦀", HIDDEN, "\\u009b"] });
        for text in [value.to_string(), format!("{value:#}")] {
            let shown = plain_json(&text);
            assert!(!shown.chars().any(|c| c != '\n' && is_hidden(c)), "{shown:?}");
            assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
            assert_eq!(shown.lines().count(), text.lines().count());
        }
        assert_eq!(plain_json("\"\u{9b}2J\u{e0041}\""), r#""\u009B2J\uDB40\uDC41""#);
    }
}

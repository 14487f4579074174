//! Redacts texts of other systems, which may contain secrets.

use baseos_interfaces::redact::redact;

/// One line of at most `limit` characters for an error message: redacted, white space and control characters
/// folded into single spaces.
pub(crate) fn one_line(text: &str, secrets: &[&str], limit: usize) -> String {
    let clean = redact(text, secrets);
    let mut line = String::new();
    let words = clean.split(|c: char| c.is_whitespace() || c.is_control());
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > limit * 4 {
            break;
        }
    }
    match line.char_indices().nth(limit) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_and_has_no_line_breaks() {
        assert_eq!(one_line("a\r\n\u{1b}[1m b\t\tc", &[], 99), "a [1m b c");
        assert_eq!(one_line("äöüß", &[], 3), "äöü…");
    }

    #[test]
    fn a_line_has_no_secrets() {
        let text = "GET /v1/device?apikey=0123abc&x=1\nwith szn_0123456789_abc and s3cret";
        assert_eq!(
            one_line(text, &["s3cret", ""], 99),
            "GET /v1/device?apikey=***&x=1 with szn_0123456789_*** and ***"
        );
    }
}

//! What a neighbour says may repeat a secret; nothing of it goes on before it went through here.

/// What every token starts with, and what stands where one was.
const TOKENS: [(&str, &str); 4] = [
    ("szj_", "szj_***"),
    ("szn_", "szn_***"),
    ("szl_", "szl_***"),
    ("sza_", "sza_***"),
];
/// The Supervisor's key as it stands in URLs.
const KEY_PARAMETER: &str = "apikey=";

/// Takes everything out of a text that looks like a token or a key in a URL, and every occurrence of `secrets`
/// (empty ones are passed over). Whole or cut off at its end, a token is recognised by its prefix.
pub(crate) fn redact(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((at, found, shown)) = next(rest) {
        clean.push_str(&rest[..at]);
        clean.push_str(shown);
        let tail = &rest[at + found.len()..];
        let end = tail
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '%' | '*')))
            .unwrap_or(tail.len());
        rest = &tail[end..];
    }
    clean.push_str(rest);
    clean
}

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

/// The earliest secret in a text: where, what it starts with, and what is shown instead.
fn next(text: &str) -> Option<(usize, &'static str, &'static str)> {
    TOKENS
        .iter()
        .copied()
        .chain([(KEY_PARAMETER, "apikey=***")])
        .filter_map(|(prefix, shown)| text.find(prefix).map(|at| (at, prefix, shown)))
        .min_by_key(|(at, ..)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_and_keys_go_and_the_rest_stays() {
        let text = "GET /v1/device?apikey=0123abc&x=1 with szn_0123456789_abc, then sza_ and s3cret";
        let clean = redact(text, &["s3cret", ""]);
        assert_eq!(
            clean,
            "GET /v1/device?apikey=***&x=1 with szn_***, then sza_*** and ***"
        );
    }

    #[test]
    fn a_line_is_short_and_has_no_line_breaks() {
        assert_eq!(one_line("a\r\n\u{1b}[1m b\t\tc", &[], 99), "a [1m b c");
        assert_eq!(one_line("äöüß", &[], 3), "äöü…");
    }

    proptest! {
        #[test]
        fn nothing_after_a_prefix_survives(before in "\\PC{0,20}", secret in "[a-zA-Z0-9]{8,60}", after in "\\PC{0,20}") {
            prop_assume!(!before.contains(&secret) && !after.contains(&secret));
            for prefix in ["szj_", "szn_", "szl_", "sza_", "apikey="] {
                let clean = redact(&format!("{before}{prefix}{secret} {after}"), &[]);
                prop_assert!(!clean.contains(&secret));
            }
        }
    }
}

//! Suggestions for mistyped names.

/// The known name closest to an unknown one, unless all differ too much.
pub fn closest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let unknown = unknown.to_ascii_lowercase();
    // A key of the configuration file may have been written with the variable's prefix.
    let unknown = unknown.strip_prefix("baseos_").unwrap_or(&unknown);
    known
        .map(|name| {
            let lower = name.to_ascii_lowercase();
            let distance = edit_distance(lower.strip_prefix("baseos_").unwrap_or(&lower), unknown);
            (distance, name)
        })
        .min()
        .filter(|(distance, _)| *distance <= (unknown.len() / 3).max(1))
        .map(|(_, name)| name)
}

/// The Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_key_and_an_unrelated_name_finds_none() {
        let files = || ["cloudly_url", "join_token", "log_format", "log"].into_iter();
        assert_eq!(closest("cloudly_ulr", files()), Some("cloudly_url"));
        assert_eq!(closest("BASEOS_LOG_FORMAT", files()), Some("log_format"));
        assert_eq!(closest("jointoken", files()), Some("join_token"));
        assert_eq!(closest("completely_else_where", files()), None);
        assert_eq!(closest("", files()), None);
        assert_eq!(
            closest("maxAttempt", ["maxAttempts"].into_iter()),
            Some("maxAttempts")
        );
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}

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

/// How many characters are to be put in, left out, replaced or swapped with the next one.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let (mut above, mut above_that) = (row.clone(), row.clone());
    let mut before = None;
    for (i, from) in a.chars().enumerate() {
        std::mem::swap(&mut above_that, &mut above);
        std::mem::swap(&mut above, &mut row);
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = above[j] + usize::from(from != *to);
            row[j + 1] = substituted.min(above[j + 1] + 1).min(row[j] + 1);
            if j > 0 && from == b[j - 1] && before == Some(*to) {
                row[j + 1] = row[j + 1].min(above_that[j - 1] + 1);
            }
        }
        before = Some(from);
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
        assert_eq!(closest("jion", ["join", "run"].into_iter()), Some("join"));
        for (a, b, distance) in [
            ("kitten", "sitting", 3),
            ("jsno", "json", 1),
            ("ab", "ba", 1),
            ("abc", "cab", 2),
            ("", "ab", 2),
            ("ab", "", 2),
        ] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
        }
    }
}

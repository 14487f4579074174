//! What a registry asks for with `WWW-Authenticate` (RFC 9110, and the distribution specification's token scheme).

use std::collections::BTreeMap;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password.
    Basic,
    /// A token that another server gives. The scope is left out: the client knows what it needs.
    Bearer {
        /// The URL of that server.
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    /// `None`: a scheme that is not known, or without its parameters.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header
            .trim()
            .split_once(' ')
            .unwrap_or_else(|| (header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = parameters(rest)?;
        Some(Self::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
        })
    }
}

/// `name="value", name=value`; a quoted value may hold commas and escaped characters.
fn parameters(text: &str) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim_end().to_owned(), &after[end..])
            }
        };
        found.insert(name.trim().to_ascii_lowercase(), value);
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    Some(found)
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            character => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_schemes_are_read() {
        assert_eq!(
            Challenge::parse(r#"Basic realm="registry""#),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
        let bearer = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("registry.example".to_owned()),
        };
        assert_eq!(Challenge::parse(bearer), Some(expected));
        let loose = Challenge::parse(r#"bearer  Realm = "a\"b" , service=c"#);
        let expected = Challenge::Bearer {
            realm: "a\"b".to_owned(),
            service: Some("c".to_owned()),
        };
        assert_eq!(loose, Some(expected));
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        for bad in [
            "",
            "Digest realm=\"x\"",
            "Bearer",
            "Bearer service=\"x\"",
            "Bearer realm=\"x",
            "Bearer realm",
        ] {
            assert_eq!(Challenge::parse(bad), None, "{bad}");
        }
    }
}

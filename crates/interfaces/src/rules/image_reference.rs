//! Image references by their parts (OCI distribution specification; the distribution project's grammar of references).

/// The longest tag (OCI distribution specification).
const TAG_MAX_LEN: usize = 128;

/// An image reference by its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageReference<'a> {
    /// With the registry, if it names one: `registry.example:5000/onebox`.
    pub repository: &'a str,
    /// How the image is chosen in the repository.
    pub version: ImageVersion<'a>,
}

/// How a reference chooses an image in its repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageVersion<'a> {
    /// `repository:tag`.
    Tag(&'a str),
    /// `repository@sha256:…`, also with a tag, which the Supervisor drops.
    Digest(&'a str),
}

impl<'a> ImageReference<'a> {
    /// The parts of `repository:tag`, `repository@sha256:…` or `repository:tag@sha256:…`; nothing else has any.
    pub fn parse(reference: &'a str) -> Option<Self> {
        let (repository, tag, digest) = split(reference);
        let in_order = is_repository(repository)
            && in_lower_case(reference).is_none()
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        let version = match (digest, tag) {
            (Some(digest), _) => ImageVersion::Digest(digest),
            (None, Some(tag)) => ImageVersion::Tag(tag),
            (None, None) => return None,
        };
        in_order.then_some(Self { repository, version })
    }

    /// The registry, if the reference names one, and the repository's name in it.
    pub fn in_registry(&self) -> (Option<&'a str>, &'a str) {
        split_registry(self.repository)
    }
}

/// Repository, tag and digest, whatever is in them.
fn split(reference: &str) -> (&str, Option<&str>, Option<&str>) {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[last..].find(':') {
        Some(colon) => (&name[..last + colon], Some(&name[last + colon + 1..]), digest),
        None => (name, None, digest),
    }
}

fn is_repository(text: &str) -> bool {
    text.split('/').all(|part| !part.is_empty()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The registry and the path in it. The first part is a registry's host when it has a dot, a port or an upper-case letter,
/// or is `localhost` (reference grammar of the distribution project).
fn split_registry(repository: &str) -> (Option<&str>, &str) {
    let is_host = |first: &str| {
        first == "localhost" || first.contains(|c: char| matches!(c, '.' | ':') || c.is_ascii_uppercase())
    };
    match repository.split_once('/') {
        Some((first, path)) if is_host(first) => (Some(first), path),
        _ => (None, repository),
    }
}

/// The same reference with the repository's name in its registry in lower case; `None`: it is so already. The engine
/// refuses a reference with another name.
pub(super) fn in_lower_case(reference: &str) -> Option<String> {
    let repository = split(reference).0;
    let (registry, name) = split_registry(repository);
    if !name.contains(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let rest = &reference[repository.len()..];
    Some(match registry {
        Some(registry) => format!("{registry}/{name}{rest}"),
        None => format!("{name}{rest}"),
    })
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_MAX_LEN
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// `sha256:` and 64 hex digits in lower case.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn a_tag_after_the_digest_is_dropped_and_a_port_is_no_tag() {
        let text = format!("registry.example:5000/app:1@{A}");
        let parsed = ImageReference::parse(&text).unwrap();
        assert_eq!(parsed.repository, "registry.example:5000/app");
        assert_eq!(parsed.version, ImageVersion::Digest(A));
    }

    #[test]
    fn a_registry_is_told_from_the_first_part_of_a_name() {
        for (reference, registry, name) in [
            (
                "registry.example:5000/team/app:1",
                Some("registry.example:5000"),
                "team/app",
            ),
            ("localhost/app:1", Some("localhost"), "app"),
            ("Registry/app:1", Some("Registry"), "app"),
            ("team/app:1", None, "team/app"),
            ("app:1", None, "app"),
        ] {
            let parsed = ImageReference::parse(reference).unwrap();
            assert_eq!(parsed.in_registry(), (registry, name), "{reference}");
        }
    }
}

//! What a platform of an image is called.

/// The longest part of a name, bytes.
const PART_MAX_LEN: usize = 32;

/// Whether it is `os/architecture` or `os/architecture/variant`.
pub fn is_platform(text: &str) -> bool {
    let parts: Vec<_> = text.split('/').collect();
    let is_part = |part: &&str| {
        (1..=PART_MAX_LEN).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
    };
    (2..=3).contains(&parts.len()) && parts.iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_has_two_or_three_printable_parts() {
        for good in ["linux/amd64", "linux/arm/v7", "linux/mips64le", "a_b/c.d/e-f"] {
            assert!(is_platform(good), "{good}");
        }
        let long = format!("linux/{}", "a".repeat(PART_MAX_LEN + 1));
        for bad in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/arm/v7/x",
            "Linux/amd64",
            "linux/amd 64",
            "linux/amd64\n",
            "linux/\u{1b}[2J",
            "linux/\u{e4}",
            &long,
        ] {
            assert!(!is_platform(bad), "{bad:?}");
        }
    }
}

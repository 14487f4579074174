//! Image references: their form, and that no two images share what the Supervisor looks them up by.
//!
//! It looks an image up by its reference without the digest: any image of the repository that is on the engine counts
//! as present, nothing is pulled, and the old container goes on under a new name (observed: S2a; `inspectByName` in its
//! source). A tag is looked up as it is written, and is not pulled again when it moves (observed: E4). What it finds or
//! pulls by digest it tags `latest` (source).

use super::image_reference::{ImageReference, ImageVersion, in_lower_case};
use super::violation::{Found, Violations, shown};
use crate::codes::FieldCode;
use std::collections::BTreeMap;

/// The longest image reference the Supervisor takes, characters (observed: u05-body-matrix).
pub const IMAGE_MAX_LEN: usize = 255;

/// One reference of 1 to 255 printable ASCII characters without white space, its repository in lower case. That it has a
/// tag or a digest is left to [`check_images`]: a release that runs without must still be gone back to.
pub(super) fn check(service: &str, image: &str, found: &mut Found) {
    let path = ["services", service, "image"];
    let name = shown(service);
    if image.is_empty() {
        let message = format!(
            "the image of `{name}` must not be empty: it is one reference, e.g. registry.example/app:1.13.0"
        );
        found.add(&path, FieldCode::Empty, message);
        return;
    }
    if image.chars().count() > IMAGE_MAX_LEN {
        let message = format!(
            "the image of `{name}` has more than {IMAGE_MAX_LEN} characters, which the Supervisor refuses"
        );
        found.add(&path, FieldCode::TooLong, message);
    }
    if !image.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!(
            "the image of `{name}` holds a character that no image reference has (a space, or a `…` that stands for \
             something?): it is one reference, e.g. registry.example/app:1.13.0"
        );
        found.add(&path, FieldCode::NotAnImage, message);
        return;
    }
    if let Some(right) = in_lower_case(image) {
        let message = format!(
            "the image of `{name}` has upper-case letters in its repository, which no registry takes: write {}",
            shown(&right)
        );
        found.add(&path, FieldCode::NotAnImage, message);
    }
}

/// An image and who uses it.
#[derive(Clone, Debug)]
pub struct ImageUse<'a> {
    /// The service, or of a known image the release that names it.
    pub by: &'a str,
    /// As it is written there.
    pub reference: &'a str,
    /// The digests of the image's configuration by platform, as far as they are known.
    pub config_digests: BTreeMap<&'a str, &'a str>,
}

impl ImageUse<'_> {
    /// Whether both are known to have the same contents.
    fn is_same_as(&self, other: &Self) -> bool {
        let mut shared = self.shared_digests(other).peekable();
        shared.peek().is_some() && shared.all(|(mine, others)| mine == others)
    }

    /// Whether both are known to have different contents.
    fn differs_from(&self, other: &Self) -> bool {
        self.shared_digests(other).any(|(mine, others)| mine != others)
    }

    fn shared_digests(&self, other: &Self) -> impl Iterator<Item = (&str, &str)> {
        let digests = self.config_digests.iter();
        digests.filter_map(|(platform, mine)| Some((*mine, *other.config_digests.get(platform)?)))
    }
}

/// Whether the Supervisor can tell a new release's images from each other and from `known` ones: those of other releases,
/// or those a device has had. Each is `repository:tag` with a tag that no other image uses, or `repository@sha256:…` in a
/// repository that no other image uses. Going back to a release that ran is not held to it.
///
/// # Errors
/// A violation for each image that the Supervisor would take for another one, or would not fetch.
pub fn check_images(release: &[ImageUse<'_>], known: &[ImageUse<'_>]) -> Result<(), Violations> {
    let mut found = Found::default();
    let known = merged(known);
    for (at, image) in release.iter().enumerate() {
        if ImageReference::parse(image.reference).is_none() {
            let message = format!(
                "the image of `{}` is not repository:tag or repository@sha256: with 64 hex digits: write a tag that no \
                 other image uses, e.g. registry.example/app:1.13.0",
                shown(image.by)
            );
            found.add(&["services", image.by, "image"], FieldCode::NotAnImage, message);
            continue;
        }
        let others = known.values().chain(&release[..at]);
        if let Some((code, message)) = others.filter_map(|other| conflict(image, other)).next() {
            found.add(&["services", image.by, "image"], code, message);
        }
    }
    found.into_result()
}

/// One use a reference, with all that is known of it.
fn merged<'a>(uses: &[ImageUse<'a>]) -> BTreeMap<&'a str, ImageUse<'a>> {
    let mut merged: BTreeMap<&str, ImageUse<'_>> = BTreeMap::new();
    for image in uses {
        let known = merged.entry(image.reference).or_insert_with(|| image.clone());
        known.config_digests.extend(&image.config_digests);
    }
    merged
}

fn conflict(image: &ImageUse<'_>, other: &ImageUse<'_>) -> Option<(FieldCode, String)> {
    let (mine, others) = (
        ImageReference::parse(image.reference)?,
        ImageReference::parse(other.reference)?,
    );
    if mine.repository != others.repository || image.is_same_as(other) {
        return None;
    }
    let repository = shown(mine.repository);
    let (written, known, by) = (shown(image.reference), shown(other.reference), shown(other.by));
    let mistaken = || {
        let message = format!(
            "a device that has {known} (of {by}) takes it for {written} and fetches nothing: the Supervisor looks for a \
             digest in its repository alone; write a tag that no other image uses, e.g. {repository}:1.13.0, or use a \
             repository for each image"
        );
        Some((FieldCode::SharedRepository, message))
    };
    match (mine.version, others.version) {
        (ImageVersion::Digest(mine), ImageVersion::Digest(others)) if mine == others => None,
        (ImageVersion::Digest(_), _) | (ImageVersion::Tag("latest"), ImageVersion::Digest(_)) => mistaken(),
        (ImageVersion::Tag(mine), ImageVersion::Tag(others)) if mine == others => {
            let message = format!(
                "{written} is another image than the one that {by} names so: a device that has the tag does not fetch it \
                 again; use a new tag for each image, e.g. {repository}:1.13.0"
            );
            image
                .differs_from(other)
                .then_some((FieldCode::MovedTag, message))
        }
        (ImageVersion::Tag(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::violation::found_by;
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    const NONE: [FieldCode; 0] = [];

    fn image<'a>(reference: &'a str, digests: &[(&'a str, &'a str)]) -> ImageUse<'a> {
        ImageUse {
            by: "web",
            reference,
            config_digests: digests.iter().copied().collect(),
        }
    }

    fn codes(release: &[ImageUse<'_>], known: &[ImageUse<'_>]) -> Vec<FieldCode> {
        let found = check_images(release, known).err();
        found
            .iter()
            .flat_map(|found| found.iter())
            .map(|one| one.code.clone())
            .collect()
    }

    #[test]
    fn an_image_is_1_to_255_printable_characters() {
        let codes = |image: &str| found_by(|found| check("web", image, found));
        assert_eq!(codes("registry.example/app:1.13.0"), [""; 0]);
        assert_eq!(codes(&"x".repeat(255)), [""; 0]);
        assert_eq!(codes(""), ["/services/web/image empty"]);
        assert_eq!(codes(&"x".repeat(256)), ["/services/web/image tooLong"]);
        for bad in ["a b", "app\n", "registry.example/app@sha256:…", "\u{7f}"] {
            assert_eq!(codes(bad), ["/services/web/image notAnImage"], "{bad}");
        }
    }

    #[test]
    fn a_repository_is_in_lower_case_and_its_registry_and_tag_need_not_be() {
        let codes = |image: &str| found_by(|found| check("web", image, found));
        let digest = format!("Registry.Example:5000/app:RC1@{A}");
        for good in [
            "app:RC1",
            "Registry.Example/app:RC1",
            "LOCALHOST:5000/app:1",
            "Registry/app:1",
            "[FE80::1]:5000/app:1",
            &digest,
        ] {
            assert_eq!(codes(good), [""; 0], "{good}");
            assert!(ImageReference::parse(good).is_some(), "{good}");
        }
        for bad in [
            "App",
            "App:1",
            "App:5000",
            "registry.example/Team/app:1",
            "Registry.Example:5000/team/App:1",
            &format!("registry.example/App@{A}"),
        ] {
            assert_eq!(codes(bad), ["/services/web/image notAnImage"], "{bad}");
            assert_eq!(ImageReference::parse(bad), None, "{bad}");
        }
        let mut found = Found::default();
        check("web", "Registry.Example/Team/App:RC1", &mut found);
        let message = found.into_result().unwrap_err().to_string();
        assert!(
            message.contains("write Registry.Example/team/app:RC1"),
            "{message}"
        );
    }

    #[test]
    fn a_new_image_is_a_repository_with_a_tag_or_a_digest() {
        let codes = |reference: &str| codes(&[image(reference, &[])], &[]);
        let by_digest = format!("registry.example:5000/app@{A}");
        let both = format!("app:1.13.0@{A}");
        for good in ["registry.example/app:1.13.0", "app:_1-2.3", &by_digest, &both] {
            assert_eq!(codes(good), NONE, "{good}");
        }
        let short = format!("app@{}", &A[..70]);
        let upper = format!("app@{}", A.to_uppercase());
        for bad in [
            "a b:1",
            "app:1\n",
            "registry.example/app@sha256:…",
            "\u{7f}:1",
            "app",
            "registry.example:5000/app",
            "app:",
            "app:.1",
            "app:a/b",
            ":1",
            "a//b:1",
            "/app:1",
            "app@",
            "app@md5:aa",
            &short,
            &upper,
        ] {
            assert_eq!(codes(bad), [FieldCode::NotAnImage], "{bad}");
        }
    }

    #[test]
    fn a_digest_needs_a_repository_that_no_other_image_uses() {
        let (a, b, tagged) = (format!("app@{A}"), format!("app@{B}"), format!("app:2@{B}"));
        let of = |reference| image(reference, &[]);
        assert_eq!(codes(&[of(&b)], &[of(&a)]), [FieldCode::SharedRepository]);
        assert_eq!(codes(&[of(&tagged)], &[of(&a)]), [FieldCode::SharedRepository]);
        assert_eq!(codes(&[of(&b)], &[of("app:1")]), [FieldCode::SharedRepository]);
        assert_eq!(
            codes(&[of(&a), of(&b)], &[]),
            [FieldCode::SharedRepository],
            "in one release"
        );
        assert_eq!(codes(&[of(&a)], &[of(&a)]), NONE, "the same image");
        assert_eq!(codes(&[of(&b)], &[of("other:1")]), NONE);
        let found = check_images(&[of(&b)], &[of(&a)]).unwrap_err();
        assert!(found.to_string().contains("write a tag"), "{found}");
    }

    #[test]
    fn a_tag_leads_to_one_image_and_is_a_way_out_of_digests() {
        let a = format!("app@{A}");
        let amd = |digest| [("linux/amd64", digest)];
        assert_eq!(
            codes(&[image("app:2", &[])], &[image("app:1", &[]), image(&a, &[])]),
            NONE
        );
        assert_eq!(
            codes(&[image("app:1", &amd(B))], &[image("app:1", &amd(A))]),
            [FieldCode::MovedTag]
        );
        assert_eq!(
            codes(&[image("app:1", &amd(A))], &[image("app:1", &amd(A))]),
            NONE
        );
        assert_eq!(
            codes(
                &[image("app:1", &amd(B))],
                &[image("app:1", &[("linux/arm64", A)])]
            ),
            NONE
        );
        assert_eq!(
            codes(&[image("app:1", &amd(B))], &[image("app:1", &[])]),
            NONE,
            "not known"
        );
        assert_eq!(
            codes(&[image("app:latest", &[])], &[image(&a, &[])]),
            [FieldCode::SharedRepository]
        );
    }

    #[test]
    fn the_same_contents_under_another_name_are_the_same_image() {
        let (a, b) = (format!("app@{A}"), format!("app@{B}"));
        let both = |reference| image(reference, &[("linux/amd64", A), ("linux/arm64", B)]);
        assert_eq!(codes(&[both(&b)], &[both(&a)]), NONE);
        let other = image(&a, &[("linux/amd64", A), ("linux/arm64", A)]);
        assert_eq!(
            codes(&[both(&b)], &[other]),
            [FieldCode::SharedRepository],
            "on one platform only"
        );
    }
}

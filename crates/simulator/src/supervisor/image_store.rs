//! The images on the engine, and how the Supervisor finds one.
//!
//! It looks for the exact reference, then by reference *without the digest*: any image of that repository counts as
//! present, the newest first, and nothing is pulled (with-agent/S2a; `inspectByName` in the Supervisor's source). What it
//! finds or pulls by digest it tags without a tag, which the engine reads as `latest`.

use crate::text::hex;

/// One image under one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredImage {
    /// The reference it was pulled by.
    pub(crate) reference: String,
    /// The engine's id: the digest of the image's configuration.
    pub(crate) id: String,
}

/// Oldest first; the engine lists them newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageStore(Vec<StoredImage>);

impl ImageStore {
    /// The image that the Supervisor takes for this reference.
    pub(crate) fn find(&self, reference: &str) -> Option<&StoredImage> {
        let newest_first = || self.0.iter().rev();
        let wanted = Name::of(reference);
        newest_first()
            .find(|image| image.reference == reference)
            .or_else(|| newest_first().find(|image| wanted.counts_as(&Name::of(&image.reference))))
    }

    /// An image was pulled, or its tag was moved.
    pub(crate) fn insert(&mut self, reference: &str, id: String) {
        self.remove(reference);
        let reference = reference.to_owned();
        self.0.push(StoredImage { reference, id });
    }

    pub(crate) fn remove(&mut self, reference: &str) {
        self.0.retain(|image| image.reference != reference);
    }
}

/// The parts of a reference that the lookup uses.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    repository: &'a str,
    /// `None`: by digest, whether or not a tag was written too.
    tag: Option<&'a str>,
}

impl<'a> Name<'a> {
    fn of(reference: &'a str) -> Self {
        let (name, digest) = match reference.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (reference, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let from = name.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match name[from..].split_once(':') {
            Some((last, tag)) => (&name[..from + last.len()], tag),
            None => (name, "latest"),
        };
        let tag = digest.is_none().then_some(tag);
        Self { repository, tag }
    }

    /// Whether an image of this other name on the engine is taken for this one.
    fn counts_as(&self, present: &Self) -> bool {
        let tag_fits = match self.tag {
            None => true,
            Some(tag) => present.tag.unwrap_or("latest") == tag,
        };
        self.repository == present.repository && tag_fits
    }
}

/// The engine's id of an image with this content.
pub(crate) fn image_id(content: &str) -> String {
    format!("sha256:{}", hex(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(present: &[&str], wanted: &str) -> Option<String> {
        let mut store = ImageStore::default();
        for reference in present {
            store.insert(reference, image_id(reference));
        }
        store.find(wanted).map(|image| image.reference.clone())
    }

    #[test]
    fn a_digest_is_found_by_its_repository_alone() {
        let (a, b) = ("registry:5000/app@sha256:aa", "registry:5000/app@sha256:bb");
        assert_eq!(found(&[a], b).as_deref(), Some(a));
        assert_eq!(found(&[a, b], a).as_deref(), Some(a), "the exact one comes first");
        let tagged = "registry:5000/app:1";
        assert_eq!(found(&[a, tagged], b).as_deref(), Some(tagged), "else the newest");
        assert_eq!(
            found(&[a], "registry:5000/app:2@sha256:bb").as_deref(),
            Some(a),
            "the tag is dropped"
        );
        assert_eq!(found(&["registry:5000/other@sha256:aa"], a), None);
    }

    #[test]
    fn a_tag_is_found_by_the_same_tag() {
        assert_eq!(found(&["registry:5000/app:1"], "registry:5000/app:2"), None);
        assert_eq!(found(&["app:1", "app"], "app:latest").as_deref(), Some("app"));
        assert_eq!(found(&["app@sha256:aa"], "app:1"), None);
        assert_eq!(
            found(&["app@sha256:aa"], "app:latest").as_deref(),
            Some("app@sha256:aa"),
            "the Supervisor tags it `latest`"
        );
    }
}

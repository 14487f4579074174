//! The form of an image reference.
//!
//! Here also belongs what a reference must look like so that the Supervisor notices a new image: it looks images up
//! without their digest, so two releases of one repository count as the same (observed: S2a).

use super::violation::{Found, shown};
use crate::codes::FieldCode;

/// The longest image reference the Supervisor takes, characters (observed: u05-body-matrix).
pub const IMAGE_MAX_LEN: usize = 255;

/// One reference of 1 to 255 printable ASCII characters without white space.
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
             something?): it is one reference, e.g. registry.example/app:1.13.0 or with @sha256: and 64 hex digits"
        );
        found.add(&path, FieldCode::NotAnImage, message);
    }
}

#[cfg(test)]
mod tests {
    use super::super::violation::found_by;
    use super::*;

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
}

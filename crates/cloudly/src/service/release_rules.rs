//! What a release must be. What the Supervisor would fail on is refused here, where somebody still reads the answer.

use super::error::{Error, Result};
use super::validate::{depth, escaped, text};
use baseos_interfaces::admin::CreateRelease;
use baseos_interfaces::codes::FieldCode;

pub(super) fn check(release: &CreateRelease) -> Result<()> {
    let commit = &release.commit;
    let hex = commit
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !hex || !(7..=64).contains(&commit.len()) {
        let message = "a commit is 7 to 64 hex digits in lower case, e.g. 1f0a9be";
        return Err(Error::field("/commit", FieldCode::NotACommit, message));
    }
    if commit.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = "a commit needs at least one of the letters a to f: one of decimal digits only breaks the Supervisor's container names";
        return Err(Error::field("/commit", FieldCode::NoLetter, message));
    }
    if let Some(version) = &release.version {
        text("/version", version, 1, 64)?;
    }
    if release.services.is_empty() {
        return Err(Error::field(
            "/services",
            FieldCode::Empty,
            "a release needs at least one service",
        ));
    }
    for (name, service) in &release.services {
        check_name("/services", name)?;
        depth(
            &format!("/services/{}/composition", escaped(name)),
            service.composition.values(),
        )?;
        let pointer = format!("/services/{}/image", escaped(name));
        text(&pointer, &service.image, 1, 255)?;
        if !service.image.chars().all(|c| c.is_ascii_graphic()) {
            let message = format!(
                "the image of `{name}` holds a character that no image reference has (a space, or a `…` that \
                 stands for something?): it is one reference, e.g. registry.example/app:1.13.0 or with @sha256: and \
                 64 hex digits"
            );
            return Err(Error::field(pointer, FieldCode::NotAnImage, message));
        }
    }
    depth(
        "/volumes",
        release.volumes.values().flat_map(|volume| volume.values()),
    )?;
    depth(
        "/networks",
        release.networks.values().flat_map(|network| network.values()),
    )?;
    release
        .volumes
        .keys()
        .try_for_each(|name| check_name("/volumes", name))?;
    release
        .networks
        .keys()
        .try_for_each(|name| check_name("/networks", name))
}

fn check_name(pointer: &str, name: &str) -> Result<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.len() <= 63
        && name.bytes().all(good)
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
    {
        return Ok(());
    }
    let message = "a name has up to 63 letters, digits, `_`, `.` and `-`, and begins with a letter or digit";
    Err(Error::field(
        format!("{pointer}/{}", escaped(name)),
        FieldCode::NotAName,
        message,
    ))
}

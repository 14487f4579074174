//! What this machine is, and names for what happens on it.

use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// Where the firmware keeps what identifies the hardware, most reliable first, with a name for each source.
const SOURCES: [(&str, &str); 3] = [
    ("dmi", "sys/class/dmi/id/product_uuid"),
    ("device-tree", "sys/firmware/devicetree/base/serial-number"),
    ("device-tree", "proc/device-tree/serial-number"),
];
/// Values that firmware ships when nobody filled them in; thousands of boxes share them.
const PLACEHOLDERS: [&str; 8] = [
    "03000200-0400-0500-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "01234567-8910-abcd-efff-123456789abc",
    "0123456789",
    "123456789",
    "not specified",
    "to be filled by o.e.m.",
    "default string",
];

/// The kernel's id of this boot; empty where the kernel does not tell (every start is then taken for a new boot).
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// The host's name as the kernel knows it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The architecture this agent was built for, in balena's names; `None` for one balena has no name for.
/// `BALENA_DEVICE_ARCH`, when set, knows better.
pub fn architecture() -> Option<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Some("amd64"),
        "x86" => Some("i386"),
        "aarch64" => Some("aarch64"),
        "arm" => Some("armv7hf"),
        _ => None,
    }
}

/// `sha256:<hex>` over what identifies the hardware, so that a reinstalled box is recognised; `None` when nothing
/// does. The identifier itself leaves the machine neither here nor elsewhere.
///
/// `root` is `/`; `device_uuid` is `BALENA_DEVICE_UUID`, which is taken only when the firmware says nothing: it
/// is made anew by a reinstallation.
pub fn hardware_id(root: &Path, device_uuid: Option<&str>) -> Option<String> {
    let firmware = SOURCES.iter().find_map(|(source, path)| {
        let value = fs::read(root.join(path)).ok()?;
        Some((*source, genuine(&String::from_utf8_lossy(&value))?))
    });
    let (source, value) =
        firmware.or_else(|| device_uuid.and_then(genuine).map(|value| ("balena", value)))?;
    let hash = Sha256::digest(format!("baseos hardware id\0{source}\0{value}"));
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("sha256:{hex}"))
}

/// The identifier in one form, if it identifies anything.
fn genuine(value: &str) -> Option<String> {
    let value = value
        .trim_matches(|c: char| c == '\0' || c.is_whitespace())
        .to_ascii_lowercase();
    let mut digits = value.chars().filter(char::is_ascii_alphanumeric);
    let first = digits.next()?;
    let all_the_same = digits.all(|digit| digit == first);
    (!all_the_same && !PLACEHOLDERS.contains(&value.as_str())).then_some(value)
}

/// A new run id, `r_` and eight hexadecimal digits. `fill` fills its argument with random bytes.
pub fn run_id(mut fill: impl FnMut(&mut [u8])) -> String {
    let mut bytes = [0u8; 4];
    fill(&mut bytes);
    format!("r_{:08x}", u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn the_firmware_identifies_the_hardware_and_its_value_is_not_shown() {
        let uuid = "4C4C4544-0042-3510-8051-B4C04F4A3532";
        let box_a = root(&[(SOURCES[0].1, &format!("{uuid}\n"))]);
        let id = hardware_id(box_a.path(), Some("other")).unwrap();
        assert!(
            id.starts_with("sha256:") && id.len() == 71 && !id.contains("4544"),
            "{id}"
        );
        let lower = root(&[(SOURCES[0].1, &uuid.to_lowercase())]);
        assert_eq!(
            hardware_id(lower.path(), None).unwrap(),
            id,
            "case and blanks do not matter"
        );
    }

    #[test]
    fn both_places_of_the_device_tree_are_one_source() {
        let a = root(&[(SOURCES[1].1, "10000000abcdef12\0")]);
        let b = root(&[(SOURCES[2].1, "10000000abcdef12\0")]);
        assert_eq!(hardware_id(a.path(), None), hardware_id(b.path(), None));
    }

    #[test]
    fn what_nobody_filled_in_identifies_nothing() {
        for value in [
            "",
            "\0",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF",
            PLACEHOLDERS[0],
            "Default String",
        ] {
            let dir = root(&[(SOURCES[0].1, value)]);
            assert_eq!(hardware_id(dir.path(), None), None, "{value:?}");
        }
        let dir = root(&[
            (SOURCES[0].1, PLACEHOLDERS[0]),
            (SOURCES[1].1, "10000000abcdef12"),
        ]);
        assert!(
            hardware_id(dir.path(), None).is_some(),
            "the next source is asked"
        );
        assert!(hardware_id(root(&[]).path(), Some("9d59c0de")).is_some());
    }

    #[test]
    fn a_run_id_has_its_form() {
        assert_eq!(
            run_id(|bytes| bytes.copy_from_slice(&[0, 1, 0x8c, 0x1f])),
            "r_00018c1f"
        );
    }

    #[test]
    fn this_machine_has_a_boot_and_a_name() {
        assert_eq!(boot_id().len(), 36);
        assert!(!hostname().is_empty());
        assert!(architecture().is_some());
    }
}

//! The identity of the device, and ids for runs.

use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// Where the firmware exposes a hardware identifier, most reliable first: the source's name and the path.
const FIRMWARE_SOURCES: [(&str, &str); 3] = [
    ("dmi", "sys/class/dmi/id/product_uuid"),
    ("device-tree", "sys/firmware/devicetree/base/serial-number"),
    ("device-tree", "proc/device-tree/serial-number"),
];
/// Default values of firmware without a real identifier; many devices share them.
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

/// The kernel's id of this boot; empty where it cannot be read.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The architecture this agent was built for, by balena's name; `None` if balena has none. `BALENA_DEVICE_ARCH`, when
/// set, takes precedence.
pub fn architecture() -> Option<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Some("amd64"),
        "x86" => Some("i386"),
        "aarch64" => Some("aarch64"),
        "arm" => Some("armv7hf"),
        _ => None,
    }
}

/// `sha256:<hex>` of the hardware's identifier, so that a reinstalled device is recognised; `None` without one. The
/// identifier itself never leaves the device.
///
/// `root` is `/`; `device_uuid` is `BALENA_DEVICE_UUID`, used only without an identifier in the firmware, because a
/// reinstallation changes it.
pub fn hardware_id(root: &Path, device_uuid: Option<&str>) -> Option<String> {
    let firmware = FIRMWARE_SOURCES.iter().find_map(|(source, path)| {
        let value = fs::read(root.join(path)).ok()?;
        Some((*source, identifier(&String::from_utf8_lossy(&value))?))
    });
    let (source, value) =
        firmware.or_else(|| device_uuid.and_then(identifier).map(|value| ("balena", value)))?;
    let hash = Sha256::digest(format!("baseos hardware id\0{source}\0{value}"));
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("sha256:{hex}"))
}

/// The value in canonical form; `None` for a placeholder.
fn identifier(value: &str) -> Option<String> {
    let value = value
        .trim_matches(|c: char| c == '\0' || c.is_whitespace())
        .to_ascii_lowercase();
    let mut digits = value.chars().filter(char::is_ascii_alphanumeric);
    let first = digits.next()?;
    let all_equal = digits.all(|digit| digit == first);
    (!all_equal && !PLACEHOLDERS.contains(&value.as_str())).then_some(value)
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
    fn the_hardware_id_is_a_hash_of_the_firmware_identifier() {
        let uuid = "4C4C4544-0042-3510-8051-B4C04F4A3532";
        let upper = root(&[(FIRMWARE_SOURCES[0].1, &format!("{uuid}\n"))]);
        let id = hardware_id(upper.path(), Some("other")).unwrap();
        assert!(
            id.starts_with("sha256:") && id.len() == 71 && !id.contains("4544"),
            "{id}"
        );
        let lower = root(&[(FIRMWARE_SOURCES[0].1, &uuid.to_lowercase())]);
        assert_eq!(
            hardware_id(lower.path(), None).unwrap(),
            id,
            "case and white space do not matter"
        );
    }

    #[test]
    fn both_device_tree_paths_give_the_same_hardware_id() {
        let a = root(&[(FIRMWARE_SOURCES[1].1, "10000000abcdef12\0")]);
        let b = root(&[(FIRMWARE_SOURCES[2].1, "10000000abcdef12\0")]);
        assert_eq!(hardware_id(a.path(), None), hardware_id(b.path(), None));
    }

    #[test]
    fn placeholders_give_no_hardware_id() {
        for value in [
            "",
            "\0",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF",
            PLACEHOLDERS[0],
            "Default String",
        ] {
            let dir = root(&[(FIRMWARE_SOURCES[0].1, value)]);
            assert_eq!(hardware_id(dir.path(), None), None, "{value:?}");
        }
        let dir = root(&[
            (FIRMWARE_SOURCES[0].1, PLACEHOLDERS[0]),
            (FIRMWARE_SOURCES[1].1, "10000000abcdef12"),
        ]);
        assert!(hardware_id(dir.path(), None).is_some(), "the next source is used");
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
    fn boot_id_hostname_and_architecture_are_available_here() {
        assert_eq!(boot_id().len(), 36);
        assert!(!hostname().is_empty());
        assert!(architecture().is_some());
    }
}

//! Search for secrets in output and files.

use std::path::Path;

/// A secret and the forms in which it could be written.
#[derive(Debug)]
pub(crate) struct Secret {
    name: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Secret {
    /// A token of BaseOS: prefix and id are public, the rest is secret.
    pub(crate) fn token(name: &str, token: &str) -> Self {
        assert_eq!(token.len(), 64, "{name} is not a token");
        Self::new(name, token, &token[15..])
    }

    pub(crate) fn key(name: &str, key: &str) -> Self {
        assert!(key.len() >= 32, "{name} is too short for a key");
        Self::new(name, key, key)
    }

    fn new(name: &str, whole: &str, secret: &str) -> Self {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut forms = vec![
            // A part of a secret must not be shown either.
            ("its beginning", secret[..12].into()),
            ("its end", secret[secret.len() - 12..].into()),
            ("hex", hex.into_bytes()),
            ("percent", percent.into_bytes()),
            ("reversed", secret.bytes().rev().collect()),
        ];
        // Its middle is one of three texts, depending on its position in the encoded text.
        for shift in 0..3 {
            let padded = ["x".repeat(shift).as_bytes(), whole.as_bytes()].concat();
            let encoded = base64(&padded);
            forms.push(("base64", encoded[4..encoded.len() - 4].to_vec()));
        }
        Self {
            name: name.to_owned(),
            forms,
        }
    }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let triples = bytes.chunks(3).flat_map(|chunk| {
        let word = (0..3).fold(0usize, |word, at| {
            word << 8 | usize::from(*chunk.get(at).unwrap_or(&0))
        });
        [18, 12, 6, 0].map(|shift| DIGITS[word >> shift & 63])
    });
    triples.collect()
}

/// A description of every secret in a text.
pub(crate) fn find_secrets(place: &str, text: &[u8], secrets: &[Secret]) -> Vec<String> {
    let mut found = Vec::new();
    for secret in secrets {
        for (form, needle) in &secret.forms {
            if let Some(at) = text.windows(needle.len()).position(|window| window == needle) {
                let from = text[..at]
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
                let to = text.len().min(at + needle.len() + 40).max(from);
                let around = String::from_utf8_lossy(&text[from.max(at.saturating_sub(300))..to]);
                found.push(format!("{} ({form}) in {place}: …{around}…", secret.name));
            }
        }
    }
    found
}

/// All files below a directory with their content, without what may be secret: files with the excluded names, and the
/// credentials in state files.
pub(crate) fn read_files(dir: &Path, excluded: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(read_files(&path, excluded));
        } else if kind.is_file() && !excluded.contains(&name.as_str()) {
            let mut bytes = std::fs::read(&path).unwrap_or_default();
            if name.starts_with("state.json") {
                bytes = without_credentials(&bytes);
            }
            all.push((path.display().to_string(), bytes));
        }
    }
    all
}

fn without_credentials(bytes: &[u8]) -> Vec<u8> {
    let mut state: serde_json::Value = serde_json::from_slice(bytes).expect("a state file is JSON");
    let removed = remove_credentials(&mut state);
    assert!(removed > 0, "no credentials in {state}");
    state.to_string().into_bytes()
}

/// Returns how many were removed.
fn remove_credentials(value: &mut serde_json::Value) -> usize {
    match value {
        serde_json::Value::Object(members) => {
            let own = usize::from(members.remove("credentials").is_some());
            own + members.values_mut().map(remove_credentials).sum::<usize>()
        }
        serde_json::Value::Array(items) => items.iter_mut().map(remove_credentials).sum(),
        _ => 0,
    }
}

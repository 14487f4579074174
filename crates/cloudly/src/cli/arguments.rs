//! Arguments that several commands share, and how values are written.

use baseos_interfaces::members::Shape;
use baseos_interfaces::mismatch::Mismatch;
use baseos_interfaces::problem::pointer;
use clap::Args;
use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser};
use cloudly_baseos::{Database, Settings};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest file with a release or a policy; Cloudly takes a quarter of it.
const FILE_MAX_BYTES: u64 = 1024 * 1024;
/// What a file with a policy is.
pub(super) const POLICY_FILE: &str = "a policy as JSON, e.g. {\"maxAttempts\": 5}";
/// Where help lists them, apart from a command's own options.
const HEADING: &str = "Global options";

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Where the server is
    #[arg(
        long,
        env = "CLOUDLY_URL",
        default_value = "http://127.0.0.1:8080",
        global = true,
        help_heading = HEADING
    )]
    pub(super) url: String,
    /// The only certificate authorities to trust for an https server, PEM [default: those of this host]
    #[arg(long, env = "CLOUDLY_CA", value_name = "FILE", global = true, value_parser = path(), help_heading = HEADING)]
    ca: Option<PathBuf>,
    /// The file with the admin token [default: `admin-token` beside the database]
    #[arg(long, env = "CLOUDLY_ADMIN_TOKEN_FILE", global = true, value_parser = path(), help_heading = HEADING)]
    token_file: Option<PathBuf>,
    /// The database: `sqlite:<file>` or `postgres://user:password@host/name`
    #[arg(
        long,
        env = "CLOUDLY_DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite:cloudly.db",
        global = true,
        help_heading = HEADING
    )]
    database_url: SecretString,
    /// Send the admin token over plain HTTP to another host too, where everybody in between can read it
    #[arg(
        long,
        env = "CLOUDLY_ALLOW_HTTP",
        value_parser = BoolishValueParser::new(),
        global = true,
        help_heading = HEADING
    )]
    pub(super) allow_http: bool,
    /// Print JSON instead of a table
    #[arg(long, global = true, help_heading = HEADING)]
    pub(super) json: bool,
}

impl Global {
    /// The token file that was given. A variable that is set to nothing gives none.
    pub(super) fn token_file(&self) -> Option<&PathBuf> {
        self.token_file
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty())
    }

    /// The authorities that were given. A variable that is set to nothing gives none.
    pub(super) fn ca(&self) -> Option<&Path> {
        self.ca.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    pub(super) fn database(&self) -> Result<Database, &'static str> {
        Database::parse(self.database_url.expose_secret())
    }
}

/// Where the pepper is, for commands that open the database themselves.
#[derive(Debug, Args)]
pub(super) struct PepperFile {
    /// The file with the key of all token hashes [default: `token-pepper` beside the database]
    #[arg(long, env = "CLOUDLY_TOKEN_PEPPER_FILE", value_parser = path())]
    token_pepper_file: Option<PathBuf>,
}

impl PepperFile {
    /// A variable that is set to nothing names no file.
    pub(super) fn path(self, global: &Global) -> Result<PathBuf, &'static str> {
        let mut settings = Settings::new(global.database()?);
        settings.pepper_file = self.token_pepper_file.filter(|path| !path.as_os_str().is_empty());
        Ok(settings.pepper_path())
    }
}

/// A path that may be empty, since Compose files set what they leave out to nothing.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// `name=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("use name=value".to_owned()),
    }
}

/// A JSON file that an operator wrote, which `is` this; members that it may not have are refused.
pub(super) fn read_json(file: &Path, is: &str, shape: Shape) -> Result<Value, Box<dyn Error>> {
    read_json_up_to(file, is, shape, FILE_MAX_BYTES)
}

/// The same of a file that may have another length.
pub(super) fn read_json_up_to(
    file: &Path,
    is: &str,
    shape: Shape,
    max_bytes: u64,
) -> Result<Value, Box<dyn Error>> {
    let mut text = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(max_bytes + 1).read_to_end(&mut text))
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    if text.len() as u64 > max_bytes {
        let limit = max_bytes / 1024;
        return Err(format!(
            "{} has more than {limit} KiB, which nothing of its kind needs",
            file.display()
        )
        .into());
    }
    let value: Value = serde_json::from_slice(&text).map_err(|error| not_json(file, is, &error))?;
    if !value.is_object() {
        return Err(format!("{}: use {is}: the file is another kind of JSON", file.display()).into());
    }
    shape
        .check(&value)
        .map_err(|wrong| format!("{}: {wrong}", file.display()))?;
    Ok(value)
}

/// Where a file stops being JSON, and what it should be.
fn not_json(file: &Path, is: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let (line, column) = (error.line(), error.column());
    let what = text.strip_suffix(&format!(" at line {line} column {column}"));
    let what = match what.unwrap_or(&text) {
        what if !error.is_eof() => what.to_owned(),
        _ if line <= 1 && column == 0 => "it is empty".to_owned(),
        what => format!("it ends too early ({what})"),
    };
    let file = file.display();
    format!("{file}, line {line}, column {column}: this is not JSON: {what}. Use {is}")
}

/// What a JSON file that was read says.
pub(super) fn from_json<T: DeserializeOwned>(file: &Path, value: Value) -> Result<T, Box<dyn Error>> {
    Ok(serde_path_to_error::deserialize(value).map_err(|error| {
        let member = error.path().iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        let place = match pointer(member).as_str() {
            "" => String::new(),
            pointer => format!(": `{pointer}`"),
        };
        format!(
            "{}{place}: {}",
            file.display(),
            Mismatch::of(&error.inner().to_string()).with_value()
        )
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use baseos_interfaces::members;
    use serde_json::json;

    #[test]
    fn a_file_without_an_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("long.json");
        std::fs::write(&long, format!("{{}}{}", " ".repeat(1 << 20))).unwrap();
        for file in [&long, Path::new("/dev/zero")] {
            let error = read_json(file, POLICY_FILE, members::POLICY)
                .unwrap_err()
                .to_string();
            let refused = format!("{} has more than 1024 KiB", file.display());
            assert!(error.starts_with(&refused), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_json_is_refused_with_the_place_and_what_it_should_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.json");
        for (text, says) in [
            ("", ", line 1, column 0: this is not JSON: it is empty. "),
            (
                "{\n  \"maxAttempts\": 5,\n}",
                ", line 3, column 1: this is not JSON: trailing comma. ",
            ),
            (
                "{\n  \"maxAttempts\": 5",
                ", line 2, column 18: this is not JSON: it ends too early (",
            ),
            (
                "maxAttempts = 5",
                ", line 1, column 1: this is not JSON: expected value. ",
            ),
            ("[]", ": the file is another kind of JSON"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = read_json(&file, POLICY_FILE, members::POLICY)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(&file.display().to_string()), "{error}");
            assert!(error.contains(says), "{text:?}: {error}");
            assert!(error.contains("e.g. {\"maxAttempts\": 5}"), "{error}");
        }
    }

    #[test]
    fn a_value_of_another_kind_is_named_by_its_place_and_in_plain_words() {
        use baseos_interfaces::admin::CreateRelease;
        use baseos_interfaces::desired::Policy;
        let file = Path::new("f.json");
        for (policy, says) in [
            (
                json!({ "maxAttempts": "3" }),
                "f.json: `/maxAttempts`: expected a whole number from 0 to 4294967295, not the string \"3\"",
            ),
            (
                json!({ "maxAttempts": -1 }),
                "f.json: `/maxAttempts`: expected a whole number from 0 to 4294967295, not the number `-1`",
            ),
            (
                json!({ "requireRollback": 1 }),
                "f.json: `/requireRollback`: expected true or false, not the number `1`",
            ),
            (
                json!({ "windows": {} }),
                "f.json: `/windows`: expected a list, not an object",
            ),
        ] {
            let error = from_json::<Policy>(file, policy).unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
        let release = json!({ "commit": "c0ffee1", "services": { "onebox": { "image": 3 } } });
        let error = from_json::<CreateRelease>(file, release).unwrap_err().to_string();
        assert_eq!(
            error,
            "f.json: `/services/onebox/image`: expected a string, not the number `3`"
        );
        let release = json!({ "commit": "c0ffee1", "services": { "onebox": {} } });
        let error = from_json::<CreateRelease>(file, release).unwrap_err().to_string();
        assert_eq!(error, "f.json: `/services/onebox`: `image` is missing");
    }
}

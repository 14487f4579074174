//! Credentials for registries, in the form of docker's `config.json`: `{"auths": {"HOST": {"auth": "…"}}}`, where `auth` is
//! what HTTP's Basic scheme sends.

use reqwest::header::HeaderValue;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// More than any such file is long.
const MAX_BYTES: u64 = 256 * 1024;
/// The name under which docker keeps the credentials of its default registry.
const DOCKER_HUB: [&str; 2] = ["docker.io", "index.docker.io"];

/// By host. Has no `Debug` that shows them.
#[derive(Default)]
pub(super) struct Credentials(BTreeMap<String, HeaderValue>);

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
}

impl Credentials {
    /// # Errors
    /// When the file cannot be read, or is not of that form. The message holds nothing of its contents.
    pub(super) fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        let shown = file.display();
        let mut text = String::new();
        File::open(file)
            .and_then(|opened| opened.take(MAX_BYTES).read_to_string(&mut text))
            .map_err(|error| format!("cannot read {shown}: {error}"))?;
        Self::parse(&text).ok_or_else(|| {
            format!(
                "{shown} holds no credentials: use docker's form, {{\"auths\": {{\"registry.example\": {{\"auth\": \"…\"}}}}}}"
            )
            .into()
        })
    }

    /// `None`: not of that form. An entry without `auth` (docker has a helper for it) is left out.
    fn parse(text: &str) -> Option<Self> {
        let config: DockerConfig = serde_json::from_str(text).ok()?;
        let mut by_host = BTreeMap::new();
        for (host, entry) in config.auths {
            let Some(auth) = entry.auth.filter(|auth| !auth.is_empty()) else {
                continue;
            };
            let mut header = HeaderValue::try_from(format!("Basic {auth}")).ok()?;
            header.set_sensitive(true);
            by_host.insert(host_of(&host).to_owned(), header);
        }
        Some(Self(by_host))
    }

    /// The `Authorization` header for a host.
    pub(super) fn for_host(&self, host: &str) -> Option<&HeaderValue> {
        let same: &[&str] = if DOCKER_HUB.contains(&host) {
            &DOCKER_HUB
        } else {
            &[]
        };
        let hosts = std::iter::once(&host).chain(same);
        hosts.filter_map(|host| self.0.get(*host)).next()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// docker writes some hosts as URLs.
fn host_of(name: &str) -> &str {
    let name = name
        .strip_prefix("https://")
        .or_else(|| name.strip_prefix("http://"))
        .unwrap_or(name);
    name.split('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_by_their_host_alone() {
        let text = r#"{"auths": {"registry.example:5000": {"auth": "b25l"}, "https://index.docker.io/v1/": {"auth": "dHdv"},
            "helped.example": {}}, "credsStore": "desktop"}"#;
        let credentials = Credentials::parse(text).unwrap();
        let header = |host: &str| {
            credentials
                .for_host(host)
                .map(|header| header.to_str().unwrap().to_owned())
        };
        assert_eq!(header("registry.example:5000").as_deref(), Some("Basic b25l"));
        assert_eq!(header("docker.io").as_deref(), Some("Basic dHdv"));
        for other in ["registry.example", "auth.docker.io", "helped.example", "example"] {
            assert_eq!(header(other), None, "{other}");
        }
        assert!(!format!("{credentials:?}").contains("b25l"));
    }

    #[test]
    fn what_is_no_such_file_is_refused_without_its_contents() {
        for text in [
            "",
            "7",
            r#"{"auths": {"a": {"auth": "s3cret\n"}}}"#,
            r#"{"auths": "s3cret"}"#,
        ] {
            let dir = tempfile::TempDir::new().unwrap();
            let file = dir.path().join("config.json");
            std::fs::write(&file, text).unwrap();
            let error = Credentials::read(&file).unwrap_err().to_string();
            assert!(
                error.contains("docker's form") && !error.contains("s3cret"),
                "{error}"
            );
        }
        let error = Credentials::read(Path::new("/nowhere/config.json")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nowhere/config.json"));
    }
}

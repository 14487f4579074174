//! Where an image is.

use super::error::RegistryError;
use baseos_interfaces::rules::{ImageReference, ImageVersion};
use reqwest::Url;

/// The registry of references that name none, and the host that serves it.
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_HOST: &str = "registry-1.docker.io";

/// An image in its registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// The registry as the reference names it, with its port: credentials are looked up by it.
    pub(super) host: String,
    /// `http://host/` or `https://host/`.
    pub(super) base: Url,
    /// The repository's name in the registry.
    pub(super) name: String,
    /// A tag or a digest.
    pub(super) version: String,
}

impl Address {
    /// # Errors
    /// When the reference is none.
    pub(super) fn of(reference: &str, insecure: bool) -> Result<Self, RegistryError> {
        let parsed = ImageReference::parse(reference).ok_or(RegistryError::NotAnImage)?;
        let (host, name) = parsed.in_registry();
        let host = host.unwrap_or(DEFAULT_REGISTRY);
        let (served_by, name) = match host {
            DEFAULT_REGISTRY if !name.contains('/') => (DEFAULT_HOST, format!("library/{name}")),
            DEFAULT_REGISTRY => (DEFAULT_HOST, name.to_owned()),
            host => (host, name.to_owned()),
        };
        let scheme = if insecure { "http" } else { "https" };
        let is_host_and_port = served_by
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
        let base = Url::parse(&format!("{scheme}://{served_by}/")).ok();
        let base = base
            .filter(|_| is_host_and_port)
            .ok_or(RegistryError::NotAnImage)?;
        let (ImageVersion::Tag(version) | ImageVersion::Digest(version)) = parsed.version;
        Ok(Self {
            host: host.to_owned(),
            base,
            name,
            version: version.to_owned(),
        })
    }

    /// Whoever is there sends what cannot be right.
    pub(super) fn sends(&self, what: &'static str) -> RegistryError {
        RegistryError::Answer {
            host: self.host.clone(),
            what,
        }
    }

    /// An address that the registry names: over TLS, unless the operator does without.
    pub(super) fn allowed(&self, url: Option<Url>) -> Result<Url, RegistryError> {
        let without_tls = self.base.scheme() == "http";
        let allowed = url.filter(|url| match url.scheme() {
            "https" => true,
            "http" => without_tls,
            _ => false,
        });
        let mut url = allowed.ok_or_else(|| self.sends("an address that is not https"))?;
        // Credentials in it would be sent as such.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        Ok(url)
    }

    /// Where a token for this repository is asked for. What the token is good for is never the registry's choice.
    pub(super) fn token_url(&self, realm: &str, service: Option<&str>) -> Result<Url, RegistryError> {
        let realm = self.allowed(Url::parse(realm).ok())?;
        let kept = realm.query_pairs().filter(|(name, _)| name != "scope");
        let mut url = realm.clone();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(kept)
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &format!("repository:{}:pull", self.name));
        Ok(url)
    }

    /// The URL of something in the repository: `manifests` or `blobs`, by tag or digest.
    pub(super) fn url(&self, kind: &str, version: &str) -> Result<Url, RegistryError> {
        let path = format!("v2/{}/{kind}/{version}", self.name);
        self.base.join(&path).map_err(|_| RegistryError::NotAnImage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_leads_to_its_registry_and_without_one_to_the_default() {
        let manifest = |reference: &str, insecure| {
            let address = Address::of(reference, insecure).unwrap();
            address.url("manifests", &address.version).unwrap().to_string()
        };
        assert_eq!(
            manifest("registry.example/a/onebox:1.13.0", false),
            "https://registry.example/v2/a/onebox/manifests/1.13.0"
        );
        assert_eq!(
            manifest("127.0.0.1:5000/onebox:1", true),
            "http://127.0.0.1:5000/v2/onebox/manifests/1"
        );
        assert_eq!(
            manifest("busybox:1", false),
            "https://registry-1.docker.io/v2/library/busybox/manifests/1"
        );
        assert_eq!(
            manifest("balenalib/amd64:1", false),
            "https://registry-1.docker.io/v2/balenalib/amd64/manifests/1"
        );
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            manifest(&format!("localhost/onebox:1@{digest}"), true),
            format!("http://localhost/v2/onebox/manifests/{digest}")
        );
    }

    #[test]
    fn a_token_is_asked_for_over_tls_and_for_pulling_this_repository_alone() {
        let token_url = |realm: &str, insecure| {
            let address = Address::of("registry.example/a/onebox:1", insecure).unwrap();
            let url = address.token_url(realm, Some("s"));
            url.map(|url| url.to_string()).map_err(|error| error.to_string())
        };
        let expected = "https://auth.example/token?account=b&service=s&scope=repository%3Aa%2Fonebox%3Apull";
        let realm = "https://user:secret@auth.example/token?account=b&scope=repository:x:push&%73cope=y";
        assert_eq!(token_url(realm, false).as_deref(), Ok(expected));
        let plain = "http://auth.example/token";
        assert!(token_url(plain, true).is_ok());
        for refused in [plain, "ftp://auth.example/", "token", ""] {
            let error = token_url(refused, false).unwrap_err();
            assert!(error.contains("not https"), "{refused}: {error}");
        }
    }

    #[test]
    fn what_is_no_reference_leads_nowhere() {
        for bad in [
            "onebox",
            "a b:1",
            "evil.example#/onebox:1",
            "a.example?x/onebox:1",
        ] {
            let address = Address::of(bad, false);
            assert!(
                matches!(address, Err(RegistryError::NotAnImage)),
                "{bad}: {address:?}"
            );
        }
    }
}

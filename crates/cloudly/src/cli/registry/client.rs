//! The requests. Every answer is bounded, and what is asked for by digest is checked against it.

use super::address::Address;
use super::challenge::Challenge;
use super::credentials::Credentials;
use super::error::RegistryError;
use super::manifest::{Document, MEDIA_TYPES, Platform, Platforms};
use baseos_interfaces::limits::PLATFORMS_MAX;
use baseos_interfaces::rules::is_digest;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// For a manifest (the specification's limit), a configuration or a token.
const ANSWER_MAX_BYTES: usize = 4 * 1024 * 1024;
const CONNECT_MAX: Duration = Duration::from_secs(5);
const REQUEST_MAX: Duration = Duration::from_secs(20);

pub(super) struct RegistryClient {
    http: reqwest::Client,
    credentials: Credentials,
    insecure: bool,
}

/// The answer of a token server.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl RegistryClient {
    /// # Errors
    /// When the system's certificates cannot be used.
    pub(super) fn new(credentials: Credentials, insecure: bool) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_MAX)
            .timeout(REQUEST_MAX)
            .redirect(reqwest::redirect::Policy::none());
        if insecure {
            // Nothing to verify without TLS, and a container may have no certificates at all.
            builder = builder.tls_certs_only([]).no_proxy();
        }
        Ok(Self {
            http: builder.build()?,
            credentials,
            insecure,
        })
    }

    /// What the registry says of an image.
    ///
    /// # Errors
    /// When it does not say it, or what it says cannot be right.
    pub(super) async fn resolve(&self, reference: &str) -> Result<Platforms, RegistryError> {
        let address = Address::of(reference, self.insecure)?;
        let mut access = Access {
            client: self,
            address: &address,
            authorization: None,
        };
        let document = access.manifest(&address.version).await?;
        let Some(manifests) = &document.manifests else {
            let image = document.image().map_err(|what| address.sends(what))?;
            let config = image.config_digest.as_deref().unwrap_or_default();
            let platform: Platform = access.json("blobs", config).await?;
            let name = platform.name().map_err(|what| address.sends(what))?;
            let name = name.ok_or_else(|| address.sends("an image without a platform"))?;
            return Ok(Platforms::from([(name, image)]));
        };
        let mut platforms = Platforms::new();
        for manifest in manifests {
            let name = manifest.platform.as_ref().map_or(Ok(None), Platform::name);
            let name = name.map_err(|what| address.sends(what))?;
            // Each request is for a platform that is not known yet, so their number is bounded too.
            let Some(name) = name.filter(|name| !platforms.contains_key(name)) else {
                continue;
            };
            if platforms.len() >= PLATFORMS_MAX {
                return Err(address.sends("an image of too many platforms"));
            }
            let document = access.manifest(&manifest.digest).await?;
            let image = document.image().map_err(|what| address.sends(what))?;
            platforms.insert(name, image);
        }
        if platforms.is_empty() {
            return Err(address.sends("an index without platforms"));
        }
        Ok(platforms)
    }
}

/// Requests about one image.
struct Access<'a> {
    client: &'a RegistryClient,
    address: &'a Address,
    /// What the registry asked for, once it did. For its own host only.
    authorization: Option<HeaderValue>,
}

impl Access<'_> {
    async fn manifest(&mut self, version: &str) -> Result<Document, RegistryError> {
        self.json("manifests", version).await
    }

    async fn json<T: DeserializeOwned>(&mut self, kind: &str, version: &str) -> Result<T, RegistryError> {
        let by_digest = version.contains(':');
        if by_digest && !is_digest(version) {
            return Err(self.address.sends("what is no digest"));
        }
        let url = self.address.url(kind, version)?;
        let mut response = self.get(url.clone(), self.authorization.clone()).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            self.authorization = Some(self.authorize(&response).await?);
            response = self.get(url.clone(), self.authorization.clone()).await?;
        }
        // Registries keep blobs elsewhere. One redirect, and nothing that says who asks goes along.
        if response.status().is_redirection() {
            let to = self.redirected(&url, &response)?;
            response = self.get(to, None).await?;
        }
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(RegistryError::NotFound(self.host())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(RegistryError::Refused(self.host()));
            }
            status => {
                return Err(RegistryError::Status {
                    host: self.host(),
                    status: status.as_u16(),
                });
            }
        }
        let body = self.body(response).await?;
        if by_digest && digest(&body) != version {
            return Err(self.address.sends("something else than it was asked for"));
        }
        serde_json::from_slice(&body).map_err(|_| self.address.sends("what cannot be read"))
    }

    /// The header that answers the registry's challenge.
    async fn authorize(&self, refused: &Response) -> Result<HeaderValue, RegistryError> {
        let challenge = refused.headers().get(WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|header| Challenge::parse(header.to_str().ok()?));
        // The token goes to the registry, which names the token's server itself: an entry of any other host would let it
        // act in that host's name.
        let own = self.client.credentials.for_host(&self.address.host).cloned();
        match challenge.ok_or_else(|| RegistryError::Refused(self.host()))? {
            Challenge::Basic => own.ok_or_else(|| RegistryError::Refused(self.host())),
            Challenge::Bearer { realm, service } => {
                let url = self.address.token_url(&realm, service.as_deref())?;
                let response = self.get(url, own).await?;
                if response.status() != StatusCode::OK {
                    return Err(RegistryError::Refused(self.host()));
                }
                let body = self.body(response).await?;
                let answer: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
                let token = answer.and_then(|answer| answer.token.or(answer.access_token));
                let header = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
                let mut header = header.ok_or_else(|| self.address.sends("no token with its challenge"))?;
                header.set_sensitive(true);
                Ok(header)
            }
        }
    }

    fn redirected(&self, from: &Url, response: &Response) -> Result<Url, RegistryError> {
        let to = response.headers().get(LOCATION);
        self.address
            .allowed(to.and_then(|to| from.join(to.to_str().ok()?).ok()))
    }

    async fn get(&self, url: Url, authorization: Option<HeaderValue>) -> Result<Response, RegistryError> {
        let mut request = self.client.http.get(url).header(ACCEPT, MEDIA_TYPES);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|error| self.unreachable(error))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, RegistryError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + piece.len() > ANSWER_MAX_BYTES {
                return Err(self.address.sends("too much"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn host(&self) -> String {
        self.address.host.clone()
    }

    /// Without the URL, which may hold a signature for a blob.
    fn unreachable(&self, error: reqwest::Error) -> RegistryError {
        RegistryError::Unreachable {
            host: self.host(),
            source: error.without_url(),
        }
    }
}

fn digest(body: &[u8]) -> String {
    let hex: String = Sha256::digest(body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

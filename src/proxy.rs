//! The HTTP proxy on the way to Cloudly: the seam between the configuration, the Supervisor's knowledge of the host's
//! proxy, and the calls to Cloudly.

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::proxy::matcher::Matcher;
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;

/// A proxy. Its `Debug` shows no credentials.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// `http://HOST:PORT`, without credentials.
    address: Url,
    credentials: Option<Credentials>,
    /// Host names with their subdomains, addresses and networks that are called directly; `*`: all.
    bypass: Vec<String>,
}

#[derive(Clone, Debug)]
struct Credentials {
    user: SecretString,
    password: SecretString,
}

/// The way to a server through a proxy.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    uri: Uri,
    /// Without credentials, for messages.
    address: String,
    /// The value of `Proxy-Authorization`, which is marked as sensitive.
    login: Option<HeaderValue>,
}

impl Route {
    /// Where the proxy is.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn login(&self) -> Option<&HeaderValue> {
        self.login.as_ref()
    }
}

/// How Cloudly is reached.
#[derive(Clone, Debug, Default)]
pub enum ProxyChoice {
    #[default]
    Direct,
    Fixed(Box<Proxy>),
    /// The host's proxy, once it is known.
    Host(Arc<HostProxy>),
}

/// The proxy that the host is configured with. Whether it is the container's only way out is not known, so while calls
/// fail they go through it and past it in turn.
#[derive(Debug, Default)]
pub struct HostProxy {
    proxy: Mutex<Option<Proxy>>,
    past_it: AtomicBool,
}

impl Proxy {
    /// Reads `http://[USER[:PASSWORD]@]HOST[:PORT]`.
    ///
    /// # Errors
    /// What is expected instead, without the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "should be `direct` or the address of an HTTP proxy, like http://proxy.example:3128 or \
                                http://user:password@proxy.example:3128";
        let mut address = Url::parse(text.trim()).map_err(|_| EXPECTED)?;
        let is_address = address.scheme() == "http"
            && address.has_host()
            && matches!(address.path(), "" | "/")
            && address.query().is_none()
            && address.fragment().is_none();
        if !is_address {
            return Err(EXPECTED);
        }
        let credentials =
            (!address.username().is_empty() || address.password().is_some()).then(|| Credentials {
                user: address.username().into(),
                password: address.password().unwrap_or_default().into(),
            });
        // Neither fails for an address with a host.
        let _ = address.set_username("");
        let _ = address.set_password(None);
        Ok(Self {
            address,
            credentials,
            bypass: Vec::new(),
        })
    }

    /// A proxy of the host.
    ///
    /// # Errors
    /// When host and port do not make an address.
    pub fn of_host(host: &str, port: u16, login: Option<(&str, &str)>) -> Result<Self, &'static str> {
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let mut address = Url::parse(&format!("http://{host}:{port}")).map_err(|_| "no address")?;
        if let Some((user, password)) = login {
            // Writes them percent-encoded, as `parse` expects them.
            address.set_username(user).map_err(|()| "no host")?;
            address.set_password(Some(password)).map_err(|()| "no host")?;
        }
        Self::parse(address.as_str())
    }

    #[must_use]
    pub fn with_bypass(mut self, bypass: Vec<String>) -> Self {
        self.bypass = bypass;
        self
    }

    /// The address without credentials, for messages.
    pub fn address(&self) -> &str {
        self.address.as_str().trim_end_matches('/')
    }

    /// What must not be shown: the password, as it stands in an address.
    pub fn secret(&self) -> Option<&SecretString> {
        self.credentials.as_ref().map(|credentials| &credentials.password)
    }

    /// The way to this server; `None`: it is called directly.
    pub(crate) fn route(&self, server: &Uri) -> Option<Route> {
        let mut address = self.address.clone();
        if let Some(credentials) = &self.credentials {
            // They are percent-encoded already, and stay as they are. Neither fails for an address with a host.
            let _ = address.set_username(credentials.user.expose_secret());
            let _ = address.set_password(Some(credentials.password.expose_secret()));
        }
        let bypass = self.bypass.join(",");
        let matcher = Matcher::builder().all(address.as_str()).no(bypass).build();
        let intercept = matcher.intercept(server)?;
        Some(Route {
            uri: intercept.uri().clone(),
            address: self.address().to_owned(),
            login: intercept.basic_auth().cloned(),
        })
    }
}

impl ProxyChoice {
    /// The proxy to use now.
    pub(crate) fn current(&self) -> Option<Proxy> {
        match self {
            Self::Direct => None,
            Self::Fixed(proxy) => Some((**proxy).clone()),
            Self::Host(host) => host.current(),
        }
    }

    /// A call did not reach Cloudly.
    pub(crate) fn note_unreachable(&self) {
        if let Self::Host(host) = self {
            host.past_it.fetch_xor(true, Ordering::Relaxed);
        }
    }
}

impl HostProxy {
    /// What the host's configuration says now; true if it is something new.
    pub fn set(&self, proxy: Option<Proxy>) -> bool {
        let known = |proxy: &Option<Proxy>| proxy.as_ref().map(Proxy::identity);
        let mut current = self.proxy.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = known(&current) != known(&proxy);
        if changed {
            *current = proxy;
            self.past_it.store(false, Ordering::Relaxed);
        }
        changed
    }

    fn current(&self) -> Option<Proxy> {
        if self.past_it.load(Ordering::Relaxed) {
            return None;
        }
        self.proxy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Proxy {
    fn identity(&self) -> (String, Option<(String, String)>, Vec<String>) {
        let credentials = self.credentials.as_ref().map(|credentials| {
            (
                credentials.user.expose_secret().to_owned(),
                credentials.password.expose_secret().to_owned(),
            )
        });
        (self.address().to_owned(), credentials, self.bypass.clone())
    }
}

#[cfg(test)]
mod tests;

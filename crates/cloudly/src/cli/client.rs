//! A client of the admin API.

use super::arguments::Global;
use super::output::plain;
use super::server_address;
use baseos_interfaces::admin::{NodeRecord, Page};
use baseos_interfaces::problem::{FieldError, Problem};
use baseos_interfaces::token::Token;
use reqwest::header::{IF_MATCH, LOCATION};
use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Why the address of the server cannot be used.
    #[error("{0}")]
    Url(String),
    #[error(
        "the certificate authorities in {} (`--ca` or CLOUDLY_CA) cannot be used: {why}; give one or more certificates, each \
         between BEGIN CERTIFICATE and END CERTIFICATE",
        file.display()
    )]
    Ca { file: PathBuf, why: String },
    #[error(
        "everybody on the way to {0} could read the admin token: use https, or `--allow-http` (CLOUDLY_ALLOW_HTTP=1) in \
         a network that you trust"
    )]
    PlainHttp(String),
    #[error("no HTTP client can be made: {0}")]
    Http(#[source] reqwest::Error),
    #[error("no answer from {url} (`--url` or CLOUDLY_URL says where Cloudly is)")]
    Unreachable { url: String, source: reqwest::Error },
    /// With the text of a problem.
    #[error("{0}")]
    Refused(String),
    #[error("{url} gave an answer that is not Cloudly's (HTTP {status}): {hint}")]
    NotCloudly {
        url: String,
        status: StatusCode,
        hint: String,
    },
    #[error("`{0}` is not an id: use one that a list shows")]
    Id(String),
    /// No node has the id or name, or several have the name.
    #[error("{0}")]
    Node(String),
}

/// An id as one segment of a path: what is not a letter, digit, `_` or `-` is percent-encoded.
pub(super) fn segment(id: &str) -> Result<String, ClientError> {
    // A URL parser takes these away, however they are encoded.
    if matches!(id, "" | "." | "..") {
        return Err(ClientError::Id(id.to_owned()));
    }
    let mut segment = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(segment)
}

/// Whether what is sent there stays on this host.
fn is_this_host(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Asks a server, without a token, whether it can do its work.
pub(super) async fn check_health(global: &Global) -> Result<(), ClientError> {
    let (http, base) = connect(global)?;
    let url = format!("{}/readyz", base.as_str().trim_end_matches('/'));
    let answer = http.get(url).send().await.map_err(unreachable(&base))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let other = not_cloudly(&base, &answer);
    let problem: Result<Problem, _> = answer.json().await;
    Err(problem.map_or(other, |problem| ClientError::Refused(problem.title)))
}

fn unreachable(base: &Url) -> impl Fn(reqwest::Error) -> ClientError {
    move |source| ClientError::Unreachable {
        url: base.to_string(),
        source: source.without_url(),
    }
}

fn not_cloudly(base: &Url, answer: &Response) -> ClientError {
    let to = answer.headers().get(LOCATION);
    let redirect = to
        .and_then(|to| to.to_str().ok())
        .filter(|_| answer.status().is_redirection());
    ClientError::NotCloudly {
        url: base.to_string(),
        status: answer.status(),
        hint: match (redirect, base.path()) {
            (Some(to), _) => format!(
                "it redirects to {}, and redirects are not followed: give `--url` (or CLOUDLY_URL) the address that it leads to",
                plain(to)
            ),
            (None, "/") => "does Cloudly listen there? `--url` (or CLOUDLY_URL) says where it is".to_owned(),
            (None, path) => format!(
                "`--url` (or CLOUDLY_URL) is Cloudly's address without a path; leave `{path}` out, unless a proxy serves \
                 Cloudly below it"
            ),
        },
    }
}

fn connect(global: &Global) -> Result<(reqwest::Client, Url), ClientError> {
    let base = server_address::parse(&global.url).map_err(ClientError::Url)?;
    let mut builder = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    if base.scheme() == "http" {
        // Nothing to verify without TLS, and a container may have no certificates at all.
        builder = builder.tls_certs_only([]).no_proxy();
    } else if let Some(file) = global.ca() {
        builder = builder.tls_certs_only(authorities(file)?);
    }
    let http = builder.build().map_err(ClientError::Http)?;
    Ok((http, base))
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, ClientError> {
    let unusable = |why: String| ClientError::Ca {
        file: file.to_owned(),
        why,
    };
    let text = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let certificates =
        Certificate::from_pem_bundle(&text).map_err(|_| unusable("it is not PEM".to_owned()))?;
    if certificates.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}

pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Token,
    /// Whether answers are printed as JSON.
    pub(super) json: bool,
}

impl Client {
    pub(super) fn new(global: &Global) -> Result<Self, Box<dyn Error>> {
        let file = match global.token_file() {
            Some(file) => file.clone(),
            None => global.database()?.directory().join("admin-token"),
        };
        let token = cloudly_baseos::read_admin_token(&file)?;
        let (http, base) = connect(global)?;
        if base.scheme() == "http" && !is_this_host(&base) && !global.allow_http {
            return Err(ClientError::PlainHttp(global.url.clone()).into());
        }
        Ok(Self {
            http,
            base,
            token,
            json: global.json,
        })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, None::<&()>).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Refused when what is there has another revision.
    pub(super) async fn put_at<T: DeserializeOwned>(
        &self,
        path: &str,
        revision: u64,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::PUT, path).json(body);
        let (_, answer) = self.exchange(request.header(IF_MATCH, tag(revision))).await?;
        Ok(answer)
    }

    /// The same; without a revision, whatever is there.
    pub(super) async fn delete_at<T: DeserializeOwned>(
        &self,
        path: &str,
        revision: Option<u64>,
    ) -> Result<T, ClientError> {
        let mut request = self.request(Method::DELETE, path);
        if let Some(revision) = revision {
            request = request.header(IF_MATCH, tag(revision));
        }
        let (_, answer) = self.exchange(request).await?;
        Ok(answer)
    }

    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::DELETE, path, None::<&()>).await
    }

    /// All pages of a list.
    pub(super) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ClientError> {
        let mut items = Vec::new();
        let mut page: Page<T> = self.get(&format!("{path}?limit=500")).await?;
        loop {
            items.append(&mut page.items);
            let Some(next) = page.next else { return Ok(items) };
            let next = segment(&next)?;
            page = self.get(&format!("{path}?limit=500&cursor={next}")).await?;
        }
    }

    /// The id of the node with this id or name, as a segment of a path.
    pub(super) async fn node_id(&self, wanted: &str) -> Result<String, ClientError> {
        segment(&self.node(wanted).await?.id)
    }

    /// The same of a node that heartbeats bring something to.
    pub(super) async fn id_of_reachable(&self, wanted: &str) -> Result<String, ClientError> {
        let node = self.node(wanted).await?;
        if node.lifecycle != "suspended" {
            return segment(&node.id);
        }
        let id = &node.id;
        Err(ClientError::Node(format!(
            "`{wanted}` is suspended: nothing is sent to it until `cloudly node restore {id}`"
        )))
    }

    /// The node with this id or name.
    pub(super) async fn node(&self, wanted: &str) -> Result<NodeRecord, ClientError> {
        let mut nodes: Vec<NodeRecord> = self.all("nodes").await?;
        if let Some(at) = nodes.iter().position(|node| node.id == wanted) {
            return Ok(nodes.swap_remove(at));
        }
        let is_named = |node: &NodeRecord| node.name == wanted && node.lifecycle != "removed";
        let named: Vec<_> = nodes.iter().filter(|node| is_named(node)).collect();
        match named[..] {
            [] => Err(ClientError::Node(not_found(&nodes, wanted))),
            [one] => Ok(one.clone()),
            [one, other, ref more @ ..] => {
                let (one, other, more) = (&one.id, &other.id, if more.is_empty() { "" } else { ", …" });
                let text = format!("several nodes are named `{wanted}` ({one}, {other}{more}): use the id");
                Err(ClientError::Node(text))
            }
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.exchange(request).await.map(|(_, answer)| answer)
    }

    /// Creates something. False: the same exists already.
    pub(super) async fn create<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(bool, T), ClientError> {
        let request = self.request(Method::POST, path).json(body);
        let (status, answer) = self.exchange(request).await?;
        Ok((status == StatusCode::CREATED, answer))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!(
            "{}/baseos/v1/admin/{path}",
            self.base.as_str().trim_end_matches('/')
        );
        self.http.request(method, url).bearer_auth(self.token.expose())
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, T), ClientError> {
        let response = request.send().await.map_err(unreachable(&self.base))?;
        let status = response.status();
        let other = not_cloudly(&self.base, &response);
        let bytes = response.bytes().await.map_err(unreachable(&self.base))?;
        if status.is_success() {
            // An answer with 204 has no body; `()` is read from null.
            let json: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
            return serde_json::from_slice(json)
                .map(|answer| (status, answer))
                .map_err(|_| other);
        }
        let problem: Problem = serde_json::from_slice(&bytes).map_err(|_| other)?;
        let mut text = problem.title;
        if let Some(detail) = problem.detail {
            text = format!("{text}: {detail}");
        }
        if let Some(id) = problem.request_id {
            text = format!("{text} ({}, request {id})", problem.code);
        }
        // One is told by the title.
        if problem.errors.len() > 1 {
            for FieldError {
                pointer,
                code,
                detail,
            } in &problem.errors
            {
                let what = detail.as_deref().unwrap_or(code.as_str());
                let line = plain(&format!("{pointer}: {what}"));
                text.push_str(&format!("\n  {line}"));
            }
        }
        Err(ClientError::Refused(text))
    }
}

/// The entity tag of a revision.
fn tag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// Why no node is meant by a name. That of a removed node may be in use again, so it does not stand for it.
fn not_found(nodes: &[NodeRecord], wanted: &str) -> String {
    let removed = nodes.iter().filter(|node| node.name == wanted);
    let ids: Vec<_> = removed.map(|node| node.id.as_str()).collect();
    if ids.is_empty() {
        return format!("there is no node with the id or name `{wanted}`");
    }
    format!("`{wanted}` was removed: use its id {}", ids.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment_of_the_path_whatever_is_in_it() {
        for id in [
            "ex6JDmkURE",
            "../nodes/n/desired",
            "a?b#c",
            "%2e%2e",
            "a\\b",
            "ä",
            "a.b",
            "...",
        ] {
            let path = format!("http://127.0.0.1/admin/join-tokens/{}", segment(id).unwrap());
            let url = Url::parse(&path).unwrap();
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            assert_eq!(segments.len(), 3, "{url}");
            assert_eq!(
                (segments[1], url.query(), url.fragment()),
                ("join-tokens", None, None),
                "{url}"
            );
        }
        assert_eq!(segment("node_01M86VCEDK-x").unwrap(), "node_01M86VCEDK-x");
        for none in ["", ".", ".."] {
            assert!(segment(none).is_err(), "{none}");
        }
    }
}

//! The format of `state.json`.
//!
//! The file is one JSON object. Its first line holds a checksum over every byte after that line, so that its integrity
//! does not depend on how a JSON library prints numbers or orders members.
//!
//! ```json
//! {"checksum":"sha256:…",
//! "version":1,"generation":7,"credentials":{"nodeToken":"szn_…"},"endpoint":{"url":"…"},"checkpoint":{}}
//! ```
//!
//! Every later version keeps the first line's format, so that an older agent can tell a newer file from a damaged one; and
//! `version`, `generation`, `credentials` and `earlierCheckpoint`, so that an older one that comes back keeps its identity.

use crate::durable_file;
use crate::vault::Endpoint;
use baseos_interfaces::token::{Token, TokenError, TokenId, TokenKind, WireSecret};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The version this agent writes.
pub(super) const VERSION: u32 = 1;
const BEFORE_CHECKSUM: &[u8] = b"{\"checksum\":\"sha256:";
const AFTER_CHECKSUM: &[u8] = b"\",\n";
const HEX_LEN: usize = 64;
/// How many node tokens are kept beside those that are used.
const PREVIOUS_MAX: usize = 3;

#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    /// The token that Cloudly accepted last, or the only one.
    pub(super) node: Option<Token>,
    /// Sent by Cloudly for rotation; replaces `node` when Cloudly accepts it.
    pub(super) next: Option<Token>,
    /// Those that `node` took the place of, the newest first: a Cloudly that was restored from a backup knows one of them.
    pub(super) previous: Vec<Token>,
    /// Which node these are good for; `None`: written by an agent that did not note it.
    pub(super) node_id: Option<String>,
    /// The identity before this one, until Cloudly has accepted a token of one of them.
    pub(super) earlier: Option<Identity>,
    /// From the local API; stored until the node is enrolled.
    pub(super) join: Option<Token>,
}

/// A token, and the node that it is good for.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) token: Token,
    /// `None`: written by an agent that did not note it.
    pub(super) node_id: Option<String>,
}

impl Credentials {
    /// Every node token, in the order in which they are tried.
    pub(super) fn node_tokens(&self) -> impl Iterator<Item = &Token> {
        let earlier = self.earlier.as_ref().map(|earlier| &earlier.token);
        self.own_tokens().chain(earlier)
    }

    fn own_tokens(&self) -> impl Iterator<Item = &Token> {
        self.next.iter().chain(&self.node).chain(&self.previous)
    }

    /// Cloudly takes the token with this id. False: nothing changes by that.
    pub(super) fn accept(&mut self, id: &TokenId) -> bool {
        let earlier = self.earlier.take();
        let had_earlier = earlier.is_some();
        if let Some(earlier) = earlier.filter(|earlier| earlier.token.id() == id) {
            *self = Self {
                node: Some(earlier.token),
                node_id: earlier.node_id,
                join: self.join.take(),
                ..Self::default()
            };
            return true;
        }
        if self.node.as_ref().is_some_and(|node| node.id() == id) {
            return had_earlier;
        }
        let accepted = self.own_tokens().find(|known| known.id() == id).cloned();
        let is_known = accepted.is_some();
        if is_known {
            // When it is one of before, a newer one stays stored: its refusal can be an error of Cloudly.
            let next = self.next.clone().filter(|next| next.id() != id);
            self.change(accepted, next);
        }
        is_known || had_earlier
    }

    /// Changes the tokens that are used; what they take the place of is kept for a while.
    pub(super) fn change(&mut self, node: Option<Token>, next: Option<Token>) {
        let is_used = |known: &Token| {
            let mut used = [&node, &next].into_iter().flatten();
            used.any(|token| token.id() == known.id())
        };
        let before = self.own_tokens().filter(|known| !is_used(known));
        let previous = before.take(PREVIOUS_MAX).cloned().collect();
        self.previous = previous;
        self.node = node;
        self.next = next;
    }
}

/// The content of the state file.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) credentials: Credentials,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) checkpoint: Option<Value>,
    /// What an agent of an earlier version wrote, until the present one has proved itself.
    pub(super) earlier: Option<Value>,
    /// The version of the file, where a newer agent wrote it: what is here beside the credentials may mean something else.
    pub(super) newer: Option<u32>,
}

/// Why bytes are not a document of this version.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// Damaged, or not written by an agent.
    #[error("{0}")]
    Corrupt(String),
    /// Written by a newer agent, without credentials that this one can read.
    #[error("it has version {0}")]
    Newer(u32),
    /// Undamaged, but the value of this member is not a token.
    #[error("its {0} is damaged: {1}")]
    Token(&'static str, TokenError),
}

#[derive(Serialize, Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Body {
    version: u32,
    generation: u64,
    credentials: Tokens,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Value>,
    #[serde(
        default,
        rename = "earlierCheckpoint",
        skip_serializing_if = "Option::is_none"
    )]
    earlier: Option<Value>,
}

/// A file of a later version, as far as every version has it.
#[derive(Deserialize)]
struct NewerBody {
    generation: u64,
    credentials: Tokens,
    #[serde(default)]
    endpoint: Option<Value>,
    #[serde(default)]
    checkpoint: Option<Value>,
    #[serde(default, rename = "earlierCheckpoint")]
    earlier: Option<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tokens {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node_token: Option<WireSecret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_token: Option<WireSecret>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    previous_tokens: Vec<WireSecret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    earlier_token: Option<WireSecret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    earlier_node_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    join_token: Option<WireSecret>,
}

/// The bytes of a document; wiped from memory when dropped.
pub(super) fn encode(document: &Document, generation: u64) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let secret = |token: Option<&Token>| token.map(WireSecret::from);
    let known = &document.credentials;
    let earlier = known.earlier.as_ref();
    let rest = Zeroizing::new(serde_json::to_vec(&Body {
        version: VERSION,
        generation,
        credentials: Tokens {
            node_token: secret(known.node.as_ref()),
            next_token: secret(known.next.as_ref()),
            previous_tokens: known.previous.iter().map(WireSecret::from).collect(),
            node_id: known.node_id.clone(),
            earlier_token: secret(earlier.map(|earlier| &earlier.token)),
            earlier_node_id: earlier.and_then(|earlier| earlier.node_id.clone()),
            join_token: secret(known.join.as_ref()),
        },
        endpoint: document.endpoint.clone(),
        checkpoint: document.checkpoint.clone(),
        earlier: document.earlier.clone(),
    })?);
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        BEFORE_CHECKSUM.len() + HEX_LEN + AFTER_CHECKSUM.len() + rest.len(),
    ));
    // The object's opening brace is in the first line already.
    let tail = [rest.get(1..).unwrap_or_default(), b"\n"];
    bytes.extend_from_slice(BEFORE_CHECKSUM);
    bytes.extend_from_slice(checksum(&tail).as_bytes());
    bytes.extend_from_slice(AFTER_CHECKSUM);
    for part in tail {
        bytes.extend_from_slice(part);
    }
    Ok(bytes)
}

/// Reads what is in a file: a document and its generation. Nothing else is written than what this reads.
pub(super) fn read(bytes: &[u8]) -> Result<(Document, u64), DecodeError> {
    durable_file::check_size(bytes).map_err(|error| DecodeError::Corrupt(error.to_string()))?;
    decode(bytes)
}

fn decode(bytes: &[u8]) -> Result<(Document, u64), DecodeError> {
    let corrupt = |reason: &str| DecodeError::Corrupt(reason.to_owned());
    if bytes.is_empty() {
        return Err(corrupt("it is empty"));
    }
    let (sum, tail) = bytes
        .strip_prefix(BEFORE_CHECKSUM)
        .and_then(|rest| rest.split_at_checked(HEX_LEN))
        .and_then(|(sum, rest)| Some((sum, rest.strip_prefix(AFTER_CHECKSUM)?)))
        .ok_or_else(|| corrupt("it does not begin with a checksum"))?;
    if checksum(&[tail]).as_bytes() != sum {
        return Err(corrupt("its checksum does not match"));
    }
    let mut json = Zeroizing::new(Vec::with_capacity(tail.len() + 1));
    json.push(b'{');
    json.extend_from_slice(tail);
    // serde_json's message may quote the value, which may be a token; the location suffices.
    let at_location = |error: serde_json::Error| {
        DecodeError::Corrupt(format!(
            "its checksum matches but it is not a state file (line {}, column {})",
            error.line(),
            error.column()
        ))
    };
    let Version { version } = serde_json::from_slice(&json).map_err(at_location)?;
    if version > VERSION {
        return decode_newer(&json, version).ok_or(DecodeError::Newer(version));
    }
    let body: Body = serde_json::from_slice(&json).map_err(at_location)?;
    let document = Document {
        credentials: credentials(&body.credentials)?,
        endpoint: body.endpoint,
        checkpoint: body.checkpoint,
        earlier: body.earlier,
        newer: None,
    };
    Ok((document, body.generation))
}

/// What an agent that came back may take from a newer one's file; `None`: not even the node's identity is to be read.
fn decode_newer(json: &[u8], version: u32) -> Option<(Document, u64)> {
    let body: NewerBody = serde_json::from_slice(json).ok()?;
    let credentials = credentials(&body.credentials).ok()?;
    credentials.node_tokens().next()?;
    let document = Document {
        credentials,
        endpoint: body
            .endpoint
            .and_then(|endpoint| serde_json::from_value(endpoint).ok()),
        checkpoint: body.checkpoint,
        earlier: body.earlier,
        newer: Some(version),
    };
    Some((document, body.generation))
}

fn credentials(tokens: &Tokens) -> Result<Credentials, DecodeError> {
    let parse = |member: &'static str, kind: TokenKind, text: &WireSecret| {
        Token::parse(kind, text.expose()).map_err(|error| DecodeError::Token(member, error))
    };
    let token = |member: &'static str, kind: TokenKind, text: &Option<WireSecret>| {
        text.as_ref().map(|text| parse(member, kind, text)).transpose()
    };
    let previous = tokens.previous_tokens.iter();
    Ok(Credentials {
        node: token("nodeToken", TokenKind::Node, &tokens.node_token)?,
        next: token("nextToken", TokenKind::Node, &tokens.next_token)?,
        previous: previous
            .map(|text| parse("previousTokens", TokenKind::Node, text))
            .collect::<Result<_, _>>()?,
        node_id: tokens.node_id.clone(),
        earlier: token("earlierToken", TokenKind::Node, &tokens.earlier_token)?.map(|token| Identity {
            token,
            node_id: tokens.earlier_node_id.clone(),
        }),
        join: token("joinToken", TokenKind::Join, &tokens.join_token)?,
    })
}

/// SHA-256 over the parts, as hex.
fn checksum(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .fold(String::with_capacity(HEX_LEN), |mut hex, byte| {
            // Writing to a String does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

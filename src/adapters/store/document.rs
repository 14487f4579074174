//! What stands in `state.json`, byte by byte.
//!
//! The file is one JSON object, written so that its integrity is a matter of bytes, not of how a JSON library
//! prints numbers or orders members: the first line holds the checksum, and the checksum covers every byte
//! behind that line.
//!
//! ```json
//! {"checksum":"sha256:…",
//! "version":1,"generation":7,"credentials":{"nodeToken":"szn_…"},"endpoint":{"url":"…"},"checkpoint":{}}
//! ```
//!
//! Every later version keeps the first line as it is, so that an older agent tells a newer file from a damaged one.

use crate::vault::Endpoint;
use baseos_interfaces::token::{Token, TokenError, TokenKind, WireSecret};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The form this agent writes.
pub(super) const VERSION: u32 = 1;
const HEAD: &[u8] = b"{\"checksum\":\"sha256:";
const NECK: &[u8] = b"\",\n";
const HEX_LEN: usize = 64;

/// The node's tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    /// Cloudly accepted it, or it is the only one.
    pub(super) node: Option<Token>,
    /// Sent for rotation; takes the place of `node` when Cloudly accepts it.
    pub(super) next: Option<Token>,
    /// Came over the local API; kept until enrolled.
    pub(super) join: Option<Token>,
}

/// Everything the agent must not forget.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) credentials: Credentials,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) checkpoint: Option<Value>,
}

/// Why bytes are not a document.
#[derive(Debug)]
pub(super) enum Damage {
    /// Not what an agent wrote.
    Corrupt(String),
    /// Written by a later version of the agent.
    Newer(u32),
    /// Whole, but one of its tokens is none.
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
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tokens {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node_token: Option<WireSecret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_token: Option<WireSecret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    join_token: Option<WireSecret>,
}

/// The bytes of a document; wiped from memory when dropped.
pub(super) fn encode(document: &Document, generation: u64) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let secret = |token: &Option<Token>| token.as_ref().map(WireSecret::from);
    let rest = Zeroizing::new(serde_json::to_vec(&Body {
        version: VERSION,
        generation,
        credentials: Tokens {
            node_token: secret(&document.credentials.node),
            next_token: secret(&document.credentials.next),
            join_token: secret(&document.credentials.join),
        },
        endpoint: document.endpoint.clone(),
        checkpoint: document.checkpoint.clone(),
    })?);
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD.len() + HEX_LEN + NECK.len() + rest.len()));
    // The object's opening brace stands in the first line already.
    let tail = [rest.get(1..).unwrap_or_default(), b"\n"];
    bytes.extend_from_slice(HEAD);
    bytes.extend_from_slice(checksum(&tail).as_bytes());
    bytes.extend_from_slice(NECK);
    for part in tail {
        bytes.extend_from_slice(part);
    }
    Ok(bytes)
}

/// Reads a document and its generation.
pub(super) fn decode(bytes: &[u8]) -> Result<(Document, u64), Damage> {
    let corrupt = |why: &str| Damage::Corrupt(why.to_owned());
    if bytes.is_empty() {
        return Err(corrupt("it is empty"));
    }
    let (sum, tail) = bytes
        .strip_prefix(HEAD)
        .and_then(|rest| rest.split_at_checked(HEX_LEN))
        .and_then(|(sum, rest)| Some((sum, rest.strip_prefix(NECK)?)))
        .ok_or_else(|| corrupt("it does not begin with a checksum"))?;
    if checksum(&[tail]).as_bytes() != sum {
        return Err(corrupt("its checksum does not match"));
    }
    let mut json = Zeroizing::new(Vec::with_capacity(tail.len() + 1));
    json.push(b'{');
    json.extend_from_slice(tail);
    // serde_json's message may quote what it stumbled over, and that may be a token; its place is enough.
    let place = |error: serde_json::Error| {
        Damage::Corrupt(format!(
            "it is whole but not a state file (line {}, column {})",
            error.line(),
            error.column()
        ))
    };
    let Version { version } = serde_json::from_slice(&json).map_err(place)?;
    if version > VERSION {
        return Err(Damage::Newer(version));
    }
    let body: Body = serde_json::from_slice(&json).map_err(place)?;
    let token = |slot: &'static str, kind: TokenKind, text: Option<WireSecret>| {
        text.map(|text| Token::parse(kind, text.expose()))
            .transpose()
            .map_err(|error| Damage::Token(slot, error))
    };
    let Tokens {
        node_token,
        next_token,
        join_token,
    } = body.credentials;
    let credentials = Credentials {
        node: token("nodeToken", TokenKind::Node, node_token)?,
        next: token("nextToken", TokenKind::Node, next_token)?,
        join: token("joinToken", TokenKind::Join, join_token)?,
    };
    let document = Document {
        credentials,
        endpoint: body.endpoint,
        checkpoint: body.checkpoint,
    };
    Ok((document, body.generation))
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

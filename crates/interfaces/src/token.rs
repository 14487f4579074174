//! Tokens: `<prefix><id10>_<secret43><crc6>`, base62 (contract §2).
//!
//! The id is public: it is what logs, look-ups and people use. The secret is 43 base62 digits drawn uniformly
//! (256 bits). The checksum is CRC-32 of everything before it, so a typing error is told from a refusal
//! without asking anybody, and scanners can recognise a leaked token.

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX_LEN: usize = 4;
const ID_LEN: usize = 10;
const SECRET_LEN: usize = 43;
const CRC_LEN: usize = 6;
const TOKEN_LEN: usize = PREFIX_LEN + ID_LEN + 1 + SECRET_LEN + CRC_LEN;

/// What a token is good for; decides its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenKind {
    /// `szj_`: enrols nodes.
    Join,
    /// `szn_`: is one node.
    Node,
    /// `szl_`: uses one agent's local API.
    Local,
    /// `sza_`: operates Cloudly.
    Admin,
}

impl TokenKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Join, Self::Node, Self::Local, Self::Admin];

    /// The kind that a text's prefix tells. The text need not be a token: it may be cut off, or mistyped, which makes
    /// it no less of a secret.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))
    }

    /// The four characters every token of this kind starts with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Join => "szj_",
            Self::Node => "szn_",
            Self::Local => "szl_",
            Self::Admin => "sza_",
        }
    }

    /// `a` or `an`, before [`Self::noun`].
    const fn article(self) -> &'static str {
        match self {
            Self::Join | Self::Node | Self::Local => "a",
            Self::Admin => "an",
        }
    }

    /// The kind in words, as in "a join token".
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Node => "node",
            Self::Local => "local API",
            Self::Admin => "admin",
        }
    }
}

/// The public part of a token, safe to store, log and show.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenId(String);

impl TokenId {
    /// Wraps an id read back from storage.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The ten characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a token. Never contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Another kind of token, or no token at all.
    #[error("{a} {noun} token starts with `{prefix}`", a = .0.article(), noun = .0.noun(), prefix = .0.prefix())]
    Prefix(TokenKind),
    /// Cut off or something pasted behind it.
    #[error("a token has {TOKEN_LEN} characters, this has {0}: was it copied whole?")]
    Length(usize),
    /// A character outside base62, or the `_` is not where it belongs.
    #[error("a token consists of letters and digits only (and two `_`): was it copied whole?")]
    Alphabet,
    /// Well-formed but mistyped.
    #[error("the token's checksum does not match: there is a typing error in it")]
    Checksum,
}

/// A well-formed token. Its `Debug` shows the public id only; the secret leaves through [`Token::expose`].
#[derive(Clone)]
pub struct Token {
    kind: TokenKind,
    id: TokenId,
    text: SecretString,
}

impl Token {
    /// How long a token is, characters (all ASCII).
    pub const LEN: usize = TOKEN_LEN;
    /// How long the part is that may be shown: prefix, id and the `_` behind it. All behind it is secret.
    pub const PUBLIC_LEN: usize = PREFIX_LEN + ID_LEN + 1;

    /// Makes a new token from random bytes; `fill` must fill its argument from a cryptographic source.
    pub fn mint(kind: TokenKind, mut fill: impl FnMut(&mut [u8])) -> Self {
        let mut digits = Vec::with_capacity(ID_LEN + SECRET_LEN);
        let mut chunk = [0u8; 64];
        while digits.len() < ID_LEN + SECRET_LEN {
            fill(&mut chunk);
            // 248 = 4 * 62: bytes above it would make the first digits likelier.
            digits.extend(
                chunk
                    .iter()
                    .filter(|b| **b < 248)
                    .map(|b| char::from(ALPHABET[usize::from(b % 62)])),
            );
        }
        let id: String = digits[..ID_LEN].iter().collect();
        let secret: String = digits[ID_LEN..ID_LEN + SECRET_LEN].iter().collect();
        let mut text = format!("{}{id}_{secret}", kind.prefix());
        let crc = checksum(&text);
        text.push_str(&crc);
        Self {
            kind,
            id: TokenId(id),
            text: text.into(),
        }
    }

    /// Reads a token of the wanted kind.
    ///
    /// # Errors
    /// Says what is wrong with the text, without repeating it.
    pub fn parse(kind: TokenKind, text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix(kind.prefix()) else {
            return Err(TokenError::Prefix(kind));
        };
        if text.len() != TOKEN_LEN {
            return Err(TokenError::Length(text.chars().count()));
        }
        let well_formed = rest.bytes().enumerate().all(|(i, b)| {
            if i == ID_LEN {
                b == b'_'
            } else {
                b.is_ascii_alphanumeric()
            }
        });
        if !well_formed {
            return Err(TokenError::Alphabet);
        }
        let (body, crc) = text.split_at(TOKEN_LEN - CRC_LEN);
        if checksum(body) != crc {
            return Err(TokenError::Checksum);
        }
        Ok(Self {
            kind,
            id: TokenId(rest[..ID_LEN].to_owned()),
            text: text.to_owned().into(),
        })
    }

    /// What it is good for.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The public id.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// The whole token, for the wire and for hashing; never for a log.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}_***", self.kind.prefix(), self.id)
    }
}

fn checksum(body: &str) -> String {
    // Without a table: it would be a hundred times as large as a token.
    let mut crc = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC).checksum(body.as_bytes());
    let mut digits = [b'0'; CRC_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(crc % 62) as usize];
        crc /= 62;
    }
    digits.iter().map(|b| char::from(*b)).collect()
}

/// A secret as it travels in a request or an answer: serialises in the clear, prints as `***`.
///
/// Only bodies that are written straight to a socket hold one; what is logged, journalled or stored as an
/// event has no member of this type.
#[derive(Clone)]
pub struct WireSecret(SecretString);

impl WireSecret {
    /// Wraps a secret for the wire.
    pub fn new(secret: &str) -> Self {
        Self(secret.to_owned().into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<&Token> for WireSecret {
    fn from(token: &Token) -> Self {
        Self::new(token.expose())
    }
}

impl fmt::Debug for WireSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for WireSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for WireSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mint(seed: u8, kind: TokenKind) -> Token {
        let mut next = u32::from(seed).wrapping_mul(2_654_435_761) | 1;
        Token::mint(kind, |bytes| {
            for b in bytes {
                next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *b = (next >> 24) as u8;
            }
        })
    }

    proptest! {
        #[test]
        fn a_minted_token_reads_back_and_any_single_typing_error_is_noticed(
            seed: u8, at in 4usize..TOKEN_LEN, to in 0usize..62,
        ) {
            let token = mint(seed, TokenKind::Join);
            let text = token.expose().to_owned();
            prop_assert_eq!(text.len(), TOKEN_LEN);
            let read = Token::parse(TokenKind::Join, &text).unwrap();
            prop_assert_eq!(read.id(), token.id());
            let mut wrong = text.clone().into_bytes();
            wrong[at] = ALPHABET[to];
            let wrong = String::from_utf8(wrong).unwrap();
            if wrong != text {
                prop_assert!(Token::parse(TokenKind::Join, &wrong).is_err());
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = Token::parse(TokenKind::Node, &text);
            let _ = Token::parse(TokenKind::Node, &format!("szn_{text}"));
        }
    }

    #[test]
    fn a_text_tells_its_kind_by_its_prefix_alone() {
        for kind in TokenKind::ALL {
            assert_eq!(kind.prefix().len(), PREFIX_LEN);
            assert_eq!(TokenKind::of(mint(1, kind).expose()), Some(kind));
            assert_eq!(TokenKind::of(kind.prefix()), Some(kind));
        }
        for text in ["", "szn", "szx_0123456789_abc", " szn_"] {
            assert_eq!(TokenKind::of(text), None, "{text}");
        }
    }

    #[test]
    fn the_public_part_of_a_token_is_its_prefix_and_its_id() {
        let token = mint(9, TokenKind::Local);
        assert_eq!(token.expose().len(), Token::LEN);
        let public = format!("{}{}_", token.kind().prefix(), token.id());
        assert_eq!(&token.expose()[..Token::PUBLIC_LEN], public);
    }

    #[test]
    fn errors_say_what_is_wrong_and_never_repeat_the_text() {
        let token = mint(7, TokenKind::Join);
        let cut = &token.expose()[..40];
        assert_eq!(
            Token::parse(TokenKind::Join, cut).unwrap_err(),
            TokenError::Length(40)
        );
        let error = Token::parse(TokenKind::Node, token.expose()).unwrap_err();
        assert_eq!(error.to_string(), "a node token starts with `szn_`");
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let token = mint(3, TokenKind::Node);
        let secret = &token.expose()[Token::PUBLIC_LEN..];
        let shown = format!("{token:?} {:?}", WireSecret::from(&token));
        assert!(!shown.contains(secret));
        assert!(shown.contains(token.id().as_str()));
    }
}

//! Where secrets are in a text.

use super::MASK;
use crate::token::{Token, TokenKind};
use std::borrow::Cow;
use std::fmt;

/// How the Supervisor's key stands in a URL; in any case.
const KEY_PARAMETER: &[u8] = b"apikey=";
/// Bytes that a secret can begin with, besides those it was told: of a token's prefix, and of [`KEY_PARAMETER`].
const FIRST: [u8; 3] = [b's', b'a', b'A'];

/// Knows what is secret.
#[derive(Clone)]
pub struct Scanner {
    /// Longest first: a form that contains another is found whole.
    literals: Vec<Literal>,
    secrets: usize,
    /// Whether a secret can begin with this byte.
    first: [bool; 256],
}

#[derive(Clone)]
struct Literal {
    form: Box<[u8]>,
    secret: usize,
}

/// A secret in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was found.
    pub kind: FindingKind,
    /// Where the secret begins, bytes. What is public of it, such as a token's prefix and id, stands before it.
    pub start: usize,
    /// Where the text goes on behind it, bytes.
    pub end: usize,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Something with the prefix of a token.
    Token {
        /// Which prefix.
        kind: TokenKind,
        /// Whether it is a whole token with the right checksum. If not, it was cut off, mistyped or made up.
        whole: bool,
    },
    /// The value of an `apikey=` parameter.
    KeyParameter,
    /// A secret the scanner was told, by the number that [`Scanner::learn`] gave it.
    Told(usize),
}

impl Scanner {
    /// The shortest secret that [`Scanner::learn`] takes, bytes. A shorter one would mask ordinary words, and no key is
    /// that short.
    pub const SHORTEST_SECRET: usize = 8;

    /// Knows tokens and key parameters.
    pub fn new() -> Self {
        let mut first = [false; 256];
        for byte in FIRST {
            first[usize::from(byte)] = true;
        }
        Self {
            literals: Vec::new(),
            secrets: 0,
            first,
        }
    }

    /// Tells it a secret that does not look like a token; white space around it does not count. Gives the number by
    /// which findings name it, or `None` when it is shorter than [`Scanner::SHORTEST_SECRET`] and was not taken.
    pub fn learn(&mut self, secret: &str) -> Option<usize> {
        if secret.trim().len() < Self::SHORTEST_SECRET {
            return None;
        }
        self.learn_any(secret)
    }

    /// As [`Scanner::learn`], however short it is, unless it is empty.
    pub(super) fn learn_any(&mut self, secret: &str) -> Option<usize> {
        let secret = secret.trim();
        let first = *secret.as_bytes().first()?;
        let known = |literal: &&Literal| *literal.form == *secret.as_bytes();
        if let Some(literal) = self.literals.iter().find(known) {
            return Some(literal.secret);
        }
        let number = self.secrets;
        self.secrets += 1;
        let debug = format!("{secret:?}");
        let json = serde_json::Value::from(secret).to_string();
        for form in [secret, unquoted(&debug), unquoted(&json)] {
            if !self
                .literals
                .iter()
                .any(|literal| *literal.form == *form.as_bytes())
            {
                self.literals.push(Literal {
                    form: form.as_bytes().into(),
                    secret: number,
                });
            }
        }
        self.literals
            .sort_unstable_by_key(|literal| std::cmp::Reverse(literal.form.len()));
        // Quotes and line breaks are escaped with a backslash.
        for byte in [first, b'\\'] {
            self.first[usize::from(byte)] = true;
        }
        Some(number)
    }

    /// Every secret in a text, in order, none overlapping another.
    pub fn findings<'a>(&'a self, text: &'a [u8]) -> Findings<'a> {
        Findings {
            scanner: self,
            text,
            at: 0,
        }
    }

    /// The text with every secret masked; the text itself when it has none.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.redact_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A secret begins and ends at characters, so what is left of a text is one.
            Cow::Owned(masked) => Cow::Owned(
                String::from_utf8(masked)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            ),
        }
    }

    /// As [`Scanner::redact`], for what may not be UTF-8.
    pub fn redact_bytes<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut findings = self.findings(text).peekable();
        if findings.peek().is_none() {
            return Cow::Borrowed(text);
        }
        let mut masked = Vec::with_capacity(text.len());
        let mut copied = 0;
        for finding in findings {
            masked.extend_from_slice(&text[copied..finding.start]);
            masked.extend_from_slice(MASK.as_bytes());
            copied = finding.end;
        }
        masked.extend_from_slice(&text[copied..]);
        Cow::Owned(masked)
    }

    fn next(&self, text: &[u8], from: usize) -> Option<Finding> {
        let mut at = from;
        loop {
            at += text
                .get(at..)?
                .iter()
                .position(|byte| self.first[usize::from(*byte)])?;
            if let Some(finding) = self.told_at(text, at).or_else(|| pattern_at(text, at)) {
                return Some(self.widened(text, at, finding));
            }
            at += 1;
        }
    }

    fn told_at(&self, text: &[u8], at: usize) -> Option<Finding> {
        let literal = self
            .literals
            .iter()
            .find(|literal| text[at..].starts_with(&literal.form))?;
        Some(Finding {
            kind: FindingKind::Told(literal.secret),
            start: at,
            end: at + literal.form.len(),
        })
    }

    /// A finding with all others that begin inside it, so that masking one leaves no rest of another.
    fn widened(&self, text: &[u8], from: usize, mut finding: Finding) -> Finding {
        // Up to where the value of a key parameter has been looked at; keeps this linear.
        let mut value_end = from;
        let mut at = from;
        while at < finding.end {
            if self.first[usize::from(text[at])] {
                if let Some(told) = self.told_at(text, at) {
                    finding.start = finding.start.min(told.start);
                    finding.end = finding.end.max(told.end);
                }
                if at + KEY_PARAMETER.len() > value_end && is_key_parameter(text, at) {
                    value_end = value_of(text, at + KEY_PARAMETER.len());
                    finding.end = finding.end.max(value_end);
                }
                if at > from
                    && let Some(token) = token_at(text, at)
                {
                    finding.end = finding.end.max(token.end);
                }
            }
            at += 1;
        }
        finding
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner")
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}

/// The secrets of a text; see [`Scanner::findings`].
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    scanner: &'a Scanner,
    text: &'a [u8],
    at: usize,
}

impl Iterator for Findings<'_> {
    type Item = Finding;

    fn next(&mut self) -> Option<Finding> {
        let finding = self.scanner.next(self.text, self.at)?;
        self.at = finding.end;
        Some(finding)
    }
}

fn pattern_at(text: &[u8], at: usize) -> Option<Finding> {
    token_at(text, at).or_else(|| {
        if !is_key_parameter(text, at) {
            return None;
        }
        let start = at + KEY_PARAMETER.len();
        secret(FindingKind::KeyParameter, text, start, value_of(text, start))
    })
}

/// Something with a token's prefix that is more than public.
fn token_at(text: &[u8], at: usize) -> Option<Finding> {
    let kind = prefix_at(text, at)?;
    let body = at + kind.prefix().len();
    let head = at + Token::PUBLIC_LEN;
    let has_head = text.get(body..head).is_some_and(|id| {
        id.split_last()
            .is_some_and(|(last, id)| *last == b'_' && id.iter().all(u8::is_ascii_alphanumeric))
    });
    let start = if has_head { head } else { body };
    let end = (start..text.len())
        .find(|at| !is_token_byte(text[*at]) || prefix_at(text, *at).is_some())
        .unwrap_or(text.len());
    let whole = text
        .get(at..at + Token::LEN)
        .and_then(|token| std::str::from_utf8(token).ok())
        .is_some_and(|token| Token::parse(kind, token).is_ok());
    secret(FindingKind::Token { kind, whole }, text, start, end)
}

/// Unless nothing is there, or only a mask.
fn secret(kind: FindingKind, text: &[u8], start: usize, end: usize) -> Option<Finding> {
    let there = text[start..end].iter().any(|byte| *byte != b'*');
    there.then_some(Finding { kind, start, end })
}

fn prefix_at(text: &[u8], at: usize) -> Option<TokenKind> {
    if text.get(at) != Some(&b's') {
        return None;
    }
    TokenKind::ALL
        .into_iter()
        .find(|kind| text[at..].starts_with(kind.prefix().as_bytes()))
}

/// What a token consists of, and what stands in one that was changed on its way: `%` of an encoding, `*` of a mask.
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'%' | b'*')
}

fn is_key_parameter(text: &[u8], at: usize) -> bool {
    text.get(at..at + KEY_PARAMETER.len())
        .is_some_and(|name| name.eq_ignore_ascii_case(KEY_PARAMETER))
}

/// Where the value that begins here ends: at what can follow a parameter in a URL, or a URL in a text.
fn value_of(text: &[u8], start: usize) -> usize {
    let ends = |byte: u8| byte <= b' ' || byte == 0x7f || b"&#;,\"'`<>()[]{}\\|".contains(&byte);
    (start..text.len())
        .find(|at| ends(text[*at]))
        .unwrap_or(text.len())
}

/// Without the quotes around it, and no others.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

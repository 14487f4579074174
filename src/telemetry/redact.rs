//! Masks secrets in what is about to be written to the log.
//!
//! Anything that looks like one of our tokens is masked, its public id stays: `szn_4fG7hJ2kLm_***`. Other secrets
//! (the Supervisor's API key) are masked literally and must be made known.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};
use tracing_subscriber::fmt::MakeWriter;

/// What stands in place of a secret.
const MASK: &[u8] = b"***";
/// A token's head: prefix and public id, up to and with the second `_`.
const HEAD: usize = 15;
/// A shorter literal would mask ordinary words; no key is that short.
const LITERAL_MIN: usize = 8;

/// Knows what is secret. Clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {
    literals: Arc<RwLock<Vec<Vec<u8>>>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// Makes a secret known that does not look like one of our tokens. Shorter ones than 8 characters are ignored.
    pub fn add(&self, secret: &str) {
        let secret = secret.trim();
        if secret.len() < LITERAL_MIN {
            return;
        }
        // As it is written plainly, in `{:?}`, and in JSON.
        let debug = format!("{secret:?}");
        let json = serde_json::to_string(secret).unwrap_or_default();
        let forms = [secret, debug.trim_matches('"'), json.trim_matches('"')];
        let mut literals = self.literals.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms.map(str::as_bytes) {
            if form.len() >= LITERAL_MIN && !literals.iter().any(|known| known == form) {
                literals.push(form.to_vec());
            }
        }
        // Longest first: a form that contains another is masked whole.
        literals.sort_by_key(|literal| std::cmp::Reverse(literal.len()));
    }

    /// The text with its secrets masked; the text itself when there is none.
    pub fn redact<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let literals = self.literals.read().unwrap_or_else(PoisonError::into_inner);
        let mut out: Option<Vec<u8>> = None;
        let mut at = 0;
        let mut copied = 0;
        while at < text.len() {
            let rest = &text[at..];
            let Some((keep, skip)) = secret_at(rest, &literals) else {
                at += 1;
                continue;
            };
            let out = out.get_or_insert_with(|| Vec::with_capacity(text.len()));
            out.extend_from_slice(&text[copied..at + keep]);
            out.extend_from_slice(MASK);
            at += skip;
            copied = at;
        }
        match out {
            None => Cow::Borrowed(text),
            Some(mut out) => {
                out.extend_from_slice(&text[copied..]);
                Cow::Owned(out)
            }
        }
    }
}

/// Whether a secret begins here: how much of it may be seen, and how long it is.
fn secret_at(text: &[u8], literals: &[Vec<u8>]) -> Option<(usize, usize)> {
    if let [b's', b'z', b'j' | b'n' | b'l' | b'a', b'_', ..] = text
        && let Some(head) = text.get(..HEAD)
        && head[4..HEAD - 1].iter().all(u8::is_ascii_alphanumeric)
        && head[HEAD - 1] == b'_'
    {
        // Also when it was cut off or something stands behind it: half a secret is none to show either.
        let secret = text[HEAD..]
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric())
            .count();
        if secret > 0 {
            return Some((HEAD, HEAD + secret));
        }
    }
    literals
        .iter()
        .find(|literal| text.starts_with(literal))
        .map(|literal| (0, literal.len()))
}

/// Makes writers that mask what is secret.
#[derive(Clone, Debug)]
pub struct Redacting<M> {
    inner: M,
    redactor: Redactor,
}

impl<M> Redacting<M> {
    /// Masks what is written to `inner`.
    pub fn new(inner: M, redactor: Redactor) -> Self {
        Self { inner, redactor }
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Redacting<M> {
    type Writer = RedactingWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactingWriter {
            inner: self.inner.make_writer(),
            redactor: self.redactor.clone(),
            event: Vec::new(),
        }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        let inner = self.inner.make_writer_for(meta);
        RedactingWriter {
            inner,
            redactor: self.redactor.clone(),
            event: Vec::new(),
        }
    }
}

/// Writes one event. It is held back until it is whole, so a secret that comes in pieces is seen too.
#[derive(Debug)]
pub struct RedactingWriter<W: Write> {
    inner: W,
    redactor: Redactor,
    event: Vec<u8>,
}

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.event.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // The event is not whole before the writer is dropped.
        Ok(())
    }
}

impl<W: Write> Drop for RedactingWriter<W> {
    fn drop(&mut self) {
        if !self.event.is_empty() {
            // There is nowhere to tell that the log cannot be written.
            let _ = self.inner.write_all(&self.redactor.redact(&self.event));
            let _ = self.inner.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baseos_interfaces::token::{Token, TokenKind};
    use proptest::prelude::*;
    use std::sync::Mutex;

    fn token(kind: TokenKind) -> Token {
        let mut next = 7u8;
        Token::mint(kind, |bytes| {
            bytes.fill_with(|| {
                next = next.wrapping_mul(113).wrapping_add(57);
                next
            });
        })
    }

    fn redacted(redactor: &Redactor, text: &str) -> String {
        String::from_utf8(redactor.redact(text.as_bytes()).into_owned()).unwrap()
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_kind_of_token_loses_its_secret_and_keeps_its_id() {
        let redactor = Redactor::default();
        for kind in [
            TokenKind::Join,
            TokenKind::Node,
            TokenKind::Local,
            TokenKind::Admin,
        ] {
            let token = token(kind);
            let shown = redacted(
                &redactor,
                &format!("a {} b\"{}\"", token.expose(), token.expose()),
            );
            let masked = format!("{}{}_***", kind.prefix(), token.id());
            assert_eq!(shown, format!("a {masked} b\"{masked}\""));
        }
    }

    #[test]
    fn half_a_token_and_one_with_something_behind_it_are_masked_too() {
        let redactor = Redactor::default();
        let token = token(TokenKind::Node);
        let masked = format!("szn_{}_***", token.id());
        assert_eq!(redacted(&redactor, &token.expose()[..30]), masked);
        assert_eq!(
            redacted(&redactor, &format!("{}tail.", token.expose())),
            format!("{masked}.")
        );
        assert_eq!(
            redacted(&redactor, &format!("sz{}", token.expose())),
            format!("sz{masked}")
        );
    }

    #[test]
    fn what_has_no_secret_is_not_copied() {
        let redactor = Redactor::default();
        redactor.add("a-key-of-the-supervisor");
        for text in [
            "",
            "sz",
            "szn_",
            "szn_0123456789_",
            "szn_0123456789_***",
            "szx_0123456789_abc",
            "a-key-of",
        ] {
            assert!(
                matches!(redactor.redact(text.as_bytes()), Cow::Borrowed(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn known_secrets_are_masked_however_they_are_quoted() {
        let redactor = Redactor::default();
        redactor.add(" k\"ey\\with\nodd bits ");
        redactor.add("short");
        let secret = "k\"ey\\with\nodd bits";
        assert_eq!(
            redacted(&redactor, &format!("?apikey={secret}&x")),
            "?apikey=***&x"
        );
        assert_eq!(redacted(&redactor, &format!("{secret:?}")), "\"***\"");
        assert_eq!(
            redacted(&redactor, &serde_json::to_string(secret).unwrap()),
            "\"***\""
        );
        assert_eq!(redacted(&redactor, "short of breath"), "short of breath");
    }

    proptest! {
        #[test]
        fn a_token_in_pieces_never_comes_through(cuts in prop::collection::vec(0usize..120, 0..8), lead in "[a-z_ ]{0,20}") {
            let token = token(TokenKind::Join);
            let text = format!("{lead}{} end\n", token.expose());
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % text.len()).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let sink = Sink::default();
            let out = sink.clone();
            let writers = Redacting::new(move || out.clone(), Redactor::default());
            let mut writer = writers.make_writer();
            for piece in cuts.windows(2) {
                writer.write_all(&text.as_bytes()[piece[0]..piece[1]]).unwrap();
                writer.flush().unwrap();
            }
            drop(writer);
            let written = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
            prop_assert_eq!(written, format!("{lead}szj_{}_*** end\n", token.id()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let redactor = Redactor::default();
            redactor.add("sz_sz_sz_");
            redactor.redact(&bytes);
        }
    }
}

//! Masks secrets in log output: tokens, keys in URLs, and registered secrets (the Supervisor's API key).

use baseos_interfaces::redact::Scanner;
use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};
use tracing_subscriber::fmt::MakeWriter;

/// Masks secrets in text. Clones share the registered secrets.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Arc<RwLock<Scanner>>);

impl Redactor {
    /// Registers a secret that does not have the form of a token. A short text is ignored, see
    /// [`Scanner::learn`].
    pub fn add(&self, secret: &str) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .learn(secret);
    }

    /// The text with its secrets masked; the text itself when there is none.
    pub fn redact<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .redact_bytes(text)
    }
}

/// Creates writers that mask secrets.
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

/// Writes one event. It is buffered until it is complete, so that a secret in several pieces is masked too.
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
        // The event is complete only when the writer is dropped.
        Ok(())
    }
}

impl<W: Write> Drop for RedactingWriter<W> {
    fn drop(&mut self) {
        if !self.event.is_empty() {
            // A failure to write the log has no other place to be reported.
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
    fn a_secret_registered_with_a_clone_is_masked() {
        let redactor = Redactor::default();
        let clone = redactor.clone();
        clone.add(" a-key-of-the-supervisor ");
        let text = redactor.redact(b"key a-key-of-the-supervisor!");
        assert_eq!(text, b"key ***!".as_slice());
        assert!(matches!(redactor.redact(b"no secret"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn a_token_written_in_pieces_is_masked(cuts in prop::collection::vec(0usize..120, 0..8), lead in "[a-z_ ]{0,20}") {
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
    }
}

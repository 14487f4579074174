//! The event bus: merges the sources, each a `Stream<Item = Event>`. A source that ends is fatal.

use crate::lifecycle::Event;
use futures_util::stream::{BoxStream, SelectAll};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_stream::{Stream, StreamExt as _};

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event source `{0}` ended: the process must be restarted")]
pub struct DeadSource(pub &'static str);

/// All sources, polled fairly, so that none can starve the others.
#[derive(Default)]
pub struct Bus {
    sources: SelectAll<BoxStream<'static, Result<Event, DeadSource>>>,
}

impl Bus {
    /// Adds a source; `name` identifies it in the log when it ends.
    #[must_use]
    pub fn with(mut self, name: &'static str, source: impl Stream<Item = Event> + Send + 'static) -> Self {
        let end = tokio_stream::once(Err(DeadSource(name)));
        self.sources.push(Box::pin(source.map(Ok).chain(end)));
        self
    }
}

impl Stream for Bus {
    type Item = Result<Event, DeadSource>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.sources).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_source_that_ends_is_named_after_its_last_event() {
        let mut bus = Bus::default()
            .with("poller", tokio_stream::iter([Event::StopRequested]))
            .with("pending", tokio_stream::pending());
        assert_eq!(bus.next().await, Some(Ok(Event::StopRequested)));
        assert_eq!(bus.next().await, Some(Err(DeadSource("poller"))));
    }
}

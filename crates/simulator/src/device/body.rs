//! Bodies of answers, broken ones included.

use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

#[derive(Debug)]
pub(crate) enum ResponseBody {
    Whole(Option<Bytes>),
    /// The same piece again and again.
    Endless(Bytes),
    Stream(mpsc::UnboundedReceiver<Bytes>),
    /// A part; then the connection is closed.
    Broken(Option<Bytes>),
}

impl ResponseBody {
    pub(crate) fn whole(body: impl Into<Bytes>) -> Self {
        Self::Whole(Some(body.into()))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match self.get_mut() {
            Self::Whole(piece) => piece.take().map(|piece| Ok(Frame::data(piece))),
            Self::Endless(piece) => Some(Ok(Frame::data(piece.clone()))),
            Self::Stream(pieces) => {
                return pieces
                    .poll_recv(context)
                    .map(|piece| piece.map(|piece| Ok(Frame::data(piece))));
            }
            Self::Broken(piece) => Some(match piece.take() {
                Some(piece) => Ok(Frame::data(piece)),
                None => Err(io::Error::other("connection closed by a scripted fault")),
            }),
        })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(piece) => SizeHint::with_exact(piece.as_ref().map_or(0, Bytes::len) as u64),
            _ => SizeHint::default(),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }
}

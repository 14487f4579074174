//! Accepts connections up to a limit, and closes idle ones in favour of new ones.

use super::held::{Arrival, Held, Impatient};
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

/// Limit of open connections.
pub(super) const CONNECTIONS: usize = 32;
/// Time limit of a request's head. It also runs between requests, so it is the idle timeout of connections too.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Largest request head, bytes.
const HEAD_MAX_BYTES: usize = 16 * 1024;

/// A connection's stream. One type for both, so that the HTTP server is compiled once.
pub(super) type Stream = Either<UnixStream, TcpStream>;

/// The slots of open connections.
///
/// When all slots are in use, a new connection closes the oldest one without a request in progress, or else the oldest
/// one whose request has not arrived whole; if there is none, it waits. So neither idle connections nor slow ones block
/// a request.
#[derive(Default)]
pub(super) struct Slots {
    taken: Mutex<Vec<Arc<Place>>>,
    /// Notified when a slot becomes free or idle.
    freed: Notify,
}

#[derive(Default)]
struct Place {
    /// Number of requests and answers in progress.
    busy: AtomicUsize,
    /// Number of request bodies that have not arrived whole.
    arriving: AtomicUsize,
    leave: CancellationToken,
}

impl Slots {
    /// Waits for a slot and takes it.
    pub(super) async fn take(self: &Arc<Self>) -> Slot {
        loop {
            {
                let mut taken = self.taken();
                if taken.len() < CONNECTIONS {
                    let place = Arc::<Place>::default();
                    taken.push(place.clone());
                    return Slot {
                        slots: self.clone(),
                        place,
                    };
                }
                let silent = |place: &&Arc<Place>| place.busy.load(Ordering::Relaxed) == 0;
                let slow = |place: &&Arc<Place>| place.arriving.load(Ordering::Relaxed) > 0;
                if let Some(place) = taken.iter().find(silent).or_else(|| taken.iter().find(slow)) {
                    place.leave.cancel();
                }
            }
            // `Notify` stores a permit that was issued since the check above, so no wake-up is lost.
            self.freed.notified().await;
        }
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Arc<Place>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot; free again when dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    place: Arc<Place>,
}

impl Slot {
    fn arriving(&self) -> Arriving {
        self.place.arriving.fetch_add(1, Ordering::Relaxed);
        // A newcomer that waits may close this one now.
        self.slots.freed.notify_one();
        Arriving {
            place: self.place.clone(),
        }
    }

    fn work(&self) -> Work {
        self.place.busy.fetch_add(1, Ordering::Relaxed);
        Work {
            slots: self.slots.clone(),
            place: self.place.clone(),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots
            .taken()
            .retain(|place| !Arc::ptr_eq(place, &self.place));
        self.slots.freed.notify_one();
    }
}

/// Marks a request or an answer as in progress until dropped.
struct Work {
    slots: Arc<Slots>,
    place: Arc<Place>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.place.busy.fetch_sub(1, Ordering::Relaxed);
        self.slots.freed.notify_one();
    }
}

/// Marks a request's body as not whole until dropped.
struct Arriving {
    place: Arc<Place>,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.place.arriving.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection until one side closes it.
pub(super) async fn connection(stream: Stream, router: Router, slot: Slot, stop: CancellationToken) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        let work = slot.work();
        let request = request.map(|body| match body.is_end_stream() {
            true => Body::new(body),
            false => Body::new(Arrival::new(body, slot.arriving())),
        });
        let answer = router.call(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await?.map(|body| Held::new(body, work))) }
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD_MAX_BYTES)
            .serve_connection(TokioIo::new(Impatient::new(stream)), service)
    );
    let ended = tokio::select! {
        // Polled first, so that pending output is written before the connection is closed.
        biased;
        ended = served.as_mut() => ended,
        () = slot.place.leave.cancelled() => return tracing::debug!("closed a silent or slow local connection for a newcomer"),
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a local connection ended");
    }
}

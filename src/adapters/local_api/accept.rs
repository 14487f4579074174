//! Connections: at most so many at once, and none may take the place of one that has something to say.

use super::held::{Held, Impatient};
use axum::Router;
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Connections at once.
pub(super) const CONNECTIONS: usize = 32;
/// How long a request's head may take. It runs between requests too, so an idle connection ends in this time.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Largest request head, bytes.
const HEAD_MAX_BYTES: usize = 16 * 1024;

/// The places of open connections.
///
/// When all are taken and another client comes, the oldest one without a request under way is closed for it; when all have one, the newcomer waits. So a thousand silent connections cost the others nothing.
#[derive(Default)]
pub(super) struct Slots {
    taken: Mutex<Vec<Arc<Place>>>,
    /// A place was left or became silent.
    freed: Notify,
}

#[derive(Default)]
struct Place {
    /// Requests and answers under way.
    busy: AtomicUsize,
    leave: CancellationToken,
}

impl Slots {
    /// Takes a place as soon as there is one.
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
                if let Some(silent) = taken.iter().find(|place| place.busy.load(Ordering::Relaxed) == 0) {
                    silent.leave.cancel();
                }
            }
            // A permit that was left since the look above is kept, so no wake-up is lost.
            self.freed.notified().await;
        }
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Arc<Place>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place, until dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    place: Arc<Place>,
}

impl Slot {
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

/// A request or an answer under way, until dropped.
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

/// Serves one connection until either side has enough.
pub(super) async fn connection<S>(stream: S, router: Router, slot: Slot, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        let work = slot.work();
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
        // First: what can be sent is sent before the connection is given up.
        biased;
        ended = served.as_mut() => ended,
        () = slot.place.leave.cancelled() => return tracing::debug!("closed a silent local connection for a newcomer"),
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a local connection ended");
    }
}

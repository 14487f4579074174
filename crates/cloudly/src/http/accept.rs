//! Accepts connections: each has to bring its first request soon, and when there are too many the one that has been idle
//! for longest makes room.

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

/// The pause after an accept that failed, because this process has no descriptor left, say.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How many there may be.
    pub(crate) connections: usize,
    /// How long the head of a connection's first request may take.
    pub(crate) first_request: Duration,
    /// How long the head of each further request may take, from the end of the one before.
    pub(crate) idle: Duration,
}

/// `tls` gives what the next connection is encrypted with. Serves until `stop` is dropped by its sender, and then until each connection has answered what it was asked.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: impl Fn() -> Option<TlsAcceptor>,
    routes: Router,
    limits: Limits,
    mut stop: watch::Receiver<()>,
) {
    let places = Arc::new(Places::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let place = tokio::select! {
                    _ = stop.changed() => break,
                    place = places.take() => place,
                };
                // Answers are small: waiting for more to send only delays them.
                drop(stream.set_nodelay(true));
                let (routes, stop) = (routes.clone(), stop.clone());
                match tls() {
                    None => {
                        tokio::spawn(async move {
                            let first_request = pin!(pause(limits.first_request));
                            connection(stream, peer, routes, place, limits, first_request, stop).await;
                        });
                    }
                    Some(tls) => {
                        tokio::spawn(encrypted(stream, tls, peer, routes, place, limits, stop));
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                pause(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    places.all_left().await;
}

/// The handshake is a part of the time that the first request may take.
async fn encrypted(
    stream: TcpStream,
    tls: TlsAcceptor,
    peer: SocketAddr,
    routes: Router,
    place: Place,
    limits: Limits,
    mut stop: watch::Receiver<()>,
) {
    let mut first_request = pin!(pause(limits.first_request));
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        () = place.state.leave.notified() => return,
        () = &mut first_request => return,
        _ = stop.changed() => return,
    };
    match accepted {
        Ok(stream) => connection(stream, peer, routes, place, limits, first_request, stop).await,
        Err(error) => tracing::debug!(%error, %peer, "a TLS handshake failed"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    routes: Router,
    place: Place,
    limits: Limits,
    mut first_request: Pin<&mut Sleep>,
    mut stop: watch::Receiver<()>,
) {
    let state = Arc::clone(&place.state);
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let work = place.begin();
        let answer = routes.call(request);
        async move {
            let answer: Result<Response<Body>, Infallible> = answer.await;
            drop(work);
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let (mut has_begun, mut stopping) = (false, false);
    loop {
        tokio::select! {
            ended = &mut served => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
                return;
            }
            () = state.leave.notified() => return,
            () = &mut first_request, if !has_begun => {
                has_begun = state.has_begun.load(Ordering::Relaxed);
                if !has_begun {
                    return;
                }
            }
            _ = stop.changed(), if !stopping => {
                stopping = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time limits of connections belong to the process, not to a clock that tests move"
)]
fn pause(duration: Duration) -> Sleep {
    tokio::time::sleep(duration)
}

/// The connections that are open, by their number.
struct Places {
    most: usize,
    next: AtomicU64,
    /// Counts what begins and ends, to tell which connection has been idle for longest.
    turns: Arc<AtomicU64>,
    taken: Mutex<BTreeMap<u64, Arc<State>>>,
    left: Notify,
}

#[derive(Default)]
struct State {
    has_begun: AtomicBool,
    /// Requests without an answer yet.
    busy: AtomicUsize,
    /// When it was last at work.
    turn: AtomicU64,
    leave: Notify,
}

/// One connection's place; free again when it is dropped.
struct Place {
    places: Arc<Places>,
    number: u64,
    state: Arc<State>,
}

/// A request until its answer.
struct Work {
    state: Arc<State>,
    turns: Arc<AtomicU64>,
}

impl Places {
    fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            next: AtomicU64::new(0),
            turns: Arc::default(),
            taken: Mutex::default(),
            left: Notify::new(),
        }
    }

    async fn take(self: &Arc<Self>) -> Place {
        loop {
            {
                let mut taken = self.taken();
                if taken.len() < self.most {
                    let number = self.next.fetch_add(1, Ordering::Relaxed);
                    let state = Arc::new(State::default());
                    state
                        .turn
                        .store(self.turns.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
                    taken.insert(number, Arc::clone(&state));
                    return Place {
                        places: Arc::clone(self),
                        number,
                        state,
                    };
                }
                let idle = taken
                    .values()
                    .filter(|state| state.busy.load(Ordering::Relaxed) == 0);
                if let Some(state) = idle.min_by_key(|state| state.turn.load(Ordering::Relaxed)) {
                    state.leave.notify_one();
                }
            }
            // A permit that was given since the look above is kept, so none is missed.
            self.left.notified().await;
        }
    }

    async fn all_left(&self) {
        while !self.taken().is_empty() {
            self.left.notified().await;
        }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<State>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn begin(&self) -> Work {
        self.state.has_begun.store(true, Ordering::Relaxed);
        self.state.busy.fetch_add(1, Ordering::Relaxed);
        Work {
            state: Arc::clone(&self.state),
            turns: Arc::clone(&self.places.turns),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().remove(&self.number);
        self.places.left.notify_one();
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        self.state.turn.store(turn, Ordering::Relaxed);
        self.state.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

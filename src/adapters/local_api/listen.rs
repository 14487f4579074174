//! The listeners (Unix socket, TCP) and the token file.

use super::accept::{Slots, Stream, connection};
use crate::durable_file::{leave_socket_to_owner_of, leave_to_owner_of};
use axum::Router;
use baseos_interfaces::token::Token;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::future::poll_fn;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause after a failed accept (e.g. too many open files), to avoid a busy loop.
const PAUSE: Duration = Duration::from_secs(1);

/// Why the local API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A running process listens on the socket.
    #[error("another agent already answers on {}", .0.display())]
    InUse(PathBuf),
    /// The path is taken by a file that is not a socket; it is not changed.
    #[error("{} exists and is not a socket: remove it or configure another run directory", .0.display())]
    NotASocket(PathBuf),
    /// A file or directory could not be created.
    #[error("cannot {what} {}: {source}", .path.display())]
    Files {
        /// The operation.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The TCP address could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BindError + 'a {
    move |source| BindError::Files {
        what,
        path: path.to_owned(),
        source,
    }
}

/// The listeners.
pub(super) struct Sources {
    unix: UnixListener,
    tcp: Option<TcpListener>,
}

impl Sources {
    pub(super) fn bind(socket: &Path, tcp: Option<SocketAddr>) -> Result<(Self, SocketFile), BindError> {
        let (unix, file) = bind_socket(socket)?;
        let tcp = tcp.map(bind_tcp).transpose()?;
        Ok((Self { unix, tcp }, file))
    }

    pub(super) fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }

    /// Starts accepting connections.
    pub(super) fn spawn(
        self,
        tasks: &TaskTracker,
        router: &Router,
        slots: &Arc<Slots>,
        stop: &CancellationToken,
    ) {
        let listeners = [Some(Listener::Unix(self.unix)), self.tcp.map(Listener::Tcp)];
        for listener in listeners.into_iter().flatten() {
            tasks.spawn(take_all(
                listener,
                tasks.clone(),
                router.clone(),
                slots.clone(),
                stop.clone(),
            ));
        }
    }
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        match self {
            Self::Unix(unix) => unix.poll_accept(cx).map_ok(|(stream, _)| Either::Left(stream)),
            Self::Tcp(tcp) => tcp.poll_accept(cx).map_ok(|(stream, _)| Either::Right(stream)),
        }
    }
}

async fn take_all(
    listener: Listener,
    tasks: TaskTracker,
    router: Router,
    slots: Arc<Slots>,
    stop: CancellationToken,
) {
    let next = async || match poll_fn(|cx| listener.poll_accept(cx)).await {
        Ok(stream) => Some((stream, slots.take().await)),
        Err(error) => {
            tracing::warn!(%error, "cannot take a connection to the local API");
            None
        }
    };
    while let Some(taken) = stop.run_until_cancelled(next()).await {
        match taken {
            Some((stream, slot)) => {
                tasks.spawn(connection(stream, router.clone(), slot, stop.clone()));
            }
            None => drop(tokio::time::timeout(PAUSE, stop.cancelled()).await),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    let bind = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    bind().map_err(|source| BindError::Tcp { address, source })
}

/// Creates the socket under a temporary name, sets its mode and renames it: clients find the old socket or the new
/// one, never none and never one with the wrong mode.
fn bind_socket(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    make_directory_of(path)?;
    refuse_if_alive(path)?;
    let new = beside(path);
    remove(&new).map_err(failed("remove", &new))?;
    let listener = std::os::unix::net::UnixListener::bind(&new).map_err(failed("make the socket", &new))?;
    let listener = ready(&listener, &new, path)
        .map_err(failed("make the socket", path))
        .map(|file| (listener, file));
    let (listener, file) = listener.inspect_err(|_| drop(remove(&new)))?;
    let listener = UnixListener::from_std(listener).map_err(failed("listen on", path))?;
    Ok((listener, file))
}

fn ready(listener: &std::os::unix::net::UnixListener, new: &Path, path: &Path) -> io::Result<SocketFile> {
    fs::set_permissions(new, Permissions::from_mode(0o660))?;
    if let Some(directory) = path.parent() {
        leave_socket_to_owner_of(directory, new);
    }
    listener.set_nonblocking(true)?;
    let made = fs::symlink_metadata(new)?;
    fs::rename(new, path)?;
    Ok(SocketFile {
        path: path.to_owned(),
        id: (made.dev(), made.ino()),
    })
}

/// The socket file of this run; removed when dropped, unless it was replaced.
pub(super) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.id);
        if ours && let Err(error) = remove(&self.path) {
            tracing::debug!(%error, "cannot remove the socket of the local API");
        }
    }
}

/// Whether a process still listens on the socket.
fn refuse_if_alive(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
    }
    // Non-blocking: std's connect would wait forever when the queue of a running agent is full.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let answer = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .and_then(|socket| rustix::net::connect(&socket, &SocketAddrUnix::new(path)?));
    match answer {
        Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => Ok(()),
        Ok(()) | Err(rustix::io::Errno::AGAIN) => Err(BindError::InUse(path.to_owned())),
        Err(error) => Err(failed("ask", path)(error.into())),
    }
}

/// Writes the token file atomically.
pub(super) fn write_token(path: &Path, token: &Token) -> Result<(), BindError> {
    make_directory_of(path)?;
    let new = beside(path);
    let write = || {
        remove(&new)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(&new)?;
        // The umask may have reduced the mode above.
        file.set_permissions(Permissions::from_mode(0o640))?;
        if let Some(directory) = path.parent() {
            leave_to_owner_of(directory, &file);
        }
        writeln!(file, "{}", token.expose())?;
        fs::rename(&new, path)
    };
    write()
        .inspect_err(|_| drop(remove(&new)))
        .map_err(failed("write the token to", path))
}

fn make_directory_of(path: &Path) -> Result<(), BindError> {
    let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    else {
        return Ok(());
    };
    if directory.is_dir() {
        return Ok(());
    }
    let make = || {
        DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o750))
    };
    make().map_err(failed("make the directory", directory))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

//! Cloudly's BaseOS manager: nodes enrol with join tokens, report with heartbeats, and are told which release to run.
//!
//! A server in this process, as tests use it:
//!
//! ```no_run
//! use cloudly_baseos::{Clock, Server, Settings};
//!
//! # async fn demo() -> Result<(), cloudly_baseos::ServerError> {
//! let mut settings = Settings::new("cloudly.db");
//! settings.listen = "127.0.0.1:0".to_owned();
//! let server = Server::bind(settings, Clock::system()).await?;
//! println!("{} with {:?}", server.url(), server.admin_token());
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
//! # drop((stop, serving));
//! # Ok(())
//! # }
//! ```
//!
//! A request goes from `http` (its form) to `service` (its meaning) to `storage` (its statements), and nothing calls
//! upwards. `auth` and `presence` are what services decide with.
#![forbid(unsafe_code)]

mod auth;
mod clock;
mod http;
mod jobs;
pub mod maintenance;
mod metrics;
mod presence;
mod random;
mod server;
mod service;
mod settings;
mod storage;
mod tls;

pub use auth::key_file::{AdminFile, KeyError};
pub use auth::operators::read_admin_token;
pub use auth::tokens::mint;
pub use clock::Clock;
pub use random::NoRandomness;
pub use server::{Server, ServerError};
pub use settings::{Database, PostgresUrl, Rate, Settings, TlsFiles};
pub use storage::database::OpenError;
pub use storage::integrity::Finding;

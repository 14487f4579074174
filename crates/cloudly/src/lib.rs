//! Cloudly's BaseOS manager: nodes enrol with join tokens, keep in touch with heartbeats, and are told which release
//! to run.
//!
//! A server in this process, as tests and the demo use it:
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
//! A request goes from `http` (shape, limits, who is it) to `service` (what it means) to `storage` (the
//! statements). Time comes from one [`Clock`]; presence is written behind, everything else before the answer.
#![forbid(unsafe_code)]

mod app;
mod clock;
mod error;
mod http;
mod keys;
mod presence;
mod random;
mod rate;
mod server;
mod service;
mod settings;
mod storage;

pub use clock::Clock;
pub use keys::{KeyError, read_admin_token};
pub use random::{NoRandomness, mint};
pub use server::{Server, ServerError};
pub use settings::{Rate, Settings};
pub use storage::OpenError;

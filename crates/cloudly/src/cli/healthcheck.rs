//! Whether the server can do its work, for the health check of a container.

use super::arguments::Global;
use super::client::check_health;
use super::output::Outcome;

/// Silent when it can.
pub(super) async fn run(global: &Global) -> Outcome {
    Ok(check_health(global).await?)
}

//! One test of many cases.

use crate::harness::error::{Error, Result};
use futures_util::future::join_all;

/// Runs all cases at the same time, as far as there are [slots](crate::harness::Slot).
///
/// # Errors
/// When cases failed: which, and why.
pub async fn run_cases<N: std::fmt::Display, F: Future<Output = Result<()>>>(
    cases: impl IntoIterator<Item = (N, F)>,
) -> Result<()> {
    let run =
        |(name, case): (N, F)| async move { case.await.err().map(|error| format!("=== {name}: {error}")) };
    let failures: Vec<String> = join_all(cases.into_iter().map(run))
        .await
        .into_iter()
        .flatten()
        .collect();
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!(
        "{} cases failed:\n{}",
        failures.len(),
        failures.join("\n")
    )))
}

//! What the server counts.

use super::cloudly::Cloudly;
use std::collections::BTreeMap;

/// The server's counters by name and labels.
pub(crate) async fn metrics(cloudly: &Cloudly) -> BTreeMap<String, u64> {
    let request = cloudly.http.get(format!("{}/metrics", cloudly.url));
    let answer = request.bearer_auth(&cloudly.admin_token).send().await.unwrap();
    assert!(answer.status().is_success());
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.filter_map(|line| line.rsplit_once(' '));
    let count = |(name, value): (&str, &str)| Some((name.to_owned(), value.parse().ok()?));
    samples.filter_map(count).collect()
}

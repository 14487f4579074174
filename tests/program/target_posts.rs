//! The targets in the log of requests to the Supervisor.

use baseos_simulator::device::LoggedRequest;

const TARGET_PATH: &str = "/v2/local/target-state";

/// A commit that was posted to the Supervisor twice without a GET of the target in between.
pub(crate) fn posted_twice(requests: &[LoggedRequest]) -> Option<String> {
    let mut last: Option<String> = None;
    for request in requests.iter().filter(|request| request.path == TARGET_PATH) {
        if request.method == "GET" {
            last = None;
        } else if let Some(commit) = posted_commit(request) {
            if last.as_ref() == Some(&commit) {
                return Some(commit);
            }
            last = Some(commit);
        }
    }
    None
}

/// The commit of a target that reached the Supervisor.
pub(crate) fn posted_commit(request: &LoggedRequest) -> Option<String> {
    let is_post = request.method == "POST" && request.path == TARGET_PATH;
    if !is_post || !request.reached_the_supervisor() {
        return None;
    }
    let body: serde_json::Value = serde_json::from_str(&request.body).ok()?;
    let app = body["local"]["apps"].as_object()?.values().next()?;
    app["commit"].as_str().map(str::to_owned)
}

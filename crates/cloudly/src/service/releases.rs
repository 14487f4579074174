//! Releases.

use super::app::App;
use super::error::{Error, Result};
use super::images;
use super::page::PageRequest;
use super::release_differences;
use crate::auth::operators::Operator;
use crate::random;
use crate::storage::audit::AuditLine;
use crate::storage::releases::{Decided, Facts};
use baseos_interfaces::admin::{CreateRelease, Page, ReleaseRecord};
use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::desired::Release;
use baseos_interfaces::limits::ANSWER_MAX_BYTES;
use baseos_interfaces::rules::check_release;
use serde_json::json;

/// The largest release, bytes as it is sent: an answer holds two, the desired one and the one to go back to, beside a
/// policy, commands and a token.
const RELEASE_MAX_BYTES: usize = (ANSWER_MAX_BYTES - 64 * 1024) / 2;

/// Whether [`create`] stored a release or found the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    New,
    Known,
}

/// Stores a release. The same one again is no error, and gains what a registry says of its images if that was not known;
/// another one with its commit is.
pub(crate) async fn create(
    app: &App,
    operator: &Operator,
    request: CreateRelease,
) -> Result<(Created, ReleaseRecord)> {
    check_release(&request).map_err(Error::ReleaseRefused)?;
    images::check_platforms(&request)?;
    let now = app.clock.now();
    let record = ReleaseRecord {
        release: request.into_release(random::id("rel_", now)?),
        created_at: now,
    };
    let release = &record.release;
    check_size(release)?;
    let repositories: Vec<_> = images::repositories(release).into_iter().collect();
    let decided = app
        .storage
        .create_release(&record, &repositories, |facts| decide(operator, release, facts))
        .await?;
    Ok(match decided {
        Decided::Insert(_) => (Created::New, record),
        Decided::Update(known, _) | Decided::Known(known) => (Created::Known, known),
    })
}

fn decide(operator: &Operator, release: &Release, facts: Facts) -> Result<Decided> {
    let commit = &release.commit;
    let Some(mut known) = facts.known else {
        images::check(release, &facts.others)?;
        let data = json!({ "commit": commit, "version": release.version });
        let subject = Some(release.release_id.as_str());
        let line = AuditLine::new(&operator.id, "release.created", subject, data);
        return Ok(Decided::Insert(line));
    };
    let sent = comparable(release, &known.release);
    if sent != known.release {
        return Err(Error::Conflict(format!(
            "there is a release with commit {commit} and other contents ({}); a commit never changes its contents",
            release_differences::describe(&sent, &known.release)
        )));
    }
    if !images::gain_platforms(&mut known.release, release) {
        return Ok(Decided::Known(known));
    }
    images::check(&known.release, &facts.others)?;
    let subject = Some(known.release.release_id.as_str());
    let line = AuditLine::new(
        &operator.id,
        "release.imagesKnown",
        subject,
        json!({ "commit": commit }),
    );
    Ok(Decided::Update(known, line))
}

/// The release with what does not belong to its contents taken from the known one.
fn comparable(release: &Release, known: &Release) -> Release {
    let mut comparable = Release {
        release_id: known.release_id.clone(),
        ..release.clone()
    };
    // Named or left out, the default is the same.
    if release.agent_service() == known.agent_service() {
        comparable.agent_service.clone_from(&known.agent_service);
    }
    images::take_over_platforms(&mut comparable, known);
    comparable
}

/// The release as it is sent must fit into the answer that an agent reads. It may be several times as long as the
/// request: numbers are written out.
fn check_size(release: &Release) -> Result<()> {
    // The wire types consist of strings, numbers and maps with string keys; serde_json cannot fail on those.
    let bytes = serde_json::to_vec(release).map_or(usize::MAX, |json| json.len());
    if bytes > RELEASE_MAX_BYTES {
        let message = format!(
            "the release is too large for agents: {bytes} bytes as it is sent, {RELEASE_MAX_BYTES} at most; shorten its \
             compositions and environments"
        );
        return Err(Error::field("/services", FieldCode::TooLong, message));
    }
    Ok(())
}

/// Newest first.
pub(crate) async fn list(app: &App, request: &PageRequest) -> Result<Page<ReleaseRecord>> {
    let rows = app.storage.releases(request.before()?, request.limit()).await?;
    Ok(request.numbered_page(rows))
}

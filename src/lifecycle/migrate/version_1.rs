//! Upgrades a checkpoint of version 1, which stored the wire contract's documents: their members are renamed to those
//! of the machine's own types. Working on JSON alone keeps this independent of what both become later.

use crate::lifecycle::checkpoint::VERSION;
use serde_json::{Map, Value, json};

type Document = Map<String, Value>;

pub(super) fn upgrade(checkpoint: &mut Value) {
    if let Some(checkpoint) = checkpoint.as_object_mut() {
        checkpoint.insert("version".to_owned(), VERSION.into());
        rename(checkpoint, &[("book", "durable")]);
        upgrade_durable(member(checkpoint, "durable"));
        upgrade_state(member(checkpoint, "state"));
    }
}

fn upgrade_durable(durable: Option<&mut Document>) {
    let Some(durable) = durable else { return };
    rename(durable, &[("good", "proven")]);
    upgrade_desired(member(durable, "desired"));
    upgrade_policy(member(durable, "last_policy"));
    upgrade_release(member(durable, "proven"));
    upgrade_release(member(durable, "previous"));
    nest(durable, "memory", "releases");
    nest(durable, "outbox", "events");
    let last_event = durable.remove("last_event").unwrap_or_default();
    if let Some(outbox) = member(durable, "outbox") {
        outbox.insert("last".to_owned(), last_event);
        each(outbox, "events", |event| rename(event, &[("type", "kind")]));
    }
    if let Some(commands) = member(durable, "commands") {
        each(commands, "results", |result| {
            rename(result, &[("finishedAt", "finished_at")]);
        });
    }
}

/// In version 1 a state's name began with a capital letter.
fn upgrade_state(state: Option<&mut Document>) {
    let Some(state) = state else { return };
    let Some((mut name, mut content)) = std::mem::take(state).into_iter().next() else {
        return;
    };
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    if let Some(content) = content.as_object_mut() {
        rename(content, &[("application", "handover"), ("vigil", "verification")]);
        if let Some(update) = member(content, "update") {
            upgrade_release(member(update, "release"));
            each(update, "blocked", |blocker| {
                rename(blocker, &[("expiresAt", "expires_at")]);
            });
        }
        if let Some(restore) = member(content, "restore") {
            rename(restore, &[("application", "handover"), ("vigil", "verification")]);
            upgrade_release(member(restore, "release"));
        }
    }
    state.insert(name, content);
}

/// The release's members stood among those of the desired app.
fn upgrade_desired(desired: Option<&mut Document>) {
    let Some(app) = desired.and_then(|desired| member(desired, "app")) else {
        return;
    };
    let mut release = std::mem::take(app);
    for (old, new) in [("rolloutId", "rollout"), ("slot", "slot"), ("policy", "policy")] {
        if let Some(value) = release.remove(old) {
            app.insert(new.to_owned(), value);
        }
    }
    if let Some(slot) = member(app, "slot") {
        rename(slot, &[("leaseExpiresAt", "expires_at")]);
    }
    upgrade_policy(member(app, "policy"));
    upgrade_release(Some(&mut release));
    app.insert("release".to_owned(), Value::Object(release));
}

fn upgrade_release(release: Option<&mut Document>) {
    let Some(release) = release else { return };
    rename(release, &[("releaseId", "id")]);
    let services = member(release, "services");
    for service in services.into_iter().flat_map(Map::values_mut) {
        if let Some(service) = service.as_object_mut() {
            rename(service, &[("sizeBytes", "size_bytes")]);
        }
    }
}

fn upgrade_policy(policy: Option<&mut Document>) {
    let Some(policy) = policy else { return };
    let names = [
        ("maxDeferSeconds", "max_defer_seconds"),
        ("maxAttempts", "max_attempts"),
        ("healthSeconds", "health_seconds"),
        ("applyTimeoutSeconds", "apply_timeout_seconds"),
        ("requireLocalApproval", "requires_local_approval"),
    ];
    rename(policy, &names);
    let on_failure = policy.remove("onFailure");
    let rolls_back = on_failure.is_none_or(|on_failure| on_failure == "rollback");
    policy.insert("rolls_back".to_owned(), rolls_back.into());
    each(policy, "windows", |window| {
        rename(
            window,
            &[("durationSeconds", "duration_seconds"), ("timeZone", "time_zone")],
        );
    });
}

/// A member that is an object; `None`: it is missing or `null`.
fn member<'a>(document: &'a mut Document, name: &str) -> Option<&'a mut Document> {
    document.get_mut(name)?.as_object_mut()
}

/// Every object in a list.
fn each(document: &mut Document, list: &str, change: fn(&mut Document)) {
    let items = document.get_mut(list).and_then(Value::as_array_mut);
    items
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
        .for_each(change);
}

fn rename(document: &mut Document, names: &[(&str, &str)]) {
    for (old, new) in names {
        if let Some(value) = document.remove(*old) {
            document.insert((*new).to_owned(), value);
        }
    }
}

/// Moves a member's value one level down.
fn nest(document: &mut Document, name: &str, inner: &str) {
    if let Some(value) = document.remove(name) {
        document.insert(name.to_owned(), json!({ inner: value }));
    }
}

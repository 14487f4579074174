//! Many requests at once that concern the same row: each outcome is one that some order of them would have had.

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Device, Engine, OTHER_COMMIT, release};
use baseos_interfaces::admin::{CommandRecord, JoinTokenRecord, NodeRecord, Page};
use baseos_interfaces::heartbeat::HeartbeatAnswer;
use baseos_interfaces::register::RegisterAnswer;
use cloudly_baseos::Settings;
use reqwest::{Method, Response, StatusCode};
use rstest_reuse::apply;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Barrier;

/// What `count` requests were answered that were sent at the same time. `request` gets 0, 1, ….
async fn at_once<F, Fut>(cloudly: &Arc<Cloudly>, count: usize, request: F) -> Vec<Response>
where
    F: Fn(Arc<Cloudly>, usize) -> Fut,
    Fut: Future<Output = Response> + Send + 'static,
{
    let start = Arc::new(Barrier::new(count));
    let tasks = (0..count).map(|n| {
        let (start, request) = (Arc::clone(&start), request(Arc::clone(cloudly), n));
        tokio::spawn(async move {
            start.wait().await;
            request.await
        })
    });
    let mut answers = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        answers.push(task.await.unwrap());
    }
    answers
}

fn statuses(answers: &[Response]) -> Vec<u16> {
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    statuses.sort_unstable();
    statuses
}

/// So many 201, then so many of the other one.
fn some(created: usize, others: usize, other: u16) -> Vec<u16> {
    [vec![201; created], vec![other; others]].concat()
}

async fn nodes(cloudly: &Cloudly) -> Vec<NodeRecord> {
    cloudly.list("nodes", 100).await
}

async fn uses(cloudly: &Cloudly) -> u32 {
    let tokens: Page<JoinTokenRecord> = cloudly.get("join-tokens").await;
    tokens.items[0].uses
}

async fn registered(answer: Response) -> RegisterAnswer {
    answer.json().await.unwrap()
}

fn count(audit: &[(String, Value)], action: &str) -> usize {
    audit.iter().filter(|(name, _)| name == action).count()
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn identical_registrations_make_one_node_and_spend_one_use(engine: Engine) {
    let cloudly = Arc::new(Cloudly::start(engine).await);
    let token = cloudly.join_token(json!({ "maxUses": 50 })).await;
    // The first round also opens the connections.
    for round in 1..=5 {
        let answers = at_once(&cloudly, 24, |cloudly, _| {
            let (token, registration) = (token.clone(), format!("reg-{round}"));
            async move { cloudly.register(&token, &registration).await }
        })
        .await;
        assert_eq!(statuses(&answers), [vec![200; 23], vec![201]].concat());
        let mut nodes_named = BTreeSet::new();
        for answer in answers {
            nodes_named.insert(registered(answer).await.node_id);
        }
        assert_eq!(nodes_named.len(), 1);
        let known = nodes(&cloudly).await.len();
        assert_eq!((known, uses(&cloudly).await), (round, known as u32));
    }
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn one_of_fifty_registrations_gets_the_only_use(engine: Engine) {
    let limits = |settings: &mut Settings| settings.failure_rate.burst = 1000;
    let cloudly = Arc::new(Cloudly::start_with(engine, limits).await);
    // The first round also opens the connections.
    for round in 1..=6 {
        let token = cloudly.join_token(json!({})).await;
        let answers = at_once(&cloudly, 50, |cloudly, n| {
            let (token, registration) = (token.clone(), format!("reg-{round}-{n}"));
            async move { cloudly.register(&token, &registration).await }
        })
        .await;
        assert_eq!(statuses(&answers), some(1, 49, 401));
        assert_eq!(nodes(&cloudly).await.len(), round);
    }
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn of_replacements_of_one_device_that_are_heard_at_once_one_counts(engine: Engine) {
    let limits = |settings: &mut Settings| {
        settings.failure_rate.burst = 1000;
        settings.node_rate.burst = 1000;
    };
    let cloudly = Arc::new(Cloudly::start_with(engine, limits).await);
    let node = json!({ "name": "edge", "agentVersion": "0.1.0", "hardwareId": "hw-1" });
    let first = cloudly.join_token(json!({})).await;
    let answer = cloudly.register_as(&first, "reg-1", node.clone()).await;
    let mut device = Device::new(registered(answer).await);
    device.heartbeat(&cloudly).await;
    for round in 0..4 {
        // Of different tokens: what they have in common is the node.
        let mut tokens = Vec::new();
        for _ in 0..16 {
            tokens.push(cloudly.join_token(json!({ "allowReplace": true })).await);
        }
        let answers = at_once(&cloudly, 16, |cloudly, n| {
            let (token, node) = (tokens[n].clone(), node.clone());
            async move {
                cloudly
                    .register_as(&token, &format!("new-{round}-{n}"), node)
                    .await
            }
        })
        .await;
        assert_eq!(statuses(&answers), some(16, 0, 0));
        let mut devices = Vec::new();
        for answer in answers {
            devices.push(Device::new(registered(answer).await));
        }
        let beats = at_once(&cloudly, devices.len(), |cloudly, n| {
            let mut device = devices[n].clone();
            let beat = device.next(json!({}));
            async move { device.send(&cloudly, &beat).await }
        })
        .await;
        let first = beats.iter().position(|answer| answer.status() == StatusCode::OK);
        assert_eq!(statuses(&beats), [vec![200], vec![401; 15]].concat());
        devices[first.unwrap()].heartbeat(&cloudly).await;
        assert_eq!(nodes(&cloudly).await.len(), 1);
    }
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn repeated_registrations_and_first_heartbeats_leave_a_token_that_works(engine: Engine) {
    let cloudly = Arc::new(Cloudly::start(engine).await);
    let token = cloudly.join_token(json!({ "maxUses": 4 })).await;
    for round in 1..=4 {
        let registration = format!("reg-{round}");
        let device = cloudly.register_ok(&token, &registration).await;
        let answers = at_once(&cloudly, 12, |cloudly, n| {
            let (token, registration, mut device) = (token.clone(), registration.clone(), device.clone());
            async move {
                if n % 2 == 0 {
                    return cloudly.register(&token, &registration).await;
                }
                let heartbeat = device.next(json!({}));
                device.send(&cloudly, &heartbeat).await
            }
        })
        .await;
        let mut devices = vec![device];
        for (n, answer) in answers.into_iter().enumerate() {
            match answer.status().as_u16() {
                200 if n % 2 == 0 => devices.push(Device::new(registered(answer).await)),
                200 | 401 => {}
                other => panic!("{other}"),
            }
        }
        // Whichever is heard first, one of them is the node in the end.
        let mut works = 0;
        for _ in 0..2 {
            works = 0;
            for device in &mut devices {
                let heartbeat = device.next(json!({}));
                works += usize::from(device.send(&cloudly, &heartbeat).await.status() == StatusCode::OK);
            }
        }
        assert_eq!(works, 1);
        assert_eq!(
            (nodes(&cloudly).await.len(), uses(&cloudly).await),
            (round, round as u32)
        );
        cloudly.clock.advance(60);
    }
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_get_the_same_new_token_and_one_of_them_promotes_it(engine: Engine) {
    let limits = |settings: &mut Settings| settings.node_rate.burst = 1000;
    let cloudly = Arc::new(Cloudly::start_with(engine, limits).await);
    let mut device = cloudly.enrol("edge").await;
    device.heartbeat(&cloudly).await;
    for _ in 0..6 {
        cloudly.command(&device, json!({ "type": "rotateToken" })).await;
        let mut tokens = Vec::new();
        for answer in beats_at_once(&cloudly, &mut device).await {
            let answer: HeartbeatAnswer = answer.json().await.unwrap();
            tokens.push(answer.credentials.unwrap().node_token.expose().to_owned());
        }
        tokens.dedup();
        assert_eq!(tokens.len(), 1);
        let mut old = device.clone();
        device.token = tokens.remove(0);
        assert_eq!(statuses(&beats_at_once(&cloudly, &mut device).await), [200; 16]);
        assert_eq!(old.refused(&cloudly).await.code, "nodeTokenInvalid");
        device.heartbeat(&cloudly).await;
    }
}

/// Sixteen heartbeats of a device, the next ones of its run.
async fn beats_at_once(cloudly: &Arc<Cloudly>, device: &mut Device) -> Vec<Response> {
    let beats: Vec<_> = (0..16).map(|_| device.next(json!({}))).collect();
    at_once(cloudly, beats.len(), |cloudly, n| {
        let (device, beat) = (device.clone(), beats[n].clone());
        async move { device.send(&cloudly, &beat).await }
    })
    .await
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn a_late_node_and_a_new_one_do_not_both_get_a_use_that_is_given_back(engine: Engine) {
    let cloudly = Arc::new(Cloudly::start(engine).await);
    for round in 0..6 {
        let token = cloudly.join_token(json!({})).await;
        let late = cloudly.register_ok(&token, &format!("late-{round}")).await;
        cloudly.clock.advance(16 * 60);
        let answers = at_once(&cloudly, 9, |cloudly, n| {
            let (token, mut late) = (token.clone(), late.clone());
            async move {
                if n > 0 {
                    return cloudly.register(&token, &format!("new-{round}-{n}")).await;
                }
                let heartbeat = late.next(json!({}));
                late.send(&cloudly, &heartbeat).await
            }
        })
        .await;
        let answers = statuses(&answers);
        let taken = answers.iter().filter(|status| **status < 300).count();
        assert_eq!((taken, answers[8]), (1, 401), "{answers:?}");
        let tokens: Vec<JoinTokenRecord> = cloudly.list("join-tokens", 100).await;
        let this = tokens.iter().find(|record| token.contains(&record.id)).unwrap();
        assert_eq!(this.uses, 1);
    }
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn the_first_result_of_a_command_is_kept(engine: Engine) {
    let limits = |settings: &mut Settings| settings.node_rate.burst = 1000;
    let cloudly = Arc::new(Cloudly::start_with(engine, limits).await);
    let mut device = cloudly.enrol("edge").await;
    device.heartbeat(&cloudly).await;
    for _ in 0..6 {
        let one = cloudly.command(&device, json!({ "type": "checkNow" })).await;
        let two = cloudly.command(&device, json!({ "type": "checkNow" })).await;
        let beats: Vec<_> = (0..16)
            .map(|n| {
                let mut results = [&one.id, &two.id].map(|id| {
                    let at = "2026-11-23T12:00:00Z";
                    json!({ "id": id, "state": "succeeded", "finishedAt": at, "message": format!("{n}") })
                });
                // Whoever has one and waits for the other must not meet somebody who does the opposite.
                if n % 2 == 0 {
                    results.reverse();
                }
                device.next(json!({ "commandResults": results }))
            })
            .collect();
        let answers = at_once(&cloudly, beats.len(), |cloudly, n| {
            let (device, beat) = (device.clone(), beats[n].clone());
            async move { device.send(&cloudly, &beat).await }
        })
        .await;
        assert_eq!(statuses(&answers), [200; 16]);
        let path = format!("nodes/{}/commands", device.id);
        let commands: Vec<CommandRecord> = cloudly.list(&path, 10).await;
        let message = |at: usize| commands[at].result.clone().unwrap().message.unwrap();
        assert_eq!(message(0), message(1), "both are of the first heartbeat");
    }
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn no_more_commands_wait_than_may(engine: Engine) {
    let cloudly = Arc::new(Cloudly::start(engine).await);
    let device = cloudly.enrol("edge").await;
    let path = format!("nodes/{}/commands", device.id);
    let answers = at_once(&cloudly, 48, |cloudly, _| {
        let request = cloudly.admin(Method::POST, &path);
        async move { request.json(&json!({ "type": "checkNow" })).send().await.unwrap() }
    })
    .await;
    assert_eq!(statuses(&answers), some(32, 16, 409));
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_changes_for_the_same_revision_is_made(engine: Engine) {
    let cloudly = Arc::new(Cloudly::start(engine).await);
    let device = cloudly.enrol("edge").await;
    let revision = cloudly.set_target(COMMIT).await;
    let own = format!("nodes/{}/desired", device.id);
    // More than once: the first requests wait for connections to the database.
    for path in ["desired", &own, "desired", &own, "desired", "desired"] {
        let shown: Value = cloudly.get(path).await;
        let tag = format!("\"{}\"", shown["revision"]);
        let answers = at_once(&cloudly, 20, |cloudly, _| {
            let request = cloudly.admin(Method::PUT, path).header("If-Match", &tag);
            let request = request.json(&json!({ "commit": COMMIT }));
            async move { request.send().await.unwrap() }
        })
        .await;
        assert_eq!(statuses(&answers), [vec![200], vec![412; 19]].concat(), "{path}");
    }
    let all: Value = cloudly.get("desired").await;
    assert_eq!(all["revision"], revision + 6, "nothing else was issued");
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_distinct_and_the_last_one_holds(engine: Engine) {
    let cloudly = Arc::new(Cloudly::start(engine).await);
    let device = cloudly.enrol("edge").await;
    cloudly.create_release(COMMIT).await;
    let own = format!("nodes/{}/desired", device.id);
    let answers = at_once(&cloudly, 40, |cloudly, n| {
        let commit = json!({ "commit": COMMIT });
        let request = match n % 4 {
            0 => cloudly.admin(Method::DELETE, &own),
            1 => cloudly.admin(Method::PUT, "desired").json(&commit),
            _ => cloudly.admin(Method::PUT, &own).json(&commit),
        };
        async move { request.send().await.unwrap() }
    })
    .await;
    assert_eq!(statuses(&answers), [200; 40]);
    let (mut own_revisions, mut set) = (Vec::new(), Vec::new());
    for (n, answer) in answers.into_iter().enumerate() {
        let revision = answer.json::<Value>().await.unwrap()["revision"]
            .as_u64()
            .unwrap();
        if n % 4 != 1 {
            own_revisions.push(revision);
        }
        if n % 4 != 0 {
            set.push(revision);
        }
    }
    let highest = own_revisions.iter().max().copied().unwrap();
    let effective = cloudly.node(&device).await.desired_revision;
    let all = set.iter().max().copied().unwrap();
    assert!(
        effective == highest || effective == all,
        "{effective}: {highest}, {all}"
    );
    let issued = set.len();
    set.sort_unstable();
    set.dedup();
    assert_eq!(set.len(), issued);
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn of_two_releases_that_share_a_repository_one_is_stored(engine: Engine) {
    let cloudly = Arc::new(Cloudly::start(engine).await);
    for round in 0..8 {
        // By digest, each needs a repository of its own.
        let body = |commit: &str, digit: &str| {
            let mut release = release(&format!("{commit}{round}"));
            let digest = digit.repeat(64);
            for (name, service) in release["services"].as_object_mut().unwrap() {
                service["image"] = json!(format!("registry.example/{name}-{round}@sha256:{digest}"));
            }
            release
        };
        let bodies = [body(COMMIT, "1"), body(OTHER_COMMIT, "2")];
        let answers = at_once(&cloudly, 2, |cloudly, n| {
            let request = cloudly.admin(Method::POST, "releases").json(&bodies[n]);
            async move { request.send().await.unwrap() }
        })
        .await;
        assert_eq!(statuses(&answers), some(1, 1, 422));
    }
}

#[apply(each_engine)]
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_is_made_many_times_at_once_is_audited_once(engine: Engine) {
    let cloudly = Arc::new(Cloudly::start(engine).await);
    let device = cloudly.enrol("edge").await;
    let path = format!("nodes/{}/suspend", device.id);
    // The first round also opens the connections.
    for round in 1..=6 {
        let answers = at_once(&cloudly, 24, |cloudly, _| {
            let request = cloudly.admin(Method::POST, &path);
            async move { request.json(&json!({})).send().await.unwrap() }
        })
        .await;
        assert_eq!(statuses(&answers), [200; 24]);
        assert_eq!(count(&cloudly.audit().await, "node.suspended"), round);
        cloudly.decide(&device, "restore").await;
    }
}

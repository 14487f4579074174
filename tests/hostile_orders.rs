//! A Cloudly whose answers are well formed and whose orders are not to be followed: releases that would lose the
//! device, revisions that go back, commands without end, tokens that are none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "support/hostile.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod hostile;
#[path = "support/rig.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod rig;
#[path = "support/site.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod site;

use baseos_interfaces::token::TokenKind;
use baseos_simulator::harness::{Error, Version, wait_until};
use hostile::{Hostile, Reply, now};
use rig::{Rig, SOON, mint};
use serde_json::{Value, json};
use site::{Site, desired, first};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_would_lose_the_device_is_refused_and_never_posted() {
    let mut site = Site::start().await;
    type Change = fn(&mut Value);
    let bad: [(&str, &str, Change); 7] = [
        ("b1b1b1b1", "at least one service", |app| {
            app["services"] = json!({});
        }),
        ("b2b2b2b2", "lacks the service `baserunner`", |app| {
            drop(app["services"].as_object_mut().unwrap().remove("baserunner"));
        }),
        ("b3b3b3b3", "io.balena.features.supervisor-api", |app| {
            app["services"]["baserunner"]["labels"] = json!({});
        }),
        ("b4b4b4b4", "mounts no named volume", |app| {
            app["services"]["baserunner"]["composition"] = json!({});
        }),
        ("b5b5b5b5", "another definition", |app| {
            app["volumes"]["baseos"] = json!({ "driver_opts": { "type": "tmpfs", "device": "tmpfs" } });
        }),
        ("b6b6b6b6", "sets `image`", |app| {
            app["services"]["onebox"]["composition"] = json!({ "image": "other" });
        }),
        ("12345678", "one of the letters a to f", |_| {}),
    ];
    for (revision, (commit, reason, change)) in (1..).zip(bad) {
        let version = Version::new(commit, "2.0.0", "onebox:2");
        site.order(json!({ "desired": desired(revision, &version, change) }));
        let status = site
            .rig
            .wait(reason, |status| {
                status.observed_revision == revision && status.update.error.is_some()
            })
            .await
            .unwrap();
        let error = status.update.error.unwrap();
        assert!(error.message.contains(reason), "{error:?}");
        assert_eq!(error.code, "releaseRefused");
        let told = wait_until("Cloudly is told", SOON, async || {
            let said = |beat: &hostile::Asked| {
                let error = &beat.body["status"]["update"]["error"]["message"];
                error.as_str().is_some_and(|error| error.contains(reason))
            };
            if site.cloudly.beats().iter().any(said) {
                Ok(())
            } else {
                Err(String::new())
            }
        });
        told.await.unwrap();
        site.is_well().await;
    }
    assert_eq!(site.posts(), 0);
    // … and a good one is taken all the same.
    let good = Version::new("c1c1c1c1", "3.0.0", "onebox:2");
    site.order(json!({ "desired": desired(20, &good, |_| {}) }));
    site.rig
        .wait("the good one runs", |status| {
            status.running.as_deref() == Some("c1c1c1c1")
        })
        .await
        .unwrap();
    assert_eq!(site.posts(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_that_is_lower_or_repeated_changes_nothing_unless_it_is_a_reset() {
    let mut site = Site::start().await;
    let new = Version::new("b2b2b2b2", "2.0.0", "onebox:2");
    site.order(json!({ "desired": desired(43, &new, |_| {}) }));
    site.rig
        .wait("2.0.0 runs", |status| {
            status.running.as_deref() == Some("b2b2b2b2") && status.state.as_str() == "idle"
        })
        .await
        .unwrap();
    assert_eq!(site.posts(), 1);
    for revision in [43, 42, 0, 41, 43, 1] {
        site.order(json!({ "desired": desired(revision, &first(), |_| {}) }));
        site.heard(1).await;
    }
    let status = site.rig.api().status().await.unwrap();
    assert_eq!((status.observed_revision, site.posts()), (43, 1), "{status:?}");
    let mut reset = desired(7, &first(), |_| {});
    reset["reset"] = json!(true);
    site.order(json!({ "desired": reset }));
    site.rig
        .wait("back at 1.0.0", |status| {
            status.observed_revision == 7 && status.running.as_deref() == Some("a1a1a1a1")
        })
        .await
        .unwrap();
    site.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_executed_once_however_often_it_comes() {
    let mut site = Site::start().await;
    let command = json!({ "id": "cmd_1", "type": "restartService", "issuedAt": now(), "params": { "service": "onebox" } });
    site.order(json!({ "commands": vec![command.clone(); 50] }));
    let path = "/v2/applications/1/restart-service";
    wait_until("it is executed", SOON, async || {
        let done = site.device.count("POST", path);
        if done > 0 {
            Ok(())
        } else {
            Err(format!("{done} times"))
        }
    })
    .await
    .unwrap();
    site.heard(3).await;
    // A new process knows it too.
    site.rig.kill().await;
    site.rig.start().await;
    site.heard(3).await;
    assert_eq!(site.device.count("POST", path), 1);
    let results: Vec<_> = site
        .cloudly
        .beats()
        .iter()
        .filter_map(|beat| beat.body["commandResults"].as_array().cloned())
        .flatten()
        .collect();
    assert!(
        !results.is_empty() && results.iter().all(|result| result["id"] == "cmd_1"),
        "{results:?}"
    );
    site.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_cloudly_says_is_accepted() {
    let mut site = Site::start().await;
    let newer = Version::new("b2b2b2b2", "2.0.0", "onebox:2");
    let mut wish = desired(5, &newer, |app| {
        app["policy"]["onFailure"] = json!("explode");
        app["policy"]["moon"] = json!("full");
        app["services"]["onebox"]["signature"] = json!([1, 2, 3]);
        app["colour"] = json!({ "of": "the release" });
    });
    wish["hostOs"] = json!({ "version": "99", "anything": [true] });
    let commands = json!([
        { "id": "cmd_new", "type": "levitate", "issuedAt": now(), "params": { "metres": 3 }, "by": "me" },
        { "id": "cmd_bare", "type": "levitate", "issuedAt": now() },
    ]);
    let members = json!({ "desired": wish, "commands": commands, "approval": "maybe", "weather": ["fine", null, 7.5e300] });
    site.order(members);
    site.rig
        .wait("2.0.0 runs", |status| {
            status.running.as_deref() == Some("b2b2b2b2") && status.cloudly.connected
        })
        .await
        .unwrap();
    let failed = |beat: &hostile::Asked| {
        let results = beat.body["commandResults"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        results.len() == 2 && results.iter().all(|result| result["state"] == "failed")
    };
    assert!(
        site.cloudly.beats().iter().any(failed),
        "{:?}",
        site.cloudly.beats()
    );
    site.is_well().await;
}

/// A token that is none is not stored, and the old one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_that_is_garbage_is_kept_out() {
    let mut site = Site::start().await;
    let wrong_kind = mint(TokenKind::Admin).expose().to_owned();
    let mut typo = mint(TokenKind::Node).expose().to_owned();
    typo.pop();
    typo.push('!');
    let before = site.rig.state()["credentials"].clone();
    for garbage in ["", "null", "szn_", wrong_kind.as_str(), typo.as_str(), "ü\u{0}\n"] {
        site.order(json!({ "credentials": { "nodeToken": garbage } }));
        site.heard(2).await;
    }
    let token = format!("Bearer {}", site.cloudly.node_token().expose());
    assert!(
        site.cloudly
            .beats()
            .iter()
            .all(|beat| beat.authorization.as_deref() == Some(&token))
    );
    assert_eq!(site.rig.state()["credentials"], before);
    assert!(!site.rig.log().contains(&typo[15..40]), "{}", site.rig.tail());
    // A good one is taken, beside the old one until it was accepted.
    let good = mint(TokenKind::Node);
    site.order(json!({ "credentials": { "nodeToken": good.expose() } }));
    let token = format!("Bearer {}", good.expose());
    wait_until("it is used", SOON, async || {
        let used = site
            .cloudly
            .beats()
            .last()
            .and_then(|beat| beat.authorization.clone());
        if used.as_deref() == Some(&token) {
            Ok(())
        } else {
            Err(format!("{used:?}"))
        }
    })
    .await
    .unwrap();
    site.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interval_of_nothing_or_of_centuries_is_not_obeyed() {
    let mut site = Site::start().await;
    site.order(json!({ "nextHeartbeatSeconds": 0 }));
    let (begin, before) = (site.cloudly.time(), site.cloudly.beats().len());
    wait_until("four seconds pass", SOON, async || {
        let passed = site.cloudly.time() - begin;
        if passed > Duration::from_secs(4) {
            Ok(())
        } else {
            Err(format!("{passed:?}"))
        }
    })
    .await
    .unwrap();
    let beats = site.cloudly.beats().len() - before;
    assert!((2..=7).contains(&beats), "{beats} heartbeats in four seconds");
    // Beyond what the wire type holds: no answer, so the back-off decides and the device comes back soon.
    site.order(json!({ "nextHeartbeatSeconds": u64::MAX }));
    site.rig
        .wait("that is no answer", |status| status.cloudly.error.is_some())
        .await
        .unwrap();
    // The longest the type holds is believed as a day, and a local wish does not wait for it.
    site.order(json!({ "nextHeartbeatSeconds": u32::MAX }));
    site.rig
        .wait("connected", |status| status.cloudly.connected)
        .await
        .unwrap();
    site.cloudly.behave();
    let before = site.cloudly.beats().len();
    site.rig
        .api()
        .call("POST", "/v1/update/check", None)
        .await
        .unwrap();
    wait_until("a heartbeat at once", SOON, async || {
        if site.cloudly.beats().len() > before {
            Ok(())
        } else {
            Err(String::new())
        }
    })
    .await
    .unwrap();
    site.is_well().await;
}

/// The agent's own deadlines: 30 s for a call, 15 s without progress.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_byte_by_byte_or_never_ends_with_the_deadline() {
    let slow = async |reply: Reply| -> Result<(), Error> {
        let cloudly = Hostile::start().await;
        let mut rig = Rig::new().with_cloudly(&cloudly.url(), &cloudly.join);
        rig.start().await;
        rig.wait("connected", |status| status.cloudly.connected).await?;
        cloudly.always("/heartbeat", reply);
        let slow = wait_until("the deadline", 3 * SOON, async || {
            let status = rig.api().status().await.map_err(|error| error.to_string())?;
            status.cloudly.error.ok_or_else(|| "no error yet".to_owned())
        });
        let error = slow.await?;
        cloudly.behave();
        rig.wait("connected again", |status| status.cloudly.connected)
            .await?;
        assert!(error.contains("did not answer in time"), "{error}");
        rig.is_well().await
    };
    let drip = hostile::raw("200 OK", "Content-Type: application/json\r\n", " ".repeat(5000));
    let Reply::Raw(drip) = drip else { unreachable!() };
    let hours = Duration::from_secs(3600);
    let (one, two) = tokio::join!(
        slow(Reply::Drip(drip, Duration::from_millis(100))),
        slow(Reply::Drip(b"HT".to_vec(), hours)),
    );
    one.unwrap();
    two.unwrap();
}

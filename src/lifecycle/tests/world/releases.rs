//! The releases of this world.

use super::{MAX_ATTEMPTS, PolicyKind};
use baseos_interfaces::desired::{DesiredApp, Force, OnFailure, Policy, Release, Service, Slot};
use std::collections::BTreeMap;

/// The commit of a numbered release.
pub(crate) fn commit(number: u8) -> String {
    format!("{}{number}", char::from(b'a' + number - 1)).repeat(16)
}

/// A numbered release: 1 runs from the start, 2 and 4 are good, 3 is bad by nature, 5 lacks the agent itself.
pub(crate) fn release(number: u8) -> Release {
    let service = |image: &str, mount: bool| Service {
        labels: BTreeMap::from([("io.balena.features.supervisor-api".to_owned(), "1".to_owned())]),
        composition: match mount {
            true => serde_json::from_str(r#"{"volumes": ["baseos:/data/baseos"]}"#).unwrap(),
            false => serde_json::Map::new(),
        },
        ..Service::of_image(format!("registry.example/{image}:1.{number}.0"))
    };
    let mut services = BTreeMap::from([("onebox".to_owned(), service("onebox", false))]);
    if number != 5 {
        services.insert("baserunner".to_owned(), service("baserunner", true));
    }
    Release {
        release_id: format!("rel_{number}"),
        commit: commit(number),
        version: Some(format!("1.{number}.0")),
        agent_service: None,
        services,
        volumes: BTreeMap::from([("baseos".to_owned(), serde_json::Map::new())]),
        networks: BTreeMap::new(),
    }
}

pub(crate) fn desired_app(number: u8, rule: PolicyKind) -> DesiredApp {
    let mut policy = Policy {
        max_attempts: MAX_ATTEMPTS,
        health_seconds: 30,
        apply_timeout_seconds: 600,
        ..Policy::default()
    };
    let mut slot = None;
    let mut wanted = release(number);
    match rule {
        PolicyKind::Plain => {}
        PolicyKind::ReportOnly => policy.on_failure = OnFailure::Report,
        PolicyKind::BreaksAgent => {
            let agent = wanted.services.get_mut("baserunner");
            drop(agent.map(|agent| agent.environment.insert("BROKEN".into(), "x".into())));
        }
        PolicyKind::NeedsRollback => policy.require_rollback = true,
        PolicyKind::NeedsApproval => policy.require_local_approval = true,
        PolicyKind::NoSlot => {
            slot = Some(Slot {
                granted: false,
                lease_expires_at: None,
            });
        }
        PolicyKind::Forced => {
            policy.force = Some(Force {
                by: "ops".into(),
                reason: "now".into(),
                expires_at: None,
            });
        }
    }
    DesiredApp {
        release: wanted,
        rollout_id: Some("rol_1".into()),
        slot,
        policy,
    }
}

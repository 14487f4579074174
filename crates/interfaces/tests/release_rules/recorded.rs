//! The rules against what the real Supervisor answered: recorded posts of a target and their status.

use baseos_interfaces::codes::FieldCode;
use baseos_interfaces::desired::Service;
use baseos_interfaces::rules::{ReleaseParts, Violation, check_release};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A recorded post of one app, as a release.
struct Posted {
    place: String,
    status: u64,
    answer: String,
    commit: String,
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Map<String, Value>>,
    networks: BTreeMap<String, Map<String, Value>>,
}

fn texts(value: &Value) -> Option<BTreeMap<String, String>> {
    serde_json::from_value(value.clone()).ok()
}

fn definitions(value: Option<&Value>) -> Option<BTreeMap<String, Map<String, Value>>> {
    value.map_or(Some(BTreeMap::new()), |value| {
        serde_json::from_value(value.clone()).ok()
    })
}

/// The post as a release; `None` when a release cannot express it (a member is missing or of another type).
fn posted(place: String, line: &Value) -> Option<Posted> {
    let apps = line.pointer("/body/local/apps")?.as_object()?;
    let app = apps.values().next().filter(|_| apps.len() == 1)?;
    let mut services = BTreeMap::new();
    for service in app.get("services")?.as_object()?.values() {
        let mut composition = service.as_object()?.clone();
        let mut take = |name: &str| composition.remove(name);
        let name = take("serviceName")?.as_str()?.to_owned();
        take("imageId")?;
        let image = take("image")?.as_str()?.to_owned();
        let environment = texts(&take("environment")?)?;
        let labels = texts(&take("labels")?)?;
        let service = Service {
            image,
            environment,
            labels,
            composition,
            size_bytes: None,
            platforms: BTreeMap::new(),
        };
        services.insert(name, service);
    }
    app.get("releaseId")?;
    app.get("name")?;
    Some(Posted {
        place,
        status: line.get("status")?.as_u64()?,
        answer: line.pointer("/resp/message")?.as_str()?.to_owned(),
        commit: app.get("commit")?.as_str()?.to_owned(),
        services,
        volumes: definitions(app.get("volumes"))?,
        networks: definitions(app.get("networks"))?,
    })
}

fn recorded() -> Vec<Posted> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../simulator/recordings");
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let line: Value = serde_json::from_str(line).unwrap();
            let target = line["method"] == "POST" && line["path"] == "/v2/local/target-state";
            let place = format!("{} line {}", path.display(), number + 1);
            all.extend(
                Some(line)
                    .filter(|_| target)
                    .and_then(|line| posted(place, &line)),
            );
        }
    }
    all
}

/// The rules a release breaks beside those that only the agent's service has to keep: the recorded releases have none.
fn violations(posted: &Posted) -> Vec<Violation> {
    let services = posted.services.iter();
    let services = services.map(|(name, service)| (name.as_str(), service.into()));
    let parts = ReleaseParts {
        commit: &posted.commit,
        version: None,
        services: services.collect(),
        volumes: &posted.volumes,
        networks: &posted.networks,
        agent_service: "baserunner",
    };
    let all = check_release(parts).map_or_else(|all| all.iter().cloned().collect(), |()| Vec::new());
    all.into_iter()
        .filter(|violation| violation.code != FieldCode::AgentServiceMissing)
        .collect()
}

#[test]
fn what_the_supervisor_was_seen_to_take_breaks_no_rule() {
    let mut taken = 0;
    for posted in recorded().iter().filter(|posted| posted.status == 200) {
        taken += 1;
        assert_eq!(violations(posted), [], "{}", posted.place);
    }
    assert!(taken >= 10, "{taken} recorded");
}

#[test]
fn what_the_supervisor_was_seen_to_refuse_of_a_release_breaks_a_rule() {
    let mut refused = 0;
    // What else it refused of a target, ids and configuration, does not come out of a release.
    let of_a_release = |answer: &str| answer.contains(".labels.") || answer.contains(".image but");
    for posted in recorded()
        .iter()
        .filter(|posted| posted.status == 400 && of_a_release(&posted.answer))
    {
        refused += 1;
        assert_ne!(violations(posted), [], "{}", posted.place);
    }
    assert!(refused >= 2, "{refused} recorded");
}

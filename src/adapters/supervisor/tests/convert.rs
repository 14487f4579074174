//! A target read back and written as a release is the same target when it is posted again.

use crate::adapters::supervisor::convert::present_release;
use crate::adapters::supervisor::wire::TargetState;
use crate::lifecycle::facts::PresentRelease;
use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{Config, LocksInMemory, Registry, Reply, Request, Supervisor};
use serde_json::{Value, json};
use std::time::Duration;

const RECORDED: &str = include_str!("../../../../crates/simulator/recordings/u04-get-target.jsonl");
const POSTED: &str = include_str!("../../../../crates/simulator/recordings/u05-features.jsonl");

fn convert(answer: &Value) -> Result<PresentRelease, String> {
    let target: TargetState = serde_json::from_value(answer.clone()).unwrap();
    let (id, app) = target.state.local.apps.into_iter().next().unwrap();
    present_release(id.parse().unwrap(), &app)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What was posted is in it; besides only what the image and the device give, spelled out.
#[test]
fn the_recorded_target_of_a_device_is_the_release_that_was_posted() {
    let present = convert(&lines(RECORDED)[1]["resp"]).unwrap();
    let posts = lines(POSTED);
    let posted = &posts.last().unwrap()["body"]["local"]["apps"]["1"];
    for service in posted["services"].as_object().unwrap().values() {
        let mine = &present.services[service["serviceName"].as_str().unwrap()];
        assert_eq!(mine.image, service["image"].as_str().unwrap());
        assert_eq!(json!(mine.labels), service["labels"]);
        for (name, value) in service["environment"].as_object().unwrap() {
            assert_eq!(mine.environment[name], *value);
        }
        let set_by_supervisor = |name: &String| name.starts_with("BALENA") || name.starts_with("RESIN");
        assert!(
            !mine.environment.keys().any(set_by_supervisor),
            "{:?}",
            mine.environment
        );
        let taken_apart = ["serviceName", "imageId", "image", "environment", "labels"];
        for (key, value) in service.as_object().unwrap() {
            match key.as_str() {
                key if taken_apart.contains(&key) => {}
                "restart" if value == "always" => {}
                "ports" => assert_eq!(mine.composition[key], json!(["8099:80/tcp"])),
                _ => assert_eq!(mine.composition[key], *value, "{key}"),
            }
        }
        for key in mine.composition.keys() {
            let given = service.get(key).is_some();
            let spelled_out = [
                "command",
                "entrypoint",
                "working_dir",
                "user",
                "hostname",
                "stop_signal",
            ];
            assert!(given || spelled_out.contains(&key.as_str()), "{key}");
        }
    }
    assert_eq!(
        present.volumes["bindvol"]["driver_opts"],
        posted["volumes"]["bindvol"]["driver_opts"]
    );
    assert!(present.volumes["data"].is_empty() && present.networks.is_empty());
}

fn request(supervisor: &mut Supervisor, request: &Request) -> Value {
    match supervisor.handle(Duration::ZERO, request) {
        Reply::Answer(answer) if answer.status == 200 => serde_json::from_str(&answer.body).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// What the simulated Supervisor makes of a post.
fn target_of(body: &Value) -> Value {
    let mut supervisor = Supervisor::new(
        Config::default(),
        Registry::default(),
        Box::new(LocksInMemory::default()),
    );
    let text = Json::parse(body.to_string().as_bytes()).unwrap().to_text();
    request(&mut supervisor, &Request::post_target(text.into_bytes()));
    let get = Request {
        method: "GET".into(),
        path: "/v2/local/target-state".into(),
        ..Request::default()
    };
    request(&mut supervisor, &get)
}

fn body_of(present: &PresentRelease, like: &Value) -> Value {
    let mut body = like.clone();
    let app = &mut body["local"]["apps"]["1"];
    app["volumes"] = json!(present.volumes);
    app["networks"] = json!(present.networks);
    for service in app["services"].as_object_mut().unwrap().values_mut() {
        let mine = &present.services[service["serviceName"].as_str().unwrap()];
        let mut posted = mine.composition.clone();
        posted.insert("serviceName".into(), service["serviceName"].clone());
        posted.insert("imageId".into(), service["imageId"].clone());
        posted.insert("image".into(), json!(mine.image));
        posted.insert("environment".into(), json!(mine.environment));
        posted.insert("labels".into(), json!(mine.labels));
        *service = posted.into();
    }
    body
}

#[test]
fn a_converted_target_that_is_posted_again_is_the_same_target() {
    for line in lines(POSTED).iter().filter(|line| line["method"] == "POST") {
        let first = target_of(&line["body"]);
        let present = convert(&first).unwrap();
        let again = target_of(&body_of(&present, &line["body"]));
        assert_eq!(first, again);
        assert_eq!(convert(&again).unwrap(), present);
    }
}

/// The recorded target with one member of a service's configuration changed.
fn with(key: &str, value: Value) -> Result<PresentRelease, String> {
    let mut answer = lines(RECORDED)[1]["resp"].clone();
    answer["state"]["local"]["apps"]["1"]["services"][1]["config"][key] = value;
    convert(&answer)
}

#[test]
fn what_would_be_lost_is_named() {
    for (key, value, why) in [
        (
            "blkioConfig",
            json!({ "weight": 1 }),
            "`blkioConfig` cannot be written in a release",
        ),
        ("volumes", json!(["/etc:/etc"]), "a mount of another app"),
        (
            "volumes",
            json!([{ "type": "bind", "source": "/etc", "target": "/etc" }]),
            "a mount of the host",
        ),
        ("networks", json!({ "1_net": {} }), "its network `1_net`"),
        ("running", json!(false), "`running`"),
        ("cpus", json!(5), "`cpus`"),
    ] {
        let error = with(key, value).map(drop);
        let error = error.expect_err(key);
        assert!(
            error.starts_with("service `side`") && error.contains(why),
            "{key}: {error}"
        );
    }
}

#[test]
fn what_was_posted_in_another_form_is_posted_in_the_form_that_is_read() {
    let composition =
        |key: &str, value: Value| with(key, value).unwrap().services["side"].composition.clone();
    assert_eq!(composition("restart", json!(""))["restart"], "no");
    assert_eq!(
        composition("stopGracePeriod", json!(30))["stop_grace_period"],
        "30s"
    );
    assert_eq!(composition("readOnly", json!(true))["read_only"], true);
    assert_eq!(composition("tty", json!(false))["tty"], false);
    let check = composition(
        "healthcheck",
        json!({ "test": ["CMD", "x"], "interval": 1_000_000_000_u64 }),
    );
    assert_eq!(
        check["healthcheck"],
        json!({ "test": ["CMD", "x"], "interval": "1000000000ns" })
    );
    let device = json!([{ "PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rwm" }]);
    assert_eq!(
        composition("devices", device)["devices"],
        json!(["/dev/a:/dev/b:rwm"])
    );
    let range = json!([{ "ports": { "internalStart": 1, "internalEnd": 2, "externalStart": 3, "externalEnd": 4,
        "host": "127.0.0.1", "protocol": "udp" } }]);
    assert_eq!(
        composition("portMaps", range)["ports"],
        json!(["127.0.0.1:3-4:1-2/udp"])
    );
}

#[test]
fn no_token_and_no_key_of_the_supervisor_is_taken_over() {
    let mut environment =
        json!({ "BASEOS_JOIN_TOKEN": "szj_secret", "BALENA_SUPERVISOR_API_KEY": "k", "A": "b" });
    let kept = with("environment", environment.clone()).unwrap();
    assert_eq!(json!(kept.services["side"].environment), json!({ "A": "b" }));
    assert!(!format!("{kept:?}").contains("\"b\""), "values are not shown");
    environment["B"] = "szn_secret".into();
    let error = with("environment", environment).unwrap_err();
    assert!(
        error.contains("`B` holds a token") && !error.contains("secret"),
        "{error}"
    );
}

//! The oracle against the recordings of the real Supervisor.

use super::oracle::{Target, consequences, read};
use serde_json::Value;

/// The lines of a recording with this path.
fn lines(recording: &str, path: &str) -> Vec<Value> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/simulator/recordings");
    let text = std::fs::read_to_string(format!("{dir}/{recording}.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line: &Value| line["path"] == path).collect()
}

/// What the oracle makes of every post of a recording that was accepted.
fn all_posted(recording: &str) -> Vec<Target> {
    let posts = lines(recording, "/v2/local/target-state");
    let taken = posts
        .iter()
        .filter(|line| line["method"] == "POST" && line["status"] == 200);
    taken.map(|line| read(&line["body"]).unwrap()).collect()
}

fn posted(recording: &str) -> Target {
    all_posted(recording).pop().unwrap()
}

/// The recorded answer has, beside what was posted, what image, device and feature labels add.
#[test]
fn the_oracle_makes_of_a_post_what_the_supervisor_made_of_it() {
    let answers = lines("u04-get-target", "/v2/local/target-state");
    let mut compared = 0;
    for (post, answer) in ["u02-target", "u05-features"].iter().zip(&answers) {
        let app = &answer["resp"]["state"]["local"]["apps"]["1"];
        let expected = &posted(post).apps[&1];
        assert_eq!(app["commit"], expected.commit.as_str(), "{post}");
        for service in app["services"].as_array().unwrap() {
            let mine = &expected.services[service["serviceName"].as_str().unwrap()];
            assert_eq!(service["serviceId"], mine.id);
            assert_eq!(service["imageId"], mine.image_id);
            assert_eq!(service["releaseId"], mine.release_id);
            assert_eq!(service["imageName"], mine.image.as_str());
            assert_eq!(service["dependsOn"], mine.depends_on);
            let config = &service["config"];
            for (key, value) in &mine.config {
                match (key.as_str(), value) {
                    // The engine's id; host port maps are given in another form.
                    ("image" | "ports", _) => {}
                    ("volumes", Value::Array(volumes)) => {
                        let seen = config[key].as_array().unwrap();
                        assert_eq!(seen[..volumes.len()], volumes[..], "{post} volumes");
                    }
                    ("environment", Value::Object(variables)) => {
                        for (name, value) in variables {
                            assert_eq!(config[key][name], *value, "{post} {name}");
                        }
                    }
                    _ => assert_eq!(config[key], *value, "{post} {key}"),
                }
                compared += 1;
            }
        }
        for volume in app["volumes"].as_array().unwrap() {
            let mine = &expected.volumes[volume["name"].as_str().unwrap()];
            assert_eq!(volume["config"], *mine, "{post}");
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn the_oracle_wipes_the_volume_that_the_supervisor_wiped() {
    let seen = consequences(&posted("u05-features"), &posted("u04-volume-change"));
    assert_eq!(seen.wiped, ["data".to_owned()].into());
    assert!(seen.removed.is_empty() && seen.removed_apps.is_empty());
}

#[test]
fn the_oracle_keeps_what_the_supervisor_kept_and_removes_what_it_removed() {
    assert_eq!(
        consequences(&posted("u05-features"), &posted("u05-features")),
        super::oracle::Consequences::default()
    );
    let posts = all_posted("u04-removal");
    let without_a_service = consequences(&posted("u05-features"), &posts[0]);
    assert_eq!(without_a_service.removed, ["side".to_owned()].into());
    assert_eq!(
        without_a_service.remade,
        ["main".to_owned()].into(),
        "without its volumes"
    );
    assert!(
        without_a_service.wiped.is_empty(),
        "volumes that are left out are kept"
    );
    assert_eq!(consequences(&posts[1], &posts[2]).removed_apps, [1].into());
}

/// What the Supervisor answered to each recorded post of one app.
#[test]
fn the_oracle_refuses_what_the_supervisor_refused() {
    let (mut refused, mut taken) = (0, 0);
    for line in lines("u05-body-matrix", "/v2/local/target-state") {
        let apps = line["body"]["local"]["apps"].as_object();
        if apps.is_none_or(|apps| apps.len() != 1)
            || line["error"].as_str().is_some_and(|e| e.contains("refused"))
        {
            continue;
        }
        let text = line["resp"]["message"].as_str().unwrap_or("");
        // The names of labels and variables and the configuration are checked by others.
        if text.contains("LabelName at") || text.contains(".config") || text.contains("Expecting string at") {
            continue;
        }
        match line["status"].as_u64() {
            Some(200) => {
                taken += 1;
                assert!(read(&line["body"]).is_ok(), "{line}");
            }
            _ => {
                refused += 1;
                assert!(read(&line["body"]).is_err(), "{line}");
            }
        }
    }
    assert!(refused >= 5 && taken >= 2, "{refused} refused, {taken} taken");
}

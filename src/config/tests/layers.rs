//! Where values are taken from.

use super::*;
use crate::telemetry::logs::LogFormat;
use crate::vault::Endpoint;
use std::time::Duration;

#[test]
fn an_empty_environment_gives_the_defaults() {
    let settings = load_env(&[]).unwrap();
    assert_eq!(settings.state_dir, Path::new("/data/baseos"));
    assert_eq!(settings.lock_dir, Path::new("/tmp/balena"));
    assert_eq!(settings.api, ApiAddress::Unix("/run/baserunner/api.sock".into()));
    assert_eq!(settings.api_hosts, ["localhost", "127.0.0.1"]);
    assert_eq!(settings.supervisor_poll, Duration::from_secs(30));
    assert_eq!(
        (settings.reserve_bytes, settings.journal_bytes),
        (64 << 20, 1 << 20)
    );
    assert_eq!(
        (settings.service.as_str(), settings.log.to_string().as_str()),
        ("baserunner", "info")
    );
    assert_eq!(settings.log_format, LogFormat::Text);
    assert!(settings.cloudly.is_none() && settings.join.is_none() && settings.supervisor.is_none());
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn a_later_layer_wins_and_the_effective_value_names_it() {
    let file = "log = \"warn\"\nrun_dir = \"/from/file\"\nstate_dir = \"/from/file\"\n";
    let env = [
        ("BASEOS_RUN_DIR", "/from/env"),
        ("BASEOS_STATE_DIR", "/from/env"),
        ("BASEOS_NODE_NAME", "n"),
    ];
    let overrides = Overrides {
        state_dir: Some("/from/flag".into()),
        ..Overrides::default()
    };
    let settings = load_all(file, &env, &overrides).unwrap();
    assert_eq!(settings.log.to_string(), "warn");
    assert_eq!(settings.run_dir, Path::new("/from/env"));
    assert_eq!(settings.state_dir, Path::new("/from/flag"));
    let source = |key| effective(&settings, key).1;
    assert!(source("BASEOS_LOG").unwrap().starts_with("file "));
    assert_eq!(source("BASEOS_RUN_DIR").as_deref(), Some("environment"));
    assert_eq!(source("BASEOS_STATE_DIR").as_deref(), Some("command line"));
    assert_eq!(source("BASEOS_LOG_FORMAT").as_deref(), Some("default"));
    assert_eq!(effective(&settings, "BASEOS_CLOUDLY_URL"), (None, None));
    assert_eq!(
        effective(&settings, "BASEOS_AGENT_URL").0.as_deref(),
        Some("unix:///from/env/api.sock")
    );
    assert_eq!(settings.effective().len(), SPECS.len());
}

#[test]
fn every_flag_overrides_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.toml");
    fs::write(&path, "node_name = \"from the other file\"").unwrap();
    let overrides = Overrides {
        state_dir: Some("/s".into()),
        run_dir: Some("/r".into()),
        log: Some("debug".into()),
        log_format: Some("json".into()),
        config: Some(path),
    };
    let settings = load_all("node_name = 'x'", &[("BASEOS_LOG", "warn")], &overrides).unwrap();
    assert_eq!(settings.node_name.as_deref(), Some("from the other file"));
    assert_eq!(
        (settings.log.to_string().as_str(), settings.log_format),
        ("debug", LogFormat::Json)
    );
    assert_eq!((settings.state_dir, settings.run_dir), ("/s".into(), "/r".into()));
}

#[test]
fn an_empty_or_blank_variable_counts_as_unset() {
    let settings = load_env(&[
        ("BASEOS_LOG", ""),
        ("BASEOS_JOIN_TOKEN", " "),
        ("BASEOS_CLOUDLY_URL", ""),
    ])
    .unwrap();
    assert!(settings.log.to_string() == "info" && settings.join.is_none() && settings.cloudly.is_none());
}

#[test]
fn the_file_accepts_strings_numbers_lists_and_tables() {
    let settings = load_file(
        "reserve_bytes = 1048576\nallow_http = true\ncloudly_url = \"http://localhost:8080/\"\n\
         api_hosts = [\"LOCALHOST\", \"box\"]\nagent_url = \"http://127.0.0.1:7000\"\n\
         [labels]\nsite = \"berlin\"\nrack = \"4\"\n",
    )
    .unwrap();
    assert_eq!(settings.reserve_bytes, 1 << 20);
    assert_eq!(settings.cloudly.unwrap().url, "http://localhost:8080");
    assert_eq!(settings.api_hosts, ["localhost", "box"]);
    assert_eq!(settings.api, ApiAddress::Tcp("127.0.0.1:7000".parse().unwrap()));
    assert_eq!(settings.labels.len(), 2);
    assert_eq!(settings.labels["site"], "berlin");
}

#[test]
fn a_missing_file_is_an_error_only_when_its_path_is_set() {
    let env = |path: &str| {
        [("BASEOS_CONFIG".to_owned(), path.to_owned())]
            .into_iter()
            .collect::<Environment>()
    };
    let errors = load(&env("/nonexistent/config.toml"), &Overrides::default()).unwrap_err();
    assert_eq!(errors.0[0].key, "/nonexistent/config.toml");
    let mut wrong = file::Wrong::default();
    file::read(Path::new("/nonexistent/config.toml"), false, &mut wrong);
    assert!(wrong.errors.is_empty() && wrong.problems.is_empty());
}

#[test]
fn a_configured_cloudly_overrides_the_stored_one() {
    let stored = Endpoint {
        url: "https://stored.example".into(),
        ca_pem: None,
        allow_http: false,
    };
    let settings = load_env(&[]).unwrap();
    assert_eq!(
        settings.cloudly_or_stored(Some(stored.clone())),
        Some(stored.clone())
    );
    assert_eq!(settings.cloudly_or_stored(None), None);
    let settings = load_env(&[
        ("BASEOS_CLOUDLY_URL", "https://new.example/base/"),
        ("BASEOS_CLOUDLY_CA", PEM),
    ])
    .unwrap();
    let used = settings.cloudly_or_stored(Some(stored)).unwrap();
    assert_eq!(
        (used.url.as_str(), used.ca_pem.as_deref()),
        ("https://new.example/base", Some(PEM.trim()))
    );
}

#[test]
fn the_variables_of_the_supervisor_are_read() {
    let settings = load_env(&[
        ("BALENA_SUPERVISOR_ADDRESS", "http://10.114.104.1:48484"),
        ("BALENA_SUPERVISOR_API_KEY", "k"),
        ("BALENA_APP_ID", "4242"),
        ("BALENA_SERVICE_NAME", "agent"),
        ("BALENA_DEVICE_UUID", "9d59"),
        ("BALENA_DEVICE_TYPE", "generic-amd64"),
        ("BALENA_DEVICE_ARCH", "amd64"),
        ("BALENA_HOST_OS_VERSION", "balenaOS 6.5.24+rev1"),
        ("SERVEZONE_RUNTIME", "baseos"),
    ])
    .unwrap();
    assert_eq!(
        settings.supervisor.as_ref().unwrap().address,
        "http://10.114.104.1:48484"
    );
    assert_eq!(
        (settings.app_id, settings.service.as_str()),
        (Some(4242), "agent")
    );
    assert_eq!(settings.device.os_name.as_deref(), Some("balenaOS"));
    assert_eq!(settings.device.os_version.as_deref(), Some("6.5.24+rev1"));
    assert_eq!(settings.device.architecture.as_deref(), Some("amd64"));
    assert_eq!(settings.runtime.as_deref(), Some("baseos"));
    assert_eq!(effective(&settings, "BASEOS_SERVICE").0.as_deref(), Some("agent"));
    let configured = load_env(&[("BALENA_SERVICE_NAME", "agent"), ("BASEOS_SERVICE", "other")]).unwrap();
    assert_eq!(configured.service, "other");
}

#[test]
fn certificates_are_read_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    fs::write(&path, PEM).unwrap();
    let path = path.to_string_lossy();
    let settings = load_env(&[
        ("BASEOS_CLOUDLY_URL", "https://c.example"),
        ("BASEOS_CLOUDLY_CA", &path),
    ])
    .unwrap();
    assert_eq!(settings.cloudly.as_ref().unwrap().ca_pem.as_deref(), Some(PEM));
    assert_eq!(
        effective(&settings, "BASEOS_CLOUDLY_CA").0.as_deref(),
        Some(&*path)
    );
}

#[test]
fn variables_of_other_programs_are_not_kept() {
    let env: Environment = [("PATH", "/bin"), ("BASEOS_LOG", "info")].into_iter().collect();
    assert_eq!((env.get("PATH"), env.get("BASEOS_LOG")), (None, Some("info")));
}

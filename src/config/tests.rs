use super::*;
use crate::vault::Endpoint;
use baseos_interfaces::token::{Token, TokenKind};
use proptest::prelude::*;
use std::fs;
use std::time::Duration;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// A configuration whose file holds `file`.
fn load_all(file: &str, env: &[(&str, &str)], overrides: &Overrides) -> Result<Settings, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, file).unwrap();
    let path = path.to_string_lossy().into_owned();
    let env = env.iter().copied().chain([("BASEOS_CONFIG", path.as_str())]);
    load(&env.collect(), overrides)
}

fn load_env(env: &[(&str, &str)]) -> Result<Settings, ConfigErrors> {
    load_all("", env, &Overrides::default())
}

fn load_file(file: &str) -> Result<Settings, ConfigErrors> {
    load_all(file, &[], &Overrides::default())
}

/// The one error of an environment with this in it.
fn wrong(name: &str, value: &str) -> String {
    let errors = load_env(&[(name, value)]).unwrap_err();
    assert_eq!(errors.0.len(), 1, "{errors}");
    assert!(errors.0[0].key == name, "{errors}");
    errors.0[0].to_string()
}

fn row(settings: &Settings, key: &str) -> (Option<String>, Option<String>) {
    let row = settings.effective().iter().find(|row| row.key == key).unwrap();
    (row.value.clone(), row.source.as_ref().map(ToString::to_string))
}

fn token(kind: TokenKind, seed: u8) -> Token {
    let mut next = seed;
    Token::mint(kind, |bytes| {
        for byte in bytes {
            next = next.wrapping_mul(181).wrapping_add(91);
            *byte = next;
        }
    })
}

#[test]
fn nothing_said_is_a_configuration() {
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
        (settings.service.as_str(), settings.log.as_str()),
        ("baserunner", "info")
    );
    assert_eq!(settings.log_format, LogFormat::Text);
    assert!(settings.cloudly.is_none() && settings.join.is_none() && settings.supervisor.is_none());
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn a_later_layer_wins_and_each_row_says_which() {
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
    assert_eq!(settings.log, "warn");
    assert_eq!(settings.run_dir, Path::new("/from/env"));
    assert_eq!(settings.state_dir, Path::new("/from/flag"));
    let source = |key| row(&settings, key).1;
    assert!(source("BASEOS_LOG").unwrap().starts_with("file "));
    assert_eq!(source("BASEOS_RUN_DIR").as_deref(), Some("environment"));
    assert_eq!(source("BASEOS_STATE_DIR").as_deref(), Some("command line"));
    assert_eq!(source("BASEOS_LOG_FORMAT").as_deref(), Some("default"));
    assert_eq!(row(&settings, "BASEOS_CLOUDLY_URL"), (None, None));
    assert_eq!(
        row(&settings, "BASEOS_AGENT_URL").0.as_deref(),
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
        (settings.log.as_str(), settings.log_format),
        ("debug", LogFormat::Json)
    );
    assert_eq!((settings.state_dir, settings.run_dir), ("/s".into(), "/r".into()));
}

#[test]
fn what_a_compose_file_passes_on_unset_is_unset() {
    let settings = load_env(&[
        ("BASEOS_LOG", ""),
        ("BASEOS_JOIN_TOKEN", " "),
        ("BASEOS_CLOUDLY_URL", ""),
    ])
    .unwrap();
    assert!(settings.log == "info" && settings.join.is_none() && settings.cloudly.is_none());
}

#[test]
fn the_file_may_hold_texts_numbers_lists_and_tables() {
    let settings = load_file(
        "reserve_bytes = 1048576\nallow_http = true\ncloudly_url = \"http://localhost:8080/\"\n\
         api_hosts = [\"LOCALHOST\", \"box\"]\nagent_url = \"http://127.0.0.1:7000\"\n[labels]\nsite = \"berlin\"\nrack = \"4\"\n",
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
fn everything_wrong_is_said_at_once() {
    let file = "cloudly_ulr = \"x\"\nlog_format = \"xml\"\nreserve_bytes = 1.5\nentirely_else = 1\n";
    let env = [("BASEOS_ALLOW_HTTP", "maybe"), ("BASEOS_SUPERVISOR_POLL", "30")];
    let errors = load_all(file, &env, &Overrides::default()).unwrap_err();
    assert_eq!(errors.0.len(), 6, "{errors}");
    let text = errors.to_string();
    for part in [
        "cloudly_ulr in /",
        "is `cloudly_url` meant?",
        "log_format in /",
        "config.toml = `xml`: should be text or json",
        "a float does not belong here",
        "entirely_else in /",
        "BASEOS_ALLOW_HTTP = `maybe`: should be 1 or 0",
        "BASEOS_SUPERVISOR_POLL = `30`: should be a time with its unit",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn a_comma_in_a_tables_value_does_not_make_two_of_it() {
    for file in [
        "labels = { a = \"b,c=d\" }",
        "labels = { a = 1 }",
        "api_hosts = [\"a,b\"]",
    ] {
        let errors = load_file(file).unwrap_err().to_string();
        assert!(errors.contains("without commas"), "{errors}");
    }
}

#[test]
fn a_wrong_flag_is_named_as_a_flag() {
    let overrides = Overrides {
        log_format: Some("xml".into()),
        ..Overrides::default()
    };
    let errors = load_all("", &[], &overrides).unwrap_err();
    assert_eq!(
        errors.0[0].to_string(),
        "--log-format = `xml`: should be text or json"
    );
}

#[test]
fn a_missing_file_matters_only_when_asked_for() {
    let env = |path: &str| {
        [("BASEOS_CONFIG".to_owned(), path.to_owned())]
            .into_iter()
            .collect::<Environment>()
    };
    let errors = load(&env("/nonexistent/config.toml"), &Overrides::default()).unwrap_err();
    assert_eq!(errors.0[0].key, "/nonexistent/config.toml");
    let mut errors = Vec::new();
    file::read(Path::new("/nonexistent/config.toml"), false, &mut errors);
    assert!(errors.is_empty());
}

#[test]
fn a_line_that_is_no_toml_is_named_and_not_shown() {
    let secret = token(TokenKind::Join, 1);
    let errors = load_file(&format!("log = \"info\"\njoin_token = \"{}\n", secret.expose())).unwrap_err();
    let text = errors.to_string();
    assert!(text.contains("line 2 ") && !text.contains("szj_"), "{text}");
}

#[test]
fn each_value_that_is_wrong_says_what_is_right() {
    for (name, value, right) in [
        (
            "BASEOS_CLOUDLY_URL",
            "cloudly.example",
            "https://cloudly.example.com",
        ),
        (
            "BASEOS_CLOUDLY_URL",
            "ftp://cloudly.example",
            "https://cloudly.example.com",
        ),
        (
            "BASEOS_CLOUDLY_URL",
            "http://cloudly.example",
            "BASEOS_ALLOW_HTTP=1",
        ),
        ("BASEOS_CLOUDLY_CA", "/nonexistent/ca.pem", "cannot be read"),
        ("BASEOS_CLOUDLY_CA", "/dev/null", "no certificate"),
        (
            "BASEOS_CLOUDLY_CA",
            "-----BEGIN CERTIFICATE-----\n!!",
            "copied whole",
        ),
        (
            "BASEOS_CLOUDLY_CA",
            "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----",
            "private key",
        ),
        ("BASEOS_LABELS", "site", "key=value"),
        ("BASEOS_LABELS", "si te=x", "key=value"),
        ("BASEOS_NODE_NAME", "a\nb", "one line"),
        ("BASEOS_SERVICE", "a b", "service's name"),
        ("BASEOS_LOG", "loud", "level"),
        ("BASEOS_LOG", "hyper=loud", "level"),
        ("BASEOS_LOG_FORMAT", "JSONL", "text or json"),
        ("BASEOS_AGENT_URL", "unix://relative/api.sock", "unix:///path"),
        ("BASEOS_AGENT_URL", "http://127.0.0.1", "127.0.0.1:port"),
        ("BASEOS_AGENT_URL", "tcp://127.0.0.1:1", "127.0.0.1:port"),
        ("BASEOS_API_HOSTS", "box:80", "without ports"),
        ("BASEOS_SUPERVISOR_POLL", "2h", "100ms to 1h"),
        ("BASEOS_RESERVE_BYTES", "64 MiBs", "64MiB"),
        ("BASEOS_RESERVE_BYTES", "-1", "64MiB"),
        ("BASEOS_RESERVE_BYTES", "99999999999999999999", "64MiB"),
        ("BASEOS_JOURNAL_BYTES", "1k", "64KiB"),
        (
            "BALENA_SUPERVISOR_ADDRESS",
            "10.114.104.1:48484",
            "http://10.114.104.1:48484",
        ),
        ("BALENA_APP_ID", "0", "number"),
    ] {
        let text = wrong(name, value);
        assert!(text.contains(right), "{name}={value}: {text}");
    }
}

#[test]
fn a_join_token_that_is_none_does_not_keep_an_enrolled_node_from_starting() {
    let settings = load_env(&[("BASEOS_JOIN_TOKEN", "szj_typo")]).unwrap();
    let why = settings.join.unwrap().unwrap_err();
    assert!(why.contains("copied whole"), "{why}");
    let good = token(TokenKind::Join, 1);
    let settings = load_env(&[("BASEOS_JOIN_TOKEN", good.expose())]).unwrap();
    assert_eq!(settings.join.unwrap().unwrap().id(), good.id());
}

#[test]
fn cloudly_is_as_configured_or_else_as_stored() {
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
    let now = settings.cloudly_or_stored(Some(stored)).unwrap();
    assert_eq!(
        (now.url.as_str(), now.ca_pem.as_deref()),
        ("https://new.example/base", Some(PEM.trim()))
    );
}

#[test]
fn the_authority_may_be_a_file() {
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
    assert_eq!(row(&settings, "BASEOS_CLOUDLY_CA").0.as_deref(), Some(&*path));
}

#[test]
fn what_the_supervisor_gives_is_taken() {
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
    assert_eq!(row(&settings, "BASEOS_SERVICE").0.as_deref(), Some("agent"));
    let named = load_env(&[("BALENA_SERVICE_NAME", "agent"), ("BASEOS_SERVICE", "other")]).unwrap();
    assert_eq!(named.service, "other");
}

#[test]
fn odd_things_are_warned_of_and_do_not_stop_the_agent() {
    for (env, part) in [
        (
            vec![("BALENA_SUPERVISOR_ADDRESS", "http://s:1")],
            "BALENA_SUPERVISOR_API_KEY is not",
        ),
        (
            vec![("BALENA_SUPERVISOR_API_KEY", "k")],
            "BALENA_SUPERVISOR_ADDRESS is not",
        ),
        (vec![("BASEOS_JOIN_TOKN", "x")], "is BASEOS_JOIN_TOKEN meant?"),
        (vec![("BASEOS_QUITE_ELSE", "x")], "ignored"),
        (vec![("BASEOS_CLOUDLY_CA", PEM)], "without BASEOS_CLOUDLY_URL"),
        (
            vec![("BASEOS_AGENT_URL", "http://0.0.0.0:80")],
            "beyond this host",
        ),
        (
            vec![("BASEOS_CLOUDLY_URL", "http://c"), ("BASEOS_ALLOW_HTTP", "1")],
            "plain http",
        ),
    ] {
        let settings = load_env(&env).unwrap();
        assert_eq!(settings.warnings.len(), 1, "{env:?}: {:?}", settings.warnings);
        assert!(settings.warnings[0].contains(part), "{:?}", settings.warnings);
        assert!(settings.supervisor.is_none());
    }
    assert!(
        load_env(&[(FAILPOINT, "x"), ("BALENA", "1")])
            .unwrap()
            .warnings
            .is_empty()
    );
}

#[test]
fn only_what_is_about_us_is_kept_of_the_environment() {
    let env: Environment = [("PATH", "/bin"), ("BASEOS_LOG", "info")].into_iter().collect();
    assert_eq!((env.get("PATH"), env.get("BASEOS_LOG")), (None, Some("info")));
}

proptest! {
    #[test]
    fn no_secret_is_ever_shown(seed: u8, key in "[a-z0-9]{24}", place in 0..SPECS.len(), cut in 0usize..40) {
        let token = token(TokenKind::Join, seed);
        let secret = &token.expose()[15..58];
        // In its own place, cut off, and pasted into every other place, alone and inside something else.
        let pasted = SPECS[place].env;
        for text in [
            token.expose().to_owned(),
            token.expose()[..token.expose().len() - cut].to_owned(),
            format!("https://user:{}@c.example", token.expose()),
            format!("http://127.0.0.1:80/?key={key}"),
        ] {
            let env = [
                ("BASEOS_JOIN_TOKEN", token.expose()),
                ("BALENA_SUPERVISOR_ADDRESS", "http://s:1"),
                ("BALENA_SUPERVISOR_API_KEY", key.as_str()),
                ("BASEOS_LOG_FORMAT", "wrong"),
            ];
            let overrides = Overrides::default();
            let file = format!("join_token = '{text}'");
            let right = load_all(&file, &env[..3], &overrides).unwrap();
            let mut shown = format!("{right:?} {:?}", right.effective());
            let with_paste: Vec<_> = env.iter().copied().filter(|(name, _)| *name != pasted)
                .chain((pasted != "BASEOS_CONFIG").then_some((pasted, text.as_str()))).collect();
            let environment: Environment = with_paste.iter().copied().collect();
            shown += &format!("{environment:?} {:?}", environment.layer());
            match load_all(&file, &with_paste, &overrides) {
                Ok(settings) => shown += &format!("{:?}", settings.effective()),
                Err(errors) => shown += &format!("{errors} {errors:?}"),
            }
            prop_assert!(!shown.contains(&secret[..20]), "{}", shown);
            prop_assert!(!shown.contains(&key), "{}", shown);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(place in 0..SPECS.len(), text in "\\PC*", file in "\\PC*") {
        let _ = load_all(&file, &[(SPECS[place].env, &text)], &Overrides::default());
    }

    #[test]
    fn sizes_are_read_as_written(number in 0u64..1 << 32) {
        prop_assert_eq!(read::bytes(&format!("{number}MiB")), Ok(number << 20));
        prop_assert_eq!(read::bytes(&format!("{number} kB")), Ok(number * 1000));
        prop_assert_eq!(read::bytes(&number.to_string()), Ok(number));
    }
}

//! Invalid and doubtful values.

use super::*;
use std::path::Path;

#[test]
fn all_errors_of_all_layers_are_reported_together() {
    let file = "cloudly_ulr = \"x\"\nlog_format = \"xml\"\nreserve_bytes = 1.5\nunrelated_key = 1\n";
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
        "unrelated_key in /",
        "BASEOS_ALLOW_HTTP = `maybe`: should be 1 or 0",
        "BASEOS_SUPERVISOR_POLL = `30`: should be a time with its unit",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn the_file_refuses_commas_and_non_strings_inside_lists_and_tables() {
    for file in [
        "labels = { a = \"b,c=d\" }",
        "labels = { a = 1 }",
        "api_hosts = [\"a,b\"]",
    ] {
        let problem = load_file(file).unwrap().problems[0].to_string();
        assert!(problem.contains("without commas"), "{problem}");
    }
}

#[test]
fn an_error_in_a_flag_names_the_flag() {
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
fn a_file_in_the_place_of_a_directory_is_refused_with_the_key_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let of = |state_dir: &Path| {
        let overrides = Overrides {
            state_dir: Some(state_dir.to_owned()),
            ..Overrides::default()
        };
        load_all("", &[("BASEOS_RUN_DIR", file.to_str().unwrap())], &overrides)
    };
    let inside = file.join("state");
    for (state_dir, expected) in [
        (&file, "should be a directory, and there is a file"),
        (&inside, "should be a directory, and a part of it is a file"),
    ] {
        let errors: Vec<_> = of(state_dir)
            .unwrap_err()
            .0
            .iter()
            .map(ToString::to_string)
            .collect();
        let run_dir = format!(
            "BASEOS_RUN_DIR = `{}`: should be a directory, and there is a file",
            file.display()
        );
        assert_eq!(
            errors,
            [
                format!("--state-dir = `{}`: {expected}", state_dir.display()),
                run_dir
            ]
        );
    }
    let errors = of(&dir.path().join("new")).unwrap_err();
    assert_eq!(errors.0.len(), 1, "a directory that is missing is made: {errors}");
}

#[test]
fn a_toml_error_names_the_line_without_showing_it() {
    let secret = token(TokenKind::Join, 1);
    let errors = load_file(&format!("log = \"info\"\njoin_token = \"{}\n", secret.expose())).unwrap_err();
    let text = errors.to_string();
    assert!(text.contains("line 2 ") && !text.contains("szj_"), "{text}");
}

#[test]
fn the_error_of_each_invalid_value_says_what_is_expected() {
    for (name, value, expected) in [
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
        ("BASEOS_LOG", "hyper=3", "level"),
        ("BASEOS_LOG_FORMAT", "JSONL", "text or json"),
        ("BASEOS_AGENT_URL", "unix://relative/api.sock", "unix:///path"),
        ("BASEOS_AGENT_URL", "http://127.0.0.1", "127.0.0.1:port"),
        ("BASEOS_AGENT_URL", "tcp://127.0.0.1:1", "127.0.0.1:port"),
        ("BASEOS_API_HOSTS", "box:80", "without ports"),
        ("BASEOS_SUPERVISOR_POLL", "2h", "with its unit from 100ms to 1h"),
        ("BASEOS_SUPERVISOR_POLL", "0", "with its unit from 100ms to 1h"),
        ("BASEOS_GUARD_BUDGET", "600", "with its unit from 2s to 1h"),
        ("BASEOS_GUARD_BUDGET", "1d", "with its unit from 2s to 1h"),
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
        let text = error_of(name, value);
        assert!(text.contains(expected), "{name}={value}: {text}");
    }
}

#[test]
fn an_invalid_join_token_is_not_a_configuration_error() {
    let settings = load_env(&[("BASEOS_JOIN_TOKEN", "szj_typo")]).unwrap();
    let error = settings.join.unwrap().unwrap_err();
    assert!(error.contains("copied whole"), "{error}");
    let valid = token(TokenKind::Join, 1);
    let settings = load_env(&[("BASEOS_JOIN_TOKEN", valid.expose())]).unwrap();
    assert_eq!(settings.join.unwrap().unwrap().id(), valid.id());
}

#[test]
fn probable_mistakes_are_warnings_and_not_errors() {
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
        (vec![("BASEOS_UNRELATED", "x")], "ignored"),
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

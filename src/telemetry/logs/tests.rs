use super::*;
use crate::telemetry::capture::Capture;
use crate::vault::test::token;
use baseos_interfaces::token::{TokenKind, WireSecret};
use serde_json::Value;

/// What `act` writes to the log.
fn logged(filter: &str, format: LogFormat, colour: bool, act: impl FnOnce()) -> String {
    let captured = Capture::default();
    let out = captured.clone();
    let writer = Redacting::new(move || out.clone(), Redactor::default());
    tracing::subscriber::with_default(subscriber(filter.parse().unwrap(), format, colour, writer), act);
    captured.text()
}

fn after_time(line: &str) -> &str {
    line.split_once(' ').unwrap().1
}

#[test]
fn a_text_line_has_time_level_message_and_fields() {
    let line = logged("info", LogFormat::Text, false, || {
        tracing::info!(state = "idle", heartbeats = 3, "enrolled");
        tracing::debug!("not shown");
    });
    assert_eq!(after_time(&line), "INFO  enrolled state=\"idle\" heartbeats=3\n");
}

#[test]
fn control_characters_in_an_event_are_escaped() {
    let line = logged("info", LogFormat::Text, false, || {
        tracing::warn!(reason = %"a\nb", "one\r\n2026 ERROR two\x1b[31m");
    });
    assert_eq!(line.lines().count(), 1, "{line:?}");
    assert!(!line.contains('\x1b'), "{line:?}");
}

#[test]
fn the_level_is_coloured_when_colour_is_on() {
    let line = logged("info", LogFormat::Text, true, || tracing::error!("bad"));
    assert_eq!(after_time(&line), "\x1b[31mERROR\x1b[0m bad\n");
}

#[test]
fn a_json_line_is_one_object() {
    let line = logged("info", LogFormat::Json, true, || tracing::warn!(op = 7, "late"));
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&value["level"], &value["message"], &value["op"]),
        (&"WARN".into(), &"late".into(), &7.into())
    );
}

#[test]
fn a_target_can_have_its_own_level() {
    let text = logged("warn,baserunner::telemetry=debug", LogFormat::Text, false, || {
        tracing::debug!("shown");
        tracing::info!(target: "hyper", "not shown");
    });
    assert_eq!(
        after_time(&text),
        "DEBUG baserunner::telemetry::logs::tests: shown\n"
    );
}

#[test]
fn an_invalid_filter_or_format_is_refused_with_the_expected_form() {
    for invalid in [
        "inof",
        "baserunner=",
        "=debug",
        "baserunner=loud",
        "a b=info",
        "info;debug",
    ] {
        let error = invalid.parse::<LogFilter>().unwrap_err().to_string();
        assert!(error.contains("baserunner=debug"), "{error}");
    }
    for valid in [
        "",
        "info",
        "INFO",
        "off",
        "info, baserunner=debug,hyper::proto=off",
    ] {
        valid.parse::<LogFilter>().unwrap();
    }
    assert_eq!(
        "xml".parse::<LogFormat>().unwrap_err().to_string(),
        "`xml` is no log format: write `text` or `json`"
    );
}

#[test]
fn a_panic_is_logged_with_its_secrets_masked() {
    let token = token(TokenKind::Node, 1);
    let line = logged("info", LogFormat::Text, false, || {
        log_panics();
        let panicked = panic::catch_unwind(|| panic!("with {}", token.expose()));
        drop(panic::take_hook());
        panicked.unwrap_err();
    });
    let start = format!(
        "ERROR panic: with szn_{}_*** at=\"src/telemetry/logs/tests.rs:",
        token.id()
    );
    assert!(after_time(&line).starts_with(&start), "{line}");
}

#[test]
fn a_token_is_masked_at_trace_level_in_both_formats() {
    let token = token(TokenKind::Node, 1);
    let secret = &token.expose()[15..];
    for format in [LogFormat::Text, LogFormat::Json] {
        let text = logged("trace", format, false, || {
            let _span = tracing::trace_span!("call", header = token.expose()).entered();
            tracing::trace!(token = token.expose(), id = %token.id(), "Bearer {}", token.expose());
            tracing::trace!(?token, wire = ?WireSecret::from(&token), "typed");
        });
        assert!(text.contains(token.id().as_str()), "{text}");
        assert!(!text.contains(&secret[..8]), "{text}");
    }
}

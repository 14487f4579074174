//! No secret in any output: everything runs at the finest log level with known tokens and keys, then all that was printed,
//! answered and stored is searched for them.

mod commands;
mod run;
mod scan;

use crate::support::update_and_roll_back;
use run::Run;
use scan::{Secret, find_secrets};

async fn assert_no_leaks(log_format: &str) {
    let mut run = Run::start(log_format).await;
    run.use_the_supervisor_key().await;
    run.rotate_the_node_token().await;
    run.collect_logs().await;
    update_and_roll_back(&run.testbed).await;
    run.be_put_back_by_the_guard().await;
    run.use_all_interfaces().await;
    run.be_refused_by_cloudly().await;
    run.read_everything().await;
    let secrets = run.secrets();
    let texts = &run.output.0;
    let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
    assert!(
        texts.len() > 40 && bytes > 100_000,
        "{} texts with {bytes} bytes",
        texts.len()
    );
    let found: Vec<_> = texts
        .iter()
        .flat_map(|(place, text)| find_secrets(place, text, &secrets))
        .collect();
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_any_output_with_logs_as_text() {
    assert_no_leaks("text").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_any_output_with_logs_as_json() {
    assert_no_leaks("json").await;
}

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let token = "szn_0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR012345";
    let token = &token[..64];
    let secrets = [
        Secret::token("planted", token),
        Secret::key("key", "5f0e1d2c3b4a59687766554433221100"),
    ];
    let planted = [
        token.to_owned(),
        format!("x{}", &token[15..40]),
        format!("…{}", &token[40..]),
        // Base64 of the token, alone and after one and two other bytes.
        "c3puXzAxMjM0NTY3ODlfYWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXpBQkNERUZHSElKS0xNTk9QUVIwMTIzNA==".to_owned(),
        "eHN6bl8wMTIzNDU2Nzg5X2FiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6QUJDREVGR0hJSktMTU5PUFFSMDEyMzQ=".to_owned(),
        "eHhzem5fMDEyMzQ1Njc4OV9hYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ekFCQ0RFRkdISUpLTE1OT1BRUjAxMjM0".to_owned(),
        "apikey=5f0e1d2c3b4a59687766554433221100".to_owned(),
    ];
    for text in planted {
        let text = format!("line\nmore {text} end");
        assert!(
            !find_secrets("here", text.as_bytes(), &secrets).is_empty(),
            "{text}"
        );
    }
    let public = format!("szn_0123456789_*** {}", &token[..15]);
    assert_eq!(
        find_secrets("here", public.as_bytes(), &secrets),
        Vec::<String>::new()
    );
}

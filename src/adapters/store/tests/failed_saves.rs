//! Saves in which a step fails.

use super::*;
use crate::adapters::store::disk::{CURRENT, PREVIOUS, RESERVE, RESERVE_BYTES, Step, TEMP, TEMP_PREVIOUS};
use crate::vault::{Endpoint, Vault};
use rustix::io::Errno;
use std::os::unix::fs::MetadataExt;

const STEPS: [Step; 7] = [
    Step::Create,
    Step::Write,
    Step::Fsync,
    Step::Link,
    Step::Rotate,
    Step::Rename,
    Step::FsyncDir,
];

#[test]
fn a_failed_save_keeps_the_old_file_and_the_next_save_writes_the_data() {
    for errno in [Errno::IO, Errno::NOSPC, Errno::ROFS, Errno::DQUOT] {
        // A link that fails for another reason than space is replaced by a copy.
        for failed in STEPS
            .into_iter()
            .filter(|step| *step != Step::Link || errno == Errno::NOSPC)
        {
            let dir = two_generations();
            let file = open(dir.path());
            file.on_step(failing(
                move |step| step == failed || step == Step::Reserve,
                errno,
            ));
            let error = file.save_checkpoint(&json!({"n": 3})).unwrap_err().to_string();
            assert!(error.contains(CURRENT), "{error}");
            let left = file_names(dir.path());
            assert!(
                !left.iter().any(|name| name == TEMP || name == TEMP_PREVIOUS),
                "{failed:?} {errno}: {left:?}"
            );
            assert_eq!(
                checkpoint(&file),
                Some(json!({"n": 3})),
                "the newest data is in memory"
            );
            let on_disk = fs::read_to_string(dir.path().join(CURRENT)).unwrap();
            assert_eq!(
                on_disk.contains("{\"n\":2}"),
                failed != Step::FsyncDir,
                "{failed:?}"
            );

            file.on_step(None);
            file.use_endpoint(Endpoint {
                url: "u".into(),
                ca_pem: None,
                allow_http: false,
            });
            file.token_accepted(token(TokenKind::Node, 1).id()).unwrap();
            drop(file);
            let file = open(dir.path());
            assert_eq!(checkpoint(&file), Some(json!({"n": 3})), "{failed:?}");
            assert!(file.endpoint().is_some());
        }
    }
}

#[test]
fn repeating_a_failed_save_writes_the_data() {
    let dir = two_generations();
    let file = open(dir.path());
    file.on_step(failing(|step| step == Step::Write, Errno::NOSPC));
    file.save_checkpoint(&json!({"n": 3})).unwrap_err();
    file.on_step(None);
    file.save_checkpoint(&json!({"n": 3})).unwrap();
    drop(file);
    assert_eq!(checkpoint(&open(dir.path())), Some(json!({"n": 3})));
}

#[test]
fn on_a_full_disk_the_reserve_is_deleted_and_the_state_written() {
    let dir = two_generations();
    let reserve = dir.path().join(RESERVE);
    let file = open(dir.path());
    assert_eq!(fs::metadata(&reserve).unwrap().len(), RESERVE_BYTES);
    assert!(
        fs::metadata(&reserve).unwrap().blocks() * 512 >= RESERVE_BYTES,
        "the space is allocated"
    );
    let exists = reserve.clone();
    file.on_step(failing(
        move |step| step == Step::Reserve || (step == Step::Write && exists.exists()),
        Errno::NOSPC,
    ));
    file.save_checkpoint(&json!({"n": 3})).unwrap();
    assert!(!reserve.exists(), "there is no space to create it again");
    file.save_checkpoint(&json!({"n": 4})).unwrap();
    file.on_step(None);
    file.save_checkpoint(&json!({"n": 5})).unwrap();
    assert_eq!(
        fs::metadata(&reserve).unwrap().len(),
        RESERVE_BYTES,
        "there is space again"
    );
}

#[test]
fn the_reserve_is_refilled_after_a_failed_save() {
    let dir = two_generations();
    let file = open(dir.path());
    file.on_step(failing(|step| step == Step::Write, Errno::NOSPC));
    file.save_checkpoint(&json!({"n": 3})).unwrap_err();
    assert_eq!(
        fs::metadata(dir.path().join(RESERVE)).unwrap().len(),
        RESERVE_BYTES
    );
}

#[test]
fn without_hard_links_the_previous_generation_is_a_copy() {
    let dir = two_generations();
    let file = open(dir.path());
    file.on_step(failing(|step| step == Step::Link, Errno::PERM));
    file.save_checkpoint(&json!({"n": 3})).unwrap();
    drop(file);
    let previous = fs::read_to_string(dir.path().join(PREVIOUS)).unwrap();
    assert!(previous.contains("{\"n\":2}"));
    assert_eq!(
        fs::metadata(dir.path().join(PREVIOUS)).unwrap().mode() & 0o777,
        0o600
    );
    fs::remove_file(dir.path().join(CURRENT)).unwrap();
    assert_eq!(checkpoint(&open(dir.path())), Some(json!({"n": 2})));
}

#[test]
fn what_could_not_be_read_back_is_not_written_and_holds_up_no_later_save() {
    let nested = (0..127).fold(json!(1), |inner, _| json!({ "a": inner }));
    for unreadable in [nested, json!("x".repeat(9 << 20))] {
        let dir = two_generations();
        let file = open(dir.path());
        let on_disk = || [CURRENT, PREVIOUS].map(|name| fs::read(dir.path().join(name)).unwrap());
        let before = on_disk();
        let error = file.save_checkpoint(&unreadable).unwrap_err().to_string();
        assert!(error.contains("could not be read again"), "{error}");
        assert!(on_disk() == before, "both generations stay as they were");
        file.store_next_token(&token(TokenKind::Node, 2)).unwrap();
        drop(file);
        let file = open(dir.path());
        assert_eq!(checkpoint(&file), Some(json!({"n": 2})));
        file.save_checkpoint(&json!({"n": 3})).unwrap();
    }
}

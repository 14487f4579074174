use super::disk::{CURRENT, PREVIOUS, RESERVE, RESERVE_BYTES, Step, TEMP, TEMP_PREVIOUS};
use super::*;
use crate::vault::Vault;
use baseos_interfaces::token::TokenKind;
use rustix::io::Errno;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

pub(super) fn token(kind: TokenKind, seed: u8) -> Token {
    let mut next = seed;
    Token::mint(kind, |bytes| {
        for byte in bytes {
            next = next.wrapping_mul(181).wrapping_add(91);
            *byte = next;
        }
    })
}

pub(super) fn open(dir: &Path) -> StateFile {
    StateFile::open(dir).unwrap().file
}

pub(super) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn checkpoint(file: &StateFile) -> Option<Value> {
    file.load_checkpoint().unwrap()
}

/// A directory with two generations: `{"n":1}` before, `{"n":2}` now.
fn two_generations() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    file.store_node_token(&token(TokenKind::Node, 1)).unwrap();
    file.save_checkpoint(&json!({"n": 1})).unwrap();
    file.save_checkpoint(&json!({"n": 2})).unwrap();
    dir
}

#[test]
fn what_is_saved_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("a/b");
    let endpoint = Endpoint {
        url: "https://c.example".into(),
        ca_pem: Some("PEM".into()),
        allow_http: true,
    };
    {
        let opened = StateFile::open(&state).unwrap();
        assert!(opened.fresh && opened.recovered.is_none());
        assert_eq!(checkpoint(&opened.file), None);
        assert!(!opened.file.has_credentials());
        opened
            .file
            .save_checkpoint(&json!({"float": 0.1, "map": {"b": 1, "a": [null, "ä"]}}))
            .unwrap();
        opened.file.use_endpoint(endpoint.clone());
        opened.file.store_node_token(&token(TokenKind::Node, 1)).unwrap();
    }
    let opened = StateFile::open(&state).unwrap();
    assert!(!opened.fresh && opened.recovered.is_none());
    assert_eq!(
        checkpoint(&opened.file),
        Some(json!({"float": 0.1, "map": {"b": 1, "a": [null, "ä"]}}))
    );
    assert_eq!(opened.file.endpoint(), Some(endpoint));
    assert!(opened.file.has_credentials());
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_file_is_one_json_object() {
    let dir = two_generations();
    let text = fs::read_to_string(dir.path().join(CURRENT)).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["version"], 1);
    assert!(json["generation"].as_u64().unwrap() > 2);
    assert!(json["checksum"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(
        json["credentials"]["nodeToken"],
        token(TokenKind::Node, 1).expose()
    );
    assert_eq!(json["checkpoint"], json!({"n": 2}));
}

#[test]
fn every_file_is_for_the_agent_alone() {
    let dir = two_generations();
    assert_eq!(names(dir.path()), ["lock", RESERVE, CURRENT, PREVIOUS]);
    for name in names(dir.path()) {
        let found = fs::metadata(dir.path().join(&name)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_second_agent_is_kept_out_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let error = StateFile::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(
        error.to_string().contains(&*dir.path().to_string_lossy()),
        "{error}"
    );
    drop(first);
    open(dir.path());
}

#[test]
fn what_is_stored_already_is_not_written_again() {
    let dir = two_generations();
    let file = open(dir.path());
    let generation = file.generation();
    let inode = || fs::metadata(dir.path().join(CURRENT)).unwrap().ino();
    let before = inode();
    file.save_checkpoint(&json!({"n": 2})).unwrap();
    file.store_next_token(&token(TokenKind::Node, 1)).unwrap();
    file.token_accepted(token(TokenKind::Node, 1).id()).unwrap();
    file.forget_join_token(&TokenId::new("none")).unwrap();
    assert_eq!((file.generation(), inode()), (generation, before));
    file.save_checkpoint(&json!({"n": 3})).unwrap();
    assert_eq!(file.generation(), generation + 1);
}

#[test]
fn credentials_stand_in_both_generations_and_not_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path())
        .store_node_token(&token(TokenKind::Node, 1))
        .unwrap();
    let inode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().ino();
    assert_ne!(inode(CURRENT), inode(PREVIOUS));
    fs::write(dir.path().join(CURRENT), "").unwrap();
    let opened = StateFile::open(dir.path()).unwrap();
    assert!(opened.recovered.is_some() && opened.file.has_credentials());
}

/// Opens a directory whose newest file is damaged; whatever happens, no wrong document comes out.
fn must_recover(dir: &Path, what: &str) {
    let opened = StateFile::open(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(opened.recovered.is_some() && !opened.fresh, "{what}");
    assert_eq!(checkpoint(&opened.file), Some(json!({"n": 1})), "{what}");
    assert!(opened.file.node_token().is_some(), "{what}");
}

#[test]
fn a_file_cut_off_anywhere_gives_the_generation_before() {
    let dir = two_generations();
    let current = dir.path().join(CURRENT);
    let whole = fs::read(&current).unwrap();
    for length in 0..whole.len() {
        fs::write(&current, &whole[..length]).unwrap();
        must_recover(dir.path(), &format!("{length} bytes left"));
    }
    fs::write(&current, [&whole[..], b" "].concat()).unwrap();
    must_recover(dir.path(), "one byte too many");
}

#[test]
fn a_file_with_any_byte_changed_gives_the_generation_before() {
    let dir = two_generations();
    let current = dir.path().join(CURRENT);
    let whole = fs::read(&current).unwrap();
    for at in 0..whole.len() {
        for mask in [0x01, 0x02, 0x20, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= mask;
            fs::write(&current, damaged).unwrap();
            must_recover(dir.path(), &format!("byte {at} ^ {mask:#x}"));
        }
    }
}

#[test]
fn when_no_generation_is_usable_the_agent_does_not_start_as_a_new_box() {
    let dir = two_generations();
    fs::write(dir.path().join(CURRENT), "garbage").unwrap();
    fs::write(dir.path().join(PREVIOUS), "").unwrap();
    let both = StateFile::open(dir.path()).unwrap_err().to_string();
    assert!(
        both.contains(CURRENT) && both.contains(PREVIOUS) && both.contains("backup"),
        "{both}"
    );
    fs::remove_file(dir.path().join(PREVIOUS)).unwrap();
    assert!(matches!(
        StateFile::open(dir.path()).unwrap_err(),
        OpenError::Damaged { .. }
    ));
    fs::rename(dir.path().join(CURRENT), dir.path().join(PREVIOUS)).unwrap();
    assert!(matches!(
        StateFile::open(dir.path()).unwrap_err(),
        OpenError::Damaged { .. }
    ));
    fs::remove_file(dir.path().join(PREVIOUS)).unwrap();
    assert!(
        StateFile::open(dir.path()).unwrap().fresh,
        "both were removed on purpose"
    );
}

#[test]
fn the_one_good_generation_is_not_overwritten_by_the_damaged_one() {
    let dir = two_generations();
    fs::write(dir.path().join(CURRENT), "garbage").unwrap();
    let good = fs::read(dir.path().join(PREVIOUS)).unwrap();
    let file = open(dir.path());
    // Nothing changes, and still it must be written: the newest file is damaged.
    file.save_checkpoint(&json!({"n": 1})).unwrap();
    assert_eq!(fs::read(dir.path().join(PREVIOUS)).unwrap(), good);
    drop(file);
    assert!(StateFile::open(dir.path()).unwrap().recovered.is_none());
}

/// A whole file with this behind its checksum.
fn forge(dir: &Path, rest: &str) {
    use sha2::{Digest, Sha256};
    let hex: String = Sha256::digest(rest)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    fs::write(
        dir.join(CURRENT),
        format!("{{\"checksum\":\"sha256:{hex}\",\n{rest}"),
    )
    .unwrap();
}

#[test]
fn a_newer_agents_file_is_left_alone() {
    let dir = two_generations();
    forge(dir.path(), "\"version\":2,\"whatever\":[]}\n");
    let error = StateFile::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { version: 2, .. }));
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn a_damaged_token_in_a_whole_file_is_an_error_that_does_not_repeat_it() {
    let dir = two_generations();
    let mut text = token(TokenKind::Node, 9).expose().to_owned();
    text.replace_range(20..21, if &text[20..21] == "a" { "b" } else { "a" });
    for (slot, text) in [
        ("nodeToken", text.as_str()),
        ("nextToken", "szj_x"),
        ("joinToken", token(TokenKind::Node, 9).expose()),
    ] {
        forge(
            dir.path(),
            &format!("\"version\":1,\"generation\":9,\"credentials\":{{\"{slot}\":\"{text}\"}}}}\n"),
        );
        let error = StateFile::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(slot) && !error.contains(&text[..5]), "{error}");
    }
    forge(
        dir.path(),
        "\"version\":1,\"generation\":9,\"credentials\":{\"nodeToken\":[\"szn_secret\"]}}\n",
    );
    let shown = format!("{:?}", StateFile::open(dir.path()).unwrap());
    assert!(!shown.contains("szn_"), "{shown}");
}

#[test]
fn a_checkpoint_of_another_form_is_an_error_that_names_the_file() {
    let dir = two_generations();
    let error = open(dir.path())
        .load_checkpoint::<Vec<u8>>()
        .unwrap_err()
        .to_string();
    assert!(error.contains(CURRENT), "{error}");
}

/// Fails every step for which `when` says so.
fn failing(mut when: impl FnMut(Step) -> bool + Send + 'static, errno: Errno) -> Option<disk::Fault> {
    Some(Box::new(
        move |step| if when(step) { Err(errno.into()) } else { Ok(()) },
    ))
}

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
fn a_failed_save_leaves_the_old_file_and_no_litter_and_is_made_up_for_later() {
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
            let left = names(dir.path());
            assert!(
                !left.iter().any(|name| name == TEMP || name == TEMP_PREVIOUS),
                "{failed:?} {errno}: {left:?}"
            );
            assert_eq!(checkpoint(&file), Some(json!({"n": 3})), "memory has the newest");
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
fn the_same_save_tried_again_after_a_failure_is_written() {
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
fn a_full_disk_costs_the_reserve_and_not_the_state() {
    let dir = two_generations();
    let reserve = dir.path().join(RESERVE);
    let file = open(dir.path());
    assert_eq!(fs::metadata(&reserve).unwrap().len(), RESERVE_BYTES);
    assert!(
        fs::metadata(&reserve).unwrap().blocks() * 512 >= RESERVE_BYTES,
        "the space is really taken"
    );
    let full = reserve.clone();
    file.on_step(failing(
        move |step| step == Step::Reserve || (step == Step::Write && full.exists()),
        Errno::NOSPC,
    ));
    file.save_checkpoint(&json!({"n": 3})).unwrap();
    assert!(!reserve.exists(), "there is no space to make it anew");
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
fn a_reserve_spent_in_vain_is_taken_back() {
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
fn a_file_system_without_hard_links_keeps_a_previous_generation_too() {
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

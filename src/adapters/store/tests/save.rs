//! Saving and loading without failures.

use super::*;
use crate::adapters::store::disk::{CURRENT, PREVIOUS, RESERVE};
use crate::adapters::store::{OpenError, StateFile};
use crate::vault::{Endpoint, Vault};
use baseos_interfaces::token::TokenId;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

#[test]
fn saved_data_is_loaded_after_a_restart() {
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
        opened
            .file
            .store_node_token(&token(TokenKind::Node, 1), "node_a")
            .unwrap();
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
fn every_file_is_readable_by_its_owner_only() {
    let dir = two_generations();
    assert_eq!(file_names(dir.path()), ["lock", RESERVE, CURRENT, PREVIOUS]);
    for name in file_names(dir.path()) {
        let metadata = fs::metadata(dir.path().join(&name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_second_agent_cannot_open_the_directory_while_the_first_runs() {
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
fn unchanged_data_is_not_written_again() {
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
fn credentials_are_written_into_both_generations_as_separate_files() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path())
        .store_node_token(&token(TokenKind::Node, 1), "node_a")
        .unwrap();
    let inode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().ino();
    assert_ne!(inode(CURRENT), inode(PREVIOUS));
    fs::write(dir.path().join(CURRENT), "").unwrap();
    let opened = StateFile::open(dir.path()).unwrap();
    assert!(opened.recovered.is_some() && opened.file.has_credentials());
}

#[test]
fn an_earlier_checkpoint_is_kept_beside_later_ones_until_it_is_forgotten() {
    let dir = two_generations();
    let file = open(dir.path());
    file.keep_earlier_checkpoint();
    for n in [3, 4] {
        file.save_checkpoint(&json!({ "n": n })).unwrap();
    }
    drop(file);
    let file = open(dir.path());
    assert_eq!(file.checkpoint(), Some(json!({ "n": 4 })));
    assert_eq!(file.earlier_checkpoint(), Some(json!({ "n": 2 })));
    file.forget_earlier_checkpoint();
    file.save_checkpoint(&json!({ "n": 4 })).unwrap();
    drop(file);
    assert_eq!(open(dir.path()).earlier_checkpoint(), None);
}

/// A release may run the agent as root and the next one as the directory's owner again.
#[test]
fn files_that_root_writes_stay_the_directorys_owners() {
    let dir = tempfile::tempdir().unwrap();
    if chown(dir.path(), Some(10001), Some(10002)).is_err() {
        // Not root: what is written is the directory's owner's anyway.
        assert!(!rustix::process::geteuid().is_root());
        return;
    }
    let file = open(dir.path());
    file.store_node_token(&token(TokenKind::Node, 1), "node_a")
        .unwrap();
    file.save_checkpoint(&json!({ "n": 1 })).unwrap();
    crate::durable_file::replace(dir.path(), "orders", b"x").unwrap();
    for name in [".", "lock", "orders", CURRENT, PREVIOUS, RESERVE] {
        let found = fs::metadata(dir.path().join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (10001, 10002), "{name}");
    }
}

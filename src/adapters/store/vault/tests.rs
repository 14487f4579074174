use super::*;
use crate::adapters::store::disk::Step;
use crate::adapters::store::tests::{failing, open};
use crate::vault::test::token;
use baseos_interfaces::token::TokenKind::{Join, Node};
use rustix::io::Errno;
use std::path::Path;

/// The id of the token that would be used now.
fn current(file: &StateFile) -> Option<String> {
    file.node_token().map(|token| token.id().to_string())
}

fn id(kind: TokenKind, seed: u8) -> TokenId {
    token(kind, seed).id().clone()
}

#[test]
fn the_newest_token_is_used_and_replaces_the_older_when_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    assert!(file.node_token().is_none());
    file.store_node_token(&token(Node, 1), "node_a").unwrap();
    file.store_next_token(&token(Node, 2)).unwrap();
    assert_eq!(current(&file), Some(id(Node, 2).to_string()));
    drop(file);
    let file = open(dir.path());
    assert_eq!(current(&file), Some(id(Node, 2).to_string()));
    file.token_accepted(&id(Node, 2)).unwrap();
    drop(file);
    assert_eq!(current(&open(dir.path())), Some(id(Node, 2).to_string()));
}

#[test]
fn the_only_token_is_used_again_after_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    file.store_node_token(&token(Node, 2), "node_a").unwrap();
    file.token_refused(&id(Node, 2));
    assert_eq!(current(&file), Some(id(Node, 2).to_string()));
}

/// Changes the token so many times; the first one has the number 1.
fn rotated(dir: &Path, times: u8) -> StateFile {
    let file = open(dir);
    file.store_node_token(&token(Node, 1), "node_a").unwrap();
    for seed in 2..=times + 1 {
        file.store_next_token(&token(Node, seed)).unwrap();
        file.token_accepted(&id(Node, seed)).unwrap();
    }
    file
}

#[test]
fn the_tokens_before_are_tried_one_after_the_other_and_the_accepted_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    drop(rotated(dir.path(), 3));
    let file = open(dir.path());
    for refused in [4, 3, 2] {
        assert_eq!(current(&file), Some(id(Node, refused).to_string()));
        file.token_refused(&id(Node, refused));
    }
    assert_eq!(current(&file), Some(id(Node, 1).to_string()));
    file.token_accepted(&id(Node, 1)).unwrap();
    drop(file);
    let file = open(dir.path());
    for tried in [1, 4, 3, 2, 1] {
        assert_eq!(current(&file), Some(id(Node, tried).to_string()));
        file.token_refused(&id(Node, tried));
    }
    // A change goes on from the accepted one.
    file.token_accepted(&id(Node, 1)).unwrap();
    file.store_next_token(&token(Node, 9)).unwrap();
    file.token_accepted(&id(Node, 9)).unwrap();
    drop(file);
    let file = open(dir.path());
    for tried in [9, 1, 4, 3, 9] {
        assert_eq!(current(&file), Some(id(Node, tried).to_string()));
        file.token_refused(&id(Node, tried));
    }
}

#[test]
fn a_newer_token_stays_stored_while_one_before_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let file = rotated(dir.path(), 1);
    file.store_next_token(&token(Node, 5)).unwrap();
    for refused in [5, 2] {
        file.token_refused(&id(Node, refused));
    }
    file.token_accepted(&id(Node, 1)).unwrap();
    drop(file);
    let file = open(dir.path());
    for tried in [5, 1, 2, 5] {
        assert_eq!(current(&file), Some(id(Node, tried).to_string()));
        file.token_refused(&id(Node, tried));
    }
}

#[test]
fn an_accepted_registration_leaves_no_token_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let file = rotated(dir.path(), 2);
    file.store_node_token(&token(Node, 7), "node_b").unwrap();
    file.token_accepted(&id(Node, 7)).unwrap();
    drop(file);
    let file = open(dir.path());
    for _ in 0..2 {
        assert_eq!(current(&file), Some(id(Node, 7).to_string()));
        file.token_refused(&id(Node, 7));
    }
    let text = std::fs::read_to_string(dir.path().join("state.json")).unwrap();
    assert_eq!(text.matches("szn_").count(), 1);
}

#[test]
fn a_refused_token_is_replaced_by_the_other_one_for_this_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    file.store_node_token(&token(Node, 1), "node_a").unwrap();
    file.store_next_token(&token(Node, 2)).unwrap();
    file.token_refused(&id(Node, 2));
    assert_eq!(current(&file), Some(id(Node, 1).to_string()));
    // The older one is accepted; the newer one stays stored, because its refusal can be an error of Cloudly.
    file.token_accepted(&id(Node, 1)).unwrap();
    assert_eq!(current(&file), Some(id(Node, 1).to_string()));
    drop(file);
    assert_eq!(current(&open(dir.path())), Some(id(Node, 2).to_string()));
}

#[test]
fn when_all_tokens_are_refused_they_are_used_in_turn_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    file.store_node_token(&token(Node, 1), "node_a").unwrap();
    file.store_next_token(&token(Node, 2)).unwrap();
    for expected in [2, 1, 2, 1] {
        assert_eq!(current(&file), Some(id(Node, expected).to_string()));
        file.token_refused(&id(Node, expected));
    }
    file.token_accepted(&id(Node, 2)).unwrap();
    assert_eq!(current(&file), Some(id(Node, 2).to_string()));
}

#[test]
fn a_refused_next_token_is_replaced_by_a_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    file.store_node_token(&token(Node, 1), "node_a").unwrap();
    file.store_next_token(&token(Node, 2)).unwrap();
    file.token_refused(&id(Node, 2));
    file.store_next_token(&token(Node, 3)).unwrap();
    assert_eq!(current(&file), Some(id(Node, 3).to_string()));
    file.token_refused(&id(Node, 3));
    assert_eq!(
        current(&file),
        Some(id(Node, 1).to_string()),
        "the accepted token was kept"
    );
}

#[test]
fn a_next_token_is_kept_beside_a_newer_one_even_without_seen_acceptance() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    for seed in 1..=3 {
        file.store_next_token(&token(Node, seed)).unwrap();
    }
    file.token_refused(&id(Node, 3));
    assert_eq!(current(&file), Some(id(Node, 2).to_string()));
}

/// Node a, which was accepted, has registered as node b.
fn re_registered(dir: &Path) -> StateFile {
    let file = open(dir);
    file.store_node_token(&token(Node, 1), "node_a").unwrap();
    file.token_accepted(&id(Node, 1)).unwrap();
    file.store_next_token(&token(Node, 2)).unwrap();
    file.offer_join_token(&token(Join, 9)).unwrap();
    file.store_node_token(&token(Node, 3), "node_b").unwrap();
    file
}

#[test]
fn a_new_identity_replaces_the_earlier_one_when_it_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let file = re_registered(dir.path());
    assert_eq!(current(&file), Some(id(Node, 3).to_string()));
    file.token_accepted(&id(Node, 3)).unwrap();
    assert_eq!(file.node_id().as_deref(), Some("node_b"));
    drop(file);
    let file = open(dir.path());
    file.token_refused(&id(Node, 3));
    assert_eq!(
        current(&file),
        Some(id(Node, 3).to_string()),
        "it is the only one"
    );
    assert!(
        file.join_token(&id(Join, 9)).is_some(),
        "the join token is deleted only when enrolled"
    );
}

#[test]
fn the_earlier_identity_is_used_when_the_new_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = re_registered(dir.path());
    drop(file);
    let file = open(dir.path());
    file.token_refused(&id(Node, 3));
    assert_eq!(current(&file), Some(id(Node, 2).to_string()));
    file.token_accepted(&id(Node, 2)).unwrap();
    assert_eq!(file.node_id().as_deref(), Some("node_a"));
    drop(file);
    let file = open(dir.path());
    assert_eq!(current(&file), Some(id(Node, 2).to_string()));
    assert_eq!(file.node_id().as_deref(), Some("node_a"));
}

#[test]
fn the_identity_that_was_accepted_is_kept_over_several_that_were_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = re_registered(dir.path());
    file.store_node_token(&token(Node, 4), "node_b").unwrap();
    file.store_node_token(&token(Node, 5), "node_c").unwrap();
    for expected in [5, 2, 5, 2] {
        assert_eq!(current(&file), Some(id(Node, expected).to_string()));
        file.token_refused(&id(Node, expected));
    }
}

#[test]
fn a_token_that_could_not_be_stored_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    file.store_node_token(&token(Node, 1), "node_a").unwrap();
    file.on_step(failing(|step| step == Step::Create, Errno::NOSPC));
    let error = file.store_next_token(&token(Node, 2)).unwrap_err().to_string();
    assert!(error.contains("state.json") && !error.contains("szn_"), "{error}");
    file.store_node_token(&token(Node, 3), "node_a").unwrap_err();
    file.offer_join_token(&token(Join, 4)).unwrap_err();
    assert_eq!(current(&file), Some(id(Node, 1).to_string()));
    assert!(file.join_token(&id(Join, 4)).is_none());
    file.on_step(None);
    file.save_checkpoint(&1).unwrap();
    drop(file);
    assert_eq!(current(&open(dir.path())), Some(id(Node, 1).to_string()));
}

#[test]
fn a_failed_deletion_of_a_join_token_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    file.offer_join_token(&token(Join, 1)).unwrap();
    file.on_step(failing(|step| step == Step::Rename, Errno::NOSPC));
    file.forget_join_token(&id(Join, 1)).unwrap_err();
    assert!(file.join_token(&id(Join, 1)).is_none());
    file.on_step(None);
    file.forget_join_token(&id(Join, 1)).unwrap();
    drop(file);
    assert_eq!(open(dir.path()).join_token_to_offer(None), None);
}

#[test]
fn join_tokens_are_kept_until_deleted_and_the_configured_one_only_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    assert_eq!(
        file.join_token_to_offer(Some(&Ok(token(Join, 1)))),
        Some(Ok(id(Join, 1)))
    );
    file.offer_join_token(&token(Join, 2)).unwrap();
    file.offer_join_token(&token(Join, 3)).unwrap();
    for seed in 1..=3 {
        assert_eq!(
            file.join_token(&id(Join, seed)).unwrap().expose(),
            token(Join, seed).expose()
        );
    }
    drop(file);
    let file = open(dir.path());
    assert!(file.join_token(&id(Join, 1)).is_none());
    // A token from the local API is newer than the configured one.
    assert_eq!(
        file.join_token_to_offer(Some(&Ok(token(Join, 1)))),
        Some(Ok(id(Join, 3)))
    );
    file.forget_join_token(&id(Join, 1)).unwrap();
    file.forget_join_token(&id(Join, 3)).unwrap();
    assert!(file.join_token(&id(Join, 1)).is_none() && file.join_token(&id(Join, 3)).is_none());
}

#[test]
fn a_token_of_another_kind_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    file.store_node_token(&token(Join, 1), "node_a").unwrap_err();
    file.store_next_token(&token(Join, 1)).unwrap_err();
    file.offer_join_token(&token(Node, 1)).unwrap_err();
    assert!(!file.has_credentials() && file.join_token_to_offer(None).is_none());
}

#[test]
fn debug_output_holds_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let opened = StateFile::open(dir.path()).unwrap();
    opened.file.store_node_token(&token(Node, 1), "node_a").unwrap();
    assert!(!format!("{opened:?}").contains("szn_"));
}

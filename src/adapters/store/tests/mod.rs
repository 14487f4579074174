mod crash;
mod damage;
mod failed_saves;
mod save;

use super::StateFile;
use super::disk::{Fault, Step};
use crate::vault::Vault as _;
use crate::vault::test::token;
use baseos_interfaces::token::TokenKind;
use rustix::io::Errno;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

pub(super) fn open(dir: &Path) -> StateFile {
    StateFile::open(dir).unwrap().file
}

/// The sorted names of the files in a directory.
fn file_names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn checkpoint(file: &StateFile) -> Option<Value> {
    file.checkpoint()
}

/// A directory with two generations: `{"n":1}` before, `{"n":2}` now.
fn two_generations() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = open(dir.path());
    file.store_node_token(&token(TokenKind::Node, 1), "node_a")
        .unwrap();
    file.save_checkpoint(&json!({"n": 1})).unwrap();
    file.save_checkpoint(&json!({"n": 2})).unwrap();
    dir
}

/// Fails every step for which `fails` is true.
pub(super) fn failing(mut fails: impl FnMut(Step) -> bool + Send + 'static, errno: Errno) -> Option<Fault> {
    Some(Box::new(
        move |step| if fails(step) { Err(errno.into()) } else { Ok(()) },
    ))
}

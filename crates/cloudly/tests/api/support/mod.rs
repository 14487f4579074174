//! Servers, an operator and devices that speak real HTTP.

mod api;
mod backups;
mod cloudly;
mod device;
mod engine;
mod metrics;
mod postgres;
mod process;
mod program;
pub(crate) mod registry;

pub(crate) use api::{Api, assert_refused, ok, problem, send_refused};
pub(crate) use backups::{backup_of, restore_into, rows, sealed, sum};
pub(crate) use cloudly::{Cloudly, start_time};
pub(crate) use device::{Device, status};
pub(crate) use engine::{Engine, connect};
pub(crate) use metrics::metrics;
pub(crate) use process::output;
pub(crate) use program::{Program, cloudly};

use baseos_interfaces::token::{Token, TokenKind};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

pub(crate) const COMMIT: &str = "1f0a9be";
pub(crate) const OTHER_COMMIT: &str = "77c2d01";

/// A file with a secret, for its owner alone.
pub(crate) fn write_secret(path: impl AsRef<Path>, text: &str) {
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// A release with the agent and a service beside it.
pub(crate) fn release(commit: &str) -> Value {
    json!({
        "commit": commit, "version": "1.0.0",
        "services": {
            "baserunner": {
                "image": "registry.example/baserunner:1", "labels": { "io.balena.features.supervisor-api": "1" },
                "composition": { "volumes": ["baseos:/data/baseos"] },
            },
            "onebox": { "image": "registry.example/onebox:1" },
        },
        "volumes": { "baseos": {} },
    })
}

/// A well-formed token with a known id and another secret, since anybody can compute the checksum.
pub(crate) fn forged(kind: TokenKind, id: &str) -> Token {
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut left = id.bytes();
    let forged = Token::mint(kind, |bytes| {
        for byte in bytes.iter_mut() {
            let digit = left.next().unwrap_or(b'0');
            *byte = alphabet.iter().position(|d| *d == digit).unwrap() as u8;
        }
    });
    assert_eq!(forged.id().as_str(), id);
    forged
}

//! Opening a directory with damaged files.

use super::*;
use crate::adapters::store::OpenError;
use crate::adapters::store::disk::{CURRENT, NEWER, PREVIOUS};
use crate::vault::Vault;
use baseos_interfaces::token::Token;

/// Opens a directory whose newest file is damaged and expects the previous document.
fn assert_recovered(dir: &Path, what: &str) {
    let opened = StateFile::open(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(opened.recovered.is_some() && !opened.fresh, "{what}");
    assert_eq!(checkpoint(&opened.file), Some(json!({"n": 1})), "{what}");
    assert!(opened.file.node_token().is_some(), "{what}");
}

/// Writes a file with a valid checksum over `rest`.
fn write_with_checksum(dir: &Path, rest: &str) {
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
fn a_file_truncated_anywhere_is_replaced_by_the_previous_generation() {
    let dir = two_generations();
    let current = dir.path().join(CURRENT);
    let original = fs::read(&current).unwrap();
    for length in 0..original.len() {
        fs::write(&current, &original[..length]).unwrap();
        assert_recovered(dir.path(), &format!("{length} bytes left"));
    }
    fs::write(&current, [&original[..], b" "].concat()).unwrap();
    assert_recovered(dir.path(), "one byte too many");
}

#[test]
fn a_file_with_any_byte_changed_is_replaced_by_the_previous_one() {
    let dir = two_generations();
    let current = dir.path().join(CURRENT);
    let original = fs::read(&current).unwrap();
    for at in 0..original.len() {
        for mask in [0x01, 0x02, 0x20, 0xff] {
            let mut damaged = original.clone();
            damaged[at] ^= mask;
            fs::write(&current, damaged).unwrap();
            assert_recovered(dir.path(), &format!("byte {at} ^ {mask:#x}"));
        }
    }
}

#[test]
fn a_directory_or_a_pipe_in_its_place_is_replaced_by_the_previous_generation() {
    let dir = two_generations();
    let current = dir.path().join(CURRENT);
    fs::remove_file(&current).unwrap();
    fs::create_dir(&current).unwrap();
    assert_recovered(dir.path(), "a directory");
    let mut opened = StateFile::open(dir.path()).unwrap();
    let error = opened
        .file
        .save_checkpoint(&json!({"n": 3}))
        .unwrap_err()
        .to_string();
    assert!(error.contains(CURRENT) && error.contains("irectory"), "{error}");
    drop(opened);

    fs::remove_dir(&current).unwrap();
    pipe(&current);
    assert_recovered(dir.path(), "a pipe");
    opened = StateFile::open(dir.path()).unwrap();
    opened.file.save_checkpoint(&json!({"n": 4})).unwrap();
    drop(opened);
    assert!(current.is_file());
}

#[test]
fn opening_fails_when_no_generation_is_usable() {
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
        "with both removed, the node is new"
    );
}

#[test]
fn a_damaged_file_does_not_replace_the_valid_generation() {
    let dir = two_generations();
    fs::write(dir.path().join(CURRENT), "garbage").unwrap();
    let valid = fs::read(dir.path().join(PREVIOUS)).unwrap();
    let file = open(dir.path());
    // Unchanged data must be written too, because the newest file is damaged.
    file.save_checkpoint(&json!({"n": 1})).unwrap();
    assert_eq!(fs::read(dir.path().join(PREVIOUS)).unwrap(), valid);
    drop(file);
    assert!(StateFile::open(dir.path()).unwrap().recovered.is_none());
}

/// A file of version 2 with this node token and further members of its own.
fn of_a_newer_agent(token: Option<&Token>) -> String {
    let credentials = match token {
        Some(token) => json!({ "nodeToken": token.expose(), "addedLater": 1 }),
        None => json!(["in a form of its own"]),
    };
    let rest = json!({
        "version": 2, "generation": 9, "credentials": credentials, "endpoint": ["in a form of its own"],
        "checkpoint": { "n": 3 }, "earlierCheckpoint": { "n": 2 }, "addedLater": [],
    });
    format!("{}\n", rest.to_string().strip_prefix('{').unwrap())
}

#[test]
fn the_file_of_a_newer_agent_leaves_the_node_its_identity() {
    let dir = two_generations();
    let newer = token(TokenKind::Node, 9);
    write_with_checksum(dir.path(), &of_a_newer_agent(Some(&newer)));
    let written = fs::read(dir.path().join(CURRENT)).unwrap();
    let file = open(dir.path());
    assert_eq!(file.newer_version(), Some(2));
    assert_eq!(file.node_token().unwrap().expose(), newer.expose());
    assert_eq!(file.earlier_checkpoint(), Some(json!({"n": 2})));
    // What the newer agent wrote stays until Cloudly has accepted a token of it.
    file.save_checkpoint(&json!({"n": 4})).unwrap();
    file.save_checkpoint(&json!({"n": 5})).unwrap();
    assert_eq!(fs::read(dir.path().join(NEWER)).unwrap(), written);
    drop(file);
    let file = open(dir.path());
    assert_eq!(
        (file.newer_version(), checkpoint(&file)),
        (None, Some(json!({"n": 5})))
    );
    file.token_accepted(newer.id()).unwrap();
    assert!(!dir.path().join(NEWER).exists());
}

#[test]
fn where_a_newer_file_has_no_readable_credentials_the_previous_one_is_used() {
    let dir = two_generations();
    write_with_checksum(dir.path(), &of_a_newer_agent(None));
    assert_recovered(dir.path(), "a newer file without readable credentials");
    assert!(dir.path().join(NEWER).exists());
    fs::remove_file(dir.path().join(PREVIOUS)).unwrap();
    let error = StateFile::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { version: 2, .. }));
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn an_invalid_token_in_an_undamaged_file_is_an_error_without_the_token() {
    let dir = two_generations();
    let mut text = token(TokenKind::Node, 9).expose().to_owned();
    text.replace_range(20..21, if &text[20..21] == "a" { "b" } else { "a" });
    for (member, text) in [
        ("nodeToken", text.as_str()),
        ("nextToken", "szj_x"),
        ("joinToken", token(TokenKind::Node, 9).expose()),
    ] {
        write_with_checksum(
            dir.path(),
            &format!("\"version\":1,\"generation\":9,\"credentials\":{{\"{member}\":\"{text}\"}}}}\n"),
        );
        let error = StateFile::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(member) && !error.contains(&text[..5]), "{error}");
    }
    let list = "\"version\":1,\"generation\":9,\"credentials\":{\"previousTokens\":[\"szj_x\"]}}\n";
    write_with_checksum(dir.path(), list);
    let error = StateFile::open(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("previousTokens") && !error.contains("szj_"),
        "{error}"
    );
    write_with_checksum(
        dir.path(),
        "\"version\":1,\"generation\":9,\"credentials\":{\"nodeToken\":[\"szn_secret\"]}}\n",
    );
    let shown = format!("{:?}", StateFile::open(dir.path()).unwrap());
    assert!(!shown.contains("szn_"), "{shown}");
}

fn pipe(path: &Path) {
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
}

#[test]
fn a_link_to_itself_or_a_socket_in_its_place_is_replaced_by_the_previous_generation() {
    let dir = two_generations();
    let current = dir.path().join(CURRENT);
    fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink(CURRENT, &current).unwrap();
    assert_recovered(dir.path(), "a link to itself");
    fs::remove_file(&current).unwrap();
    // As a device without a driver, it cannot be opened (ENXIO).
    drop(std::os::unix::net::UnixListener::bind(&current).unwrap());
    assert_recovered(dir.path(), "a socket");
    let file = open(dir.path());
    file.save_checkpoint(&json!({"n": 3})).unwrap();
    assert!(current.is_file());
}

#[test]
fn what_is_no_file_in_the_place_of_the_lock_is_set_aside() {
    let dir = two_generations();
    let lock = dir.path().join("lock");
    for place in [
        pipe,
        |path: &Path| fs::create_dir(path).unwrap(),
        |path: &Path| {
            std::os::unix::fs::symlink("lock", path).unwrap();
        },
    ] {
        fs::remove_file(&lock).unwrap();
        place(&lock);
        let opened = StateFile::open(dir.path()).unwrap();
        assert!(lock.is_file());
        assert!(matches!(
            StateFile::open(dir.path()).unwrap_err(),
            OpenError::InUse { .. }
        ));
        drop(opened);
    }
}

/// Whoever can write into the directory must not have the agent make, change or lock a file elsewhere.
#[test]
fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let (dir, outside) = (two_generations(), tempfile::tempdir().unwrap());
    let (lock, elsewhere) = (dir.path().join("lock"), outside.path().join("elsewhere"));
    let aside = |number: u32| dir.path().join(format!("lock.damaged.{number}"));
    for number in 1..=2 {
        fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &lock).unwrap();
        let opened = StateFile::open(dir.path()).unwrap();
        assert!(lock.symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read_link(aside(number)).unwrap(), elsewhere);
        drop(opened);
        assert_eq!(elsewhere.exists(), number > 1, "it is not made");
        fs::write(&elsewhere, "of somebody else").unwrap();
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "of somebody else");
}

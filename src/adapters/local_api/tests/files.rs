use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn bind(dir: &Path) -> Result<LocalApi, BindError> {
    LocalApi::bind(settings(dir), Arc::new(FakeVault::default()))
}

#[tokio::test]
async fn files_have_their_modes_and_the_token_is_new_at_each_start() {
    let dir = tempfile::tempdir().unwrap();
    let (run, token) = (dir.path().join("run"), dir.path().join("run/token"));
    let first_api = bind(dir.path()).unwrap();
    let first = fs::read_to_string(&token).unwrap();
    assert_eq!(
        (mode(&run), mode(&token), mode(&run.join("api.sock"))),
        (0o750, 0o640, 0o660)
    );
    Token::parse(TokenKind::Local, &first).unwrap();
    drop(first_api);
    fs::set_permissions(&token, fs::Permissions::from_mode(0o666)).unwrap();
    let _second_api = bind(dir.path()).unwrap();
    assert_ne!(fs::read_to_string(&token).unwrap(), first);
    assert_eq!(mode(&token), 0o640);
    let mut names: Vec<_> = fs::read_dir(&run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["api.sock", "token"]);
}

#[tokio::test]
async fn an_existing_directory_keeps_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o2770)).unwrap();
    let _api = bind(dir.path()).unwrap();
    assert_eq!(mode(&run), 0o2770);
}

#[tokio::test]
async fn a_dead_agents_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("run")).unwrap();
    let socket = dir.path().join("run/api.sock");
    // std's listener leaves its file behind, as a killed agent does.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let _api = bind(dir.path()).unwrap();
    UnixStream::connect(&socket).await.unwrap();
}

#[tokio::test]
async fn the_socket_of_a_running_agent_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let _first = bind(dir.path()).unwrap();
    let token = fs::read_to_string(dir.path().join("run/token")).unwrap();
    assert!(matches!(bind(dir.path()), Err(BindError::InUse(_))));
    assert_eq!(fs::read_to_string(dir.path().join("run/token")).unwrap(), token);
    UnixStream::connect(dir.path().join("run/api.sock"))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_agent_with_a_full_accept_queue_counts_as_running() {
    let dir = tempfile::tempdir().unwrap();
    let _first = bind(dir.path()).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = UnixStream::connect(dir.path().join("run/api.sock")).await {
        waiting.push(stream);
    }
    assert!(matches!(bind(dir.path()), Err(BindError::InUse(_))));
}

#[tokio::test]
async fn a_file_that_is_not_a_socket_is_never_removed() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("run/api.sock");
    fs::create_dir(dir.path().join("run")).unwrap();
    fs::write(&socket, "precious").unwrap();
    let error = bind(dir.path()).unwrap_err();
    assert!(matches!(error, BindError::NotASocket(_)));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[tokio::test]
async fn the_socket_is_removed_at_the_end_unless_it_was_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("run/api.sock");
    let api = bind(dir.path()).unwrap();
    drop(api);
    assert!(!socket.exists());
    let api = bind(dir.path()).unwrap();
    fs::remove_file(&socket).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    drop(api);
    assert!(socket.exists());
}

#[tokio::test]
async fn bind_errors_name_the_cause_and_the_path() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("run"), "a file").unwrap();
    let error = bind(dir.path()).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot make the directory ") && error.contains("/run: "),
        "{error}"
    );
}

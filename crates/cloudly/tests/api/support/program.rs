//! The real `cloudly` program.

use super::Engine;
use super::api::Api;
use super::process::{output, spawn};
use std::ops::Deref;
use std::process::{Output, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// `cloudly` with an empty environment, in `dir`.
pub(crate) fn cloudly(dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudly"));
    command
        .env_clear()
        .current_dir(dir.path())
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

/// `cloudly serve`, with its database in a directory of its own.
pub(crate) struct Program {
    api: Api,
    pub(crate) dir: TempDir,
    server: Child,
}

impl Deref for Program {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Program {
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::start_with(engine, |_, command| {
            command.args(["--log", "warn"]);
        })
        .await
    }

    pub(crate) async fn start_with(engine: Engine, adjust: impl FnOnce(&TempDir, &mut Command)) -> Self {
        let dir = TempDir::new().unwrap();
        let url = engine.new_database(dir.path()).await;
        let mut command = cloudly(&dir);
        command
            .env("CLOUDLY_DATABASE_URL", url)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped());
        adjust(&dir, &mut command);
        let mut server = spawn(&mut command).await;
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .await
            .unwrap();
        let url = line.trim().strip_prefix("cloudly listening on ").expect(&line);
        let token = cloudly_baseos::read_admin_token(&dir.path().join("admin-token")).unwrap();
        let mut api = Api::new();
        api.url = url.to_owned();
        api.admin_token = token.expose().to_owned();
        Self { api, dir, server }
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        output(cloudly(&self.dir).args(args).args(["--url", &self.url])).await
    }

    /// The standard output of a command that must succeed.
    pub(crate) async fn run_ok(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {error}");
        assert_eq!(error, "", "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The standard error of a command that must fail.
    pub(crate) async fn run_err(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert!(!output.status.success(), "{args:?}");
        assert_eq!(output.stdout, b"", "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Stops the server and returns its directory.
    pub(crate) async fn stop(mut self) -> TempDir {
        let pid = self.server.id().unwrap().to_string();
        let sent = output(Command::new("kill").args(["-TERM", &pid])).await;
        assert!(sent.status.success());
        assert!(self.server.wait().await.unwrap().success());
        self.dir
    }
}

//! A PostgreSQL server of this test process alone: Debian's, on a socket in a directory of its own.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

/// Starts it, says its directory, and stops it when standard input ends: with the test process, however that ends.
const SCRIPT: &str = r#"
set -eu
dir=$(mktemp -d)
end() {
  "$1/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap 'end "$1"' EXIT
trap 'exit 1' INT TERM HUP
"$1/initdb" -D "$dir/data" -U cloudly --auth=trust --no-sync --encoding=UTF8 --locale=C.UTF-8 >"$dir/log" 2>&1 &&
  "$1/pg_ctl" -D "$dir/data" -l "$dir/log" -w start >/dev/null \
    -o "-k $dir -c listen_addresses= -c max_connections=900 -c fsync=off -c full_page_writes=off" ||
  { cat "$dir/log" >&2; exit 1; }
echo "$dir"
read -r _ || true
"#;

struct Server {
    socket: PathBuf,
    /// Its standard input is open as long as this process lives.
    _shell: Mutex<Child>,
}

static SERVER: LazyLock<Server> = LazyLock::new(start);

fn start() -> Server {
    let programs = newest_programs();
    // It refuses to run as root; the package has made a user for it.
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    let mut shell = command
        .args(["-c", SCRIPT, "sh"])
        .arg(programs)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("setpriv or sh is missing");
    let mut line = String::new();
    let output = shell.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    assert_ne!(line, "", "PostgreSQL did not start");
    Server {
        socket: line.trim().into(),
        _shell: Mutex::new(shell),
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

fn newest_programs() -> PathBuf {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is missing: apt-get install postgresql");
    versions
        .filter_map(|version| version.ok()?.file_name().into_string().ok()?.parse::<u32>().ok())
        .max()
        .map(|version| {
            Path::new("/usr/lib/postgresql")
                .join(version.to_string())
                .join("bin")
        })
        .expect("PostgreSQL is missing: apt-get install postgresql")
}

/// The URL of a new database.
pub(super) async fn new_database() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = tokio::task::spawn_blocking(|| &*SERVER).await.unwrap();
    let url = |name: &str| {
        format!(
            "postgres://cloudly@localhost/{name}?host={}",
            server.socket.display()
        )
    };
    let name = format!("cloudly_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&url("postgres")).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE DATABASE {name} TEMPLATE template0"
    )))
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    url(&name)
}

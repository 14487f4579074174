//! Child processes beside servers in this process.

use std::process::{Output, Stdio};
use tokio::process::{Child, Command};
use tokio::sync::RwLock;

/// Between fork and exec a child holds a copy of every open file, so that a database which was just closed still counts
/// as locked. Hence nothing is spawned (write) while a server opens its database (read).
pub(crate) static SPAWNING: RwLock<()> = RwLock::const_new(());

pub(crate) async fn spawn(command: &mut Command) -> Child {
    let _guard = SPAWNING.write().await;
    command.spawn().unwrap()
}

pub(crate) async fn output(command: &mut Command) -> Output {
    let child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped())).await;
    child.wait_with_output().await.unwrap()
}

//! Little memory: everything goes on within a few MiB, whatever clients and neighbours send meanwhile.

use crate::support::enrolled_agent::{EnrolledAgent, desired, release_2};
use crate::support::raw_http::{connect, token};
use crate::support::scripted_server::raw;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::io::AsyncWriteExt as _;

/// What the agent may take beside what it has when idle. A failed allocation would end it.
const MORE_BYTES: u64 = 8 << 20;
const CLIENTS: usize = 200;

/// Private memory that can be written: heap and stacks.
fn data_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmData:"))
        .unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_eight_mib_to_spare_everything_works_beside_large_requests_and_answers() {
    let mut setup = EnrolledAgent::start().await;
    let pid = setup.agent.pid();
    let limit = Rlimit {
        current: Some(data_bytes(pid) + MORE_BYTES),
        ..getrlimit(Resource::Data)
    };
    prlimit(Pid::from_raw(i32::try_from(pid).unwrap()), Resource::Data, limit).unwrap();

    // Each client sends as much as it can of a request that never ends.
    let head = format!(
        "PUT /v1/locks/backup HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 16000\r\n\r\n{}",
        token(&setup.agent),
        " ".repeat(15_999)
    );
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = connect(&setup.agent).await;
        // The agent closes connections that are too many.
        let _ = client.write_all(head.as_bytes()).await;
        clients.push(client);
    }
    let large = raw(
        "200 OK",
        "Content-Type: application/json\r\n",
        vec![b'['; 32 << 20],
    );
    setup
        .cloudly
        .set_script(move |request| request.path.ends_with("/heartbeat").then(|| large.clone()));
    setup.wait_heartbeats(2).await;
    setup.set_desired(&desired(1, &release_2(), |_| {}));
    setup.wait_runs("b2b2b2b2").await;
    setup.assert_healthy().await;
    drop(clients);
}

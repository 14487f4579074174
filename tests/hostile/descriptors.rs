//! Too few file descriptors: the agent runs on with what it has, and does everything again once there are enough.

use crate::support::LIMIT;
use crate::support::enrolled_agent::{EnrolledAgent, desired, release_2};
use crate::support::raw_http::connect;
use baseos_interfaces::local::{LockRequest, LockScope};
use baseos_simulator::harness::{ensure, wait_until};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// Connections of a client that never says anything: more than the agent has descriptors for.
const IDLE: usize = 200;

fn limit_descriptors(setup: &mut EnrolledAgent, limit: usize) {
    let pid = Pid::from_raw(i32::try_from(setup.agent.pid()).unwrap());
    // The agent has inherited the test's own limits.
    let new = Rlimit {
        current: Some(u64::try_from(limit).unwrap()),
        ..getrlimit(Resource::Nofile)
    };
    prlimit(pid, Resource::Nofile, new).unwrap();
}

fn lock_request() -> LockRequest {
    LockRequest {
        reason: "backup running".into(),
        ttl_seconds: 60,
        scope: LockScope::App,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_64_descriptors_everything_works_beside_idle_connections() {
    let mut setup = EnrolledAgent::start().await;
    limit_descriptors(&mut setup, 64);
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(connect(&setup.agent).await);
    }
    setup.agent.api().lock("backup", &lock_request()).await.unwrap();
    setup.agent.api().unlock("backup").await.unwrap();
    setup.set_desired(&desired(1, &release_2(), |_| {}));
    setup.wait_runs("b2b2b2b2").await;
    setup.assert_healthy().await;
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_free_descriptors_it_runs_on_and_recovers() {
    let mut setup = EnrolledAgent::start().await;
    let open = setup.agent.open_descriptors();
    limit_descriptors(&mut setup, open + 2);
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(connect(&setup.agent).await);
    }
    // It has run into the limit, and has not ended.
    let noticed = wait_until("the agent notices", LIMIT, async || {
        setup.agent.pid();
        let log = setup.agent.log();
        ensure(log.contains("cannot take a connection"), || {
            setup.agent.log_tail()
        })
    });
    noticed.await.unwrap();
    setup.agent.pid();
    drop(idle);
    limit_descriptors(&mut setup, 64);
    setup.wait_heartbeats(2).await;
    let locked = wait_until("a lock is given", LIMIT, async || {
        let taken = setup.agent.api().lock("backup", &lock_request()).await;
        taken.map(drop).map_err(|error| error.to_string())
    });
    locked.await.unwrap();
    setup.agent.api().unlock("backup").await.unwrap();
    setup.set_desired(&desired(1, &release_2(), |_| {}));
    setup.wait_runs("b2b2b2b2").await;
    setup.assert_healthy().await;
}

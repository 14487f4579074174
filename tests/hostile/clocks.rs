//! A wrong clock, of the device or of Cloudly, over real TLS: the agent keeps in touch with Cloudly and says so.

use crate::support::LIMIT;
use crate::support::agent::AgentProcess;
use crate::support::scripted_server::{Request, ScriptedServer, heartbeat_answer, json_reply};
use crate::support::tls_front::TlsFront;
use baseos_interfaces::local::{LockRequest, LockScope};
use baseos_simulator::harness::{ensure, wait_until};
use std::path::{Path, PathBuf};

/// Changes the wall clock of libc; the boot-time clock is the kernel's.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

struct Setup {
    cloudly: ScriptedServer,
    tls: TlsFront,
    agent: AgentProcess,
    clock_file: PathBuf,
}

impl Setup {
    /// An agent whose wall clock is so far off; not started yet.
    async fn with_clock(offset: &str) -> Self {
        assert!(Path::new(FAKETIME).is_file(), "apt-get install libfaketime");
        let cloudly = ScriptedServer::start().await;
        let tls = TlsFront::before(cloudly.address()).await;
        let agent = AgentProcess::new();
        let clock_file = agent.dir().join("clock");
        let agent = agent
            .with_cloudly(&tls.url(), &cloudly.join_token)
            .with("BASEOS_CLOUDLY_CA", &tls.ca_pem())
            .with("LD_PRELOAD", FAKETIME)
            .with("FAKETIME_TIMESTAMP_FILE", &clock_file.display().to_string())
            .with("FAKETIME_NO_CACHE", "1")
            .with("DONT_FAKE_MONOTONIC", "1");
        let setup = Self {
            cloudly,
            tls,
            agent,
            clock_file,
        };
        setup.set_clock(offset);
        setup
    }

    fn set_clock(&self, offset: &str) {
        let new = self.clock_file.with_extension("new");
        std::fs::write(&new, format!("{offset}\n")).unwrap();
        std::fs::rename(&new, &self.clock_file).unwrap();
    }

    /// Waits for a heartbeat over a new connection.
    async fn hear_over_a_new_connection(&self) {
        let (connections, heartbeats) = (self.cloudly.connections(), self.cloudly.heartbeats().len());
        self.tls.cut_connections();
        let heard = wait_until("a heartbeat over a new connection", LIMIT, async || {
            let new = (self.cloudly.connections(), self.cloudly.heartbeats().len());
            ensure(new.0 > connections && new.1 > heartbeats + 1, || {
                format!("{new:?}\n{}", self.agent.log_tail())
            })
        });
        heard.await.unwrap();
        self.agent.wait_connected().await.unwrap();
    }

    /// Waits until the last status that Cloudly was sent has the issue, or not.
    async fn wait_issue(&self, reported: bool) {
        let expected = format!("the issue is reported: {reported}");
        let outcome = wait_until(&expected, LIMIT, async || {
            let heartbeats = self.cloudly.heartbeats();
            let mut statuses = heartbeats.iter().rev().map(|heartbeat| &heartbeat.body["status"]);
            let last = statuses.find(|status| status.is_object());
            let issues = last.map_or_else(String::new, |status| status["health"]["issues"].to_string());
            ensure(issues.contains("clockImplausible") == reported, || issues.clone())
        });
        outcome.await.unwrap();
    }
}

#[tokio::test]
async fn a_device_with_a_clock_years_off_enrols_and_reports_it() {
    for offset in ["-7300d", "+1825d", "+7300d"] {
        let mut setup = Setup::with_clock(offset).await;
        setup.agent.start().await;
        setup.agent.wait_connected().await.unwrap();
        setup.wait_issue(true).await;
        let doctor = setup.agent.run_command(&["doctor"]).await;
        let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(text.contains("the device's clock says"), "{text}");
    }
}

#[tokio::test]
async fn an_enrolled_device_keeps_in_touch_while_its_clock_jumps() {
    let mut setup = Setup::with_clock("+0d").await;
    setup.agent.start().await;
    setup.agent.wait_connected().await.unwrap();
    setup.wait_issue(false).await;
    for offset in ["+200d", "-7300d", "+1825d", "+12000d"] {
        setup.set_clock(offset);
        setup.hear_over_a_new_connection().await;
        setup.wait_issue(true).await;
    }
    setup.set_clock("+0d");
    setup.hear_over_a_new_connection().await;
    setup.wait_issue(false).await;
}

#[tokio::test]
async fn a_start_with_another_clock_finds_cloudly_again() {
    let mut setup = Setup::with_clock("+0d").await;
    setup.agent.start().await;
    setup.agent.wait_connected().await.unwrap();
    for offset in ["-7300d", "+200d", "+1825d"] {
        setup.agent.kill().await;
        setup.set_clock(offset);
        setup.agent.start().await;
        setup.hear_over_a_new_connection().await;
        setup.wait_issue(true).await;
    }
}

#[tokio::test]
async fn a_clock_that_stands_still_stops_neither_heartbeats_nor_the_end_of_a_lock() {
    let mut setup = Setup::with_clock("+0d").await;
    setup.agent.start().await;
    setup.agent.wait_connected().await.unwrap();
    setup.set_clock("2026-11-24 12:00:00");
    setup.hear_over_a_new_connection().await;
    let request = LockRequest {
        reason: "backup running".into(),
        ttl_seconds: 3,
        scope: LockScope::App,
    };
    setup.agent.api().lock("backup", &request).await.unwrap();
    let ended = wait_until("the lock has ended", LIMIT, async || {
        let locks = setup
            .agent
            .api()
            .locks()
            .await
            .map_err(|error| error.to_string())?;
        ensure(locks.locks.is_empty(), || format!("{locks:?}"))
    });
    ended.await.unwrap();
    setup.hear_over_a_new_connection().await;
}

#[tokio::test]
async fn one_answer_from_another_year_does_not_lock_the_device_out() {
    for year in [1970, 2030, 2099] {
        let mut setup = Setup::with_clock("+0d").await;
        let mut wrong_answers = 1;
        setup.cloudly.set_script(move |request: &Request| {
            let is_wrong = request.path.ends_with("/heartbeat") && wrong_answers > 0;
            is_wrong.then(|| {
                wrong_answers -= 1;
                let mut answer = heartbeat_answer();
                answer["serverTime"] = format!("{year}-01-01T00:00:00Z").into();
                json_reply("200 OK", &answer)
            })
        });
        setup.agent.start().await;
        setup.agent.wait_connected().await.unwrap();
        setup.hear_over_a_new_connection().await;
        setup.wait_issue(false).await;
        // Nor does it when the device's clock goes wrong afterwards.
        setup.agent.kill().await;
        setup.set_clock("-7300d");
        setup.agent.start().await;
        setup.hear_over_a_new_connection().await;
    }
}

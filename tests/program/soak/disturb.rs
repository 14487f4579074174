//! Carries out what a plan says.

use super::plan::{DisturbanceKind, Episode};
use crate::fixture::{Fixture, policy};
use crate::state_disk::{Mount, fill};
use crate::wrapper_script::WrapperScript;
use baseos_interfaces::desired::Policy;
use baseos_simulator::clock::{Clock, sleep};
use baseos_simulator::device::Fault;
use baseos_simulator::harness::{APP_ID, Error, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Before each start of the agent.
pub(super) const SHELL: &str = r#"
if [ -e "$SOAK_DIR/clock" ]; then
  FAKETIME=$(cat "$SOAK_DIR/clock")
  export FAKETIME LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1
fi
"#;
/// The only service beside the agent.
const OTHER_SERVICE: &str = "onebox";

pub(super) struct Soak {
    pub(super) fixture: Fixture,
    script: WrapperScript,
    dir: PathBuf,
    _mount: Mount,
    cloudly_is_down: bool,
}

/// One step of a timeline.
enum Step<'a> {
    Desire(&'a str),
    Begin(&'a DisturbanceKind),
    End(&'a DisturbanceKind),
}

impl Soak {
    pub(super) fn new(fixture: Fixture, script: WrapperScript, dir: &Path) -> Self {
        let mount = Mount(fixture.state_dir());
        Self {
            fixture,
            script,
            dir: dir.to_owned(),
            _mount: mount,
            cloudly_is_down: false,
        }
    }

    /// Makes the release the desired one, and does what the episode says at its times.
    pub(super) async fn disturb(&mut self, episode: &Episode) -> Result<()> {
        let mut steps = vec![(0, Step::Desire(&episode.release.commit))];
        for disturbance in &episode.disturbances {
            steps.push((disturbance.at, Step::Begin(&disturbance.kind)));
            if let Some(lasts) = lasts(&disturbance.kind) {
                steps.push((disturbance.at + lasts, Step::End(&disturbance.kind)));
            }
        }
        if let Some((after, release)) = &episode.superseded {
            steps.push((*after, Step::Desire(&release.commit)));
        }
        steps.sort_by_key(|(at, _)| *at);
        let clock = Clock::start();
        for (at, step) in steps {
            sleep(Duration::from_millis(at).saturating_sub(clock.now())).await;
            match step {
                Step::Desire(commit) => self.desire(commit).await?,
                Step::Begin(kind) => self.begin(kind).await,
                Step::End(kind) => self.end(kind).await?,
            }
        }
        Ok(())
    }

    async fn desire(&mut self, commit: &str) -> Result<()> {
        self.start_cloudly().await?;
        // Longer than the agent's looks are apart: a bad release ends in between.
        let policy = Policy {
            health_seconds: 3,
            ..policy()
        };
        self.fixture.set_desired(Some(commit), policy).await.map(drop)
    }

    async fn begin(&mut self, kind: &DisturbanceKind) {
        let device = &self.fixture.device;
        match kind {
            DisturbanceKind::KillAgent => device.kill("baserunner"),
            DisturbanceKind::KillAgentAt { fail_point, hit } => {
                let shell = format!("export BASEOS_FAILPOINT='{fail_point}:{hit}'");
                self.script.at_next_start(&shell);
                device.kill("baserunner");
            }
            DisturbanceKind::TerminateAgent => device.terminate("baserunner"),
            DisturbanceKind::RestartSupervisor => device.restart_supervisor(),
            DisturbanceKind::SupervisorDown(_) => device.crash_supervisor(),
            DisturbanceKind::SupervisorFault { path, kind, times } => {
                device.add_fault(Fault::on(path, *kind).times(*times));
            }
            DisturbanceKind::PowerCut => device.power_cycle(),
            DisturbanceKind::CloudlyDown(_) => {
                self.fixture.cloudly.kill().await;
                self.cloudly_is_down = true;
            }
            DisturbanceKind::ClockJump(offset) => {
                self.set_clock(offset);
                self.fixture.device.kill("baserunner");
            }
            // It may be taken by the Supervisor at this moment.
            DisturbanceKind::ForeignLock(_) => drop(device.take_lock(APP_ID, OTHER_SERVICE)),
            DisturbanceKind::DiskFull(_) => fill(&self.fixture.state_dir()),
        }
    }

    async fn end(&mut self, kind: &DisturbanceKind) -> Result<()> {
        match kind {
            DisturbanceKind::SupervisorDown(_) => self.fixture.device.restart_supervisor(),
            DisturbanceKind::CloudlyDown(_) => self.start_cloudly().await?,
            DisturbanceKind::ForeignLock(_) => self.fixture.device.release_lock(APP_ID, OTHER_SERVICE),
            DisturbanceKind::DiskFull(_) => self.make_room()?,
            _ => {}
        }
        Ok(())
    }

    /// Ends what may still last.
    pub(super) async fn end_all(&mut self) -> Result<()> {
        self.fixture.device.clear_faults();
        self.fixture.device.release_lock(APP_ID, OTHER_SERVICE);
        self.start_cloudly().await?;
        self.make_room()
    }

    async fn start_cloudly(&mut self) -> Result<()> {
        if self.cloudly_is_down {
            self.fixture.cloudly.start_again().await?;
            self.cloudly_is_down = false;
        }
        Ok(())
    }

    fn make_room(&self) -> Result<()> {
        match std::fs::remove_file(self.fixture.state_dir().join("filler")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn set_clock(&self, offset: &str) {
        std::fs::write(self.dir.join("clock"), offset).unwrap();
    }

    /// No file that the programs wrote, except those for secrets, holds one.
    pub(super) fn check_logs(&self) -> Result<()> {
        let state = std::fs::read_to_string(self.fixture.state_dir().join("state.json"))?;
        let tokens: Vec<_> = state.split('"').filter(|text| text.starts_with("szn_")).collect();
        if tokens.is_empty() {
            return Err(Error::new("the state file has no node token"));
        }
        for dir in ["device/log", "cloudly"] {
            check_files(&self.fixture.dir().join(dir), &tokens)?;
        }
        Ok(())
    }
}

/// Milliseconds, of what has an end.
fn lasts(kind: &DisturbanceKind) -> Option<u64> {
    match kind {
        DisturbanceKind::SupervisorDown(millis)
        | DisturbanceKind::CloudlyDown(millis)
        | DisturbanceKind::ForeignLock(millis)
        | DisturbanceKind::DiskFull(millis) => Some(*millis),
        _ => None,
    }
}

fn check_files(dir: &Path, tokens: &[&str]) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if !path.is_file() {
            continue;
        }
        let text = std::fs::read(&path)?;
        for token in tokens {
            // The first 15 characters are prefix and id, which are public.
            let secret = &token.as_bytes()[15..27];
            if text.windows(secret.len()).any(|window| window == secret) {
                return Err(Error::new(format!("{} holds a node token", path.display())));
            }
        }
    }
    Ok(())
}

//! An enrolled agent between a Cloudly of the test's own making and a simulated Supervisor.

use crate::hostile::{Hostile, json_reply, now, orders};
use crate::rig::{Rig, SOON, SUPERVISOR_KEY};
use baseos_simulator::device::{Device, DeviceConfig};
use baseos_simulator::harness::{Version, wait_until};
use baseos_simulator::supervisor::{Behaviour, Config, Image, Registry, Timing};
use serde_json::{Value, json};

/// An enrolled agent with a Supervisor that runs the first release.
pub struct Site {
    pub cloudly: Hostile,
    pub device: Device,
    pub rig: Rig,
}

impl Site {
    pub async fn start() -> Self {
        let image = Image::new(Behaviour::Runs, 50);
        let registry = ["baserunner:1", "onebox:1", "onebox:2"]
            .into_iter()
            .fold(Registry::default(), |all, name| all.with(name, image.clone()));
        let supervisor = Config {
            api_key: SUPERVISOR_KEY.to_owned(),
            timing: Timing::fast(),
            ..Config::default()
        };
        let config = DeviceConfig {
            supervisor,
            registry,
            ..DeviceConfig::default()
        };
        let device = Device::start(config).await.unwrap();
        device.post_target(&first().local_target("rig"));
        let cloudly = Hostile::start().await;
        let mut rig = Rig::new()
            .with_cloudly(&cloudly.url(), &cloudly.join)
            .with_supervisor(&device.supervisor_url())
            .with("BALENA_APP_ID", "1")
            .with("BALENA_SERVICE_NAME", "baserunner");
        rig.start().await;
        rig.wait("all is connected", |status| {
            status.cloudly.connected && status.running.as_deref() == Some("a1a1a1a1")
        })
        .await
        .unwrap();
        Self { cloudly, device, rig }
    }

    /// Answers heartbeats so from now on, other members as usual.
    pub fn order(&self, members: Value) {
        self.cloudly.script(move |asked| {
            let mut answer = orders();
            for (name, value) in members.as_object()? {
                answer[name] = value.clone();
            }
            asked
                .path
                .ends_with("/heartbeat")
                .then(|| json_reply("200 OK", &answer))
        });
    }

    /// Waits for so many more accepted heartbeats: whatever was ordered has been heard then.
    pub async fn heard(&self, beats: usize) {
        let before = self.cloudly.beats().len();
        wait_until("heartbeats", SOON, async || {
            let more = self.cloudly.beats().len() - before;
            if more > beats {
                Ok(())
            } else {
                Err(format!("{more} of {beats}"))
            }
        })
        .await
        .unwrap();
    }

    pub fn posts(&self) -> usize {
        self.device.count("POST", "/v2/local/target-state")
    }

    pub async fn is_well(&mut self) {
        self.rig.is_well().await.unwrap();
        assert_eq!(
            self.rig.api().handshake().await.unwrap().node_id.as_deref(),
            Some("node_hostile01")
        );
    }
}

/// The release the device is delivered with.
pub fn first() -> Version {
    Version::new("a1a1a1a1", "1.0.0", "onebox:1")
}

/// What Cloudly may desire, changed for the worse.
pub fn desired(revision: u64, version: &Version, change: impl FnOnce(&mut Value)) -> Value {
    let release = version.release();
    let mut app = json!({
        "releaseId": format!("rel_{}", version.commit), "commit": release.commit, "version": release.version,
        "services": release.services, "volumes": release.volumes, "networks": {},
        "policy": { "healthSeconds": 1, "applyTimeoutSeconds": 30 },
    });
    change(&mut app);
    json!({ "revision": revision, "issuedAt": now(), "app": app, "hostOs": null })
}

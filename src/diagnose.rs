//! What can be looked at when no agent runs: the state file, the Supervisor, Cloudly.

use crate::adapters::cloudly::CloudlyPort;
use crate::adapters::store::StateFile;
use crate::adapters::supervisor::{self, PollIntervals, SupervisorClient, SupervisorSettings};
use crate::cli::OneShot;
use crate::config::Settings;
use crate::lifecycle::Event;
use crate::lifecycle::effect::PollRate;
use crate::lifecycle::migrate::migrate;
use crate::vault::{Endpoint, Vault};
use baseos_interfaces::local::Check;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;

/// Looks once, with the agent's own adapters.
#[derive(Debug)]
pub struct OneLook<'a> {
    /// What the agent would be told.
    pub settings: &'a Settings,
}

impl OneShot for OneLook<'_> {
    async fn checks(&self) -> Vec<Check> {
        let (state, opened) = self.state();
        let endpoint = self
            .settings
            .cloudly_or_stored(opened.as_ref().and_then(StateFile::endpoint));
        let supervisor = self.supervisor().await;
        let cloudly = match (endpoint, opened) {
            (None, _) => check(
                "cloudly",
                Err("its address is not known".into()),
                "set BASEOS_CLOUDLY_URL",
            ),
            (Some(endpoint), Some(store)) => cloudly(endpoint, Arc::new(store)).await,
            (Some(endpoint), None) => check(
                "cloudly",
                Err(format!("{} not tried without a state", endpoint.url)),
                "see the check of the state",
            ),
        };
        vec![state, supervisor, cloudly]
    }
}

impl OneLook<'_> {
    fn state(&self) -> (Check, Option<StateFile>) {
        const FIX: &str = "see the message; BASEOS_STATE_DIR says where the state is";
        if !self.settings.state_dir.is_dir() {
            let fact = format!(
                "{} does not exist: this node was never enrolled",
                self.settings.state_dir.display()
            );
            return (
                check("state", Err(fact), "start the agent, or set BASEOS_STATE_DIR"),
                None,
            );
        }
        let opened = match StateFile::open(&self.settings.state_dir) {
            Ok(opened) => opened.file,
            Err(error) => return (check("state", Err(error.to_string()), FIX), None),
        };
        let state = match opened.load_checkpoint::<serde_json::Value>() {
            Ok(Some(value)) => migrate(value)
                .map_err(|error| error.to_string())
                .map(|checkpoint| match checkpoint.node_id() {
                    Some(node) => format!("enrolled as {node}, {}", checkpoint.agent_state()),
                    None => format!("not enrolled, {}", checkpoint.agent_state()),
                }),
            Ok(None) => Ok("empty: this node was never enrolled".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        (check("state", state, FIX), Some(opened))
    }

    async fn supervisor(&self) -> Check {
        const FIX: &str = "give the service the label io.balena.features.supervisor-api=1, and look at the container \
                           balena_supervisor on the host";
        let access = self
            .settings
            .supervisor
            .as_ref()
            .map(|access| SupervisorSettings {
                address: access.address.clone(),
                api_key: access.api_key.clone(),
            });
        let client = match SupervisorClient::new(access) {
            Ok(client) => client,
            Err(error) => return check("supervisor", Err(error.to_string()), FIX),
        };
        let (_set, rate) = watch::channel(PollRate::Slow);
        let mut looks = Box::pin(supervisor::poll(client, PollIntervals::default(), rate));
        let seen = match looks.next().await {
            Some(Event::SupervisorObserved(seen)) => seen.map_err(|error| error.message).map(|view| {
                let release = view.release.unwrap_or_else(|| "no release".to_owned());
                format!("version {}, {release}", view.version)
            }),
            _ => Err("not looked at".to_owned()),
        };
        check("supervisor", seen, FIX)
    }
}

async fn cloudly(endpoint: Endpoint, vault: Arc<dyn Vault>) -> Check {
    const FIX: &str = "check the network, the name and the certificate of BASEOS_CLOUDLY_URL";
    let url = &endpoint.url;
    let reached = match CloudlyPort::new(Some(&endpoint), vault) {
        Ok(port) => port.reach().await.map_err(|failure| failure.message),
        Err(error) => Err(error.to_string()),
    };
    check("cloudly", reached.map(|()| format!("{url} answers")), FIX)
}

fn check(name: &str, found: Result<String, String>, fix: &str) -> Check {
    let (ok, fact) = match found {
        Ok(fact) => (true, fact),
        Err(fact) => (false, fact),
    };
    Check {
        name: name.to_owned(),
        ok,
        fact,
        fix: (!ok).then(|| fix.to_owned()),
    }
}

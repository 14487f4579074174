//! Checks of the state file, the Supervisor and Cloudly without a running agent.

use crate::adapters::cloudly::CloudlyPort;
use crate::adapters::store::StateFile;
use crate::adapters::supervisor::{self, PollIntervals, SupervisorClient, SupervisorSettings};
use crate::cli::OfflineChecks;
use crate::config::Settings;
use crate::lifecycle::Event;
use crate::lifecycle::effect::PollRate;
use crate::lifecycle::migrate::migrate;
use crate::proxy::ProxyChoice;
use crate::vault::{Endpoint, Vault};
use baseos_interfaces::local::Check;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;

/// Runs each check once, with the agent's own adapters.
#[derive(Debug)]
pub struct OfflineDiagnosis<'a> {
    pub settings: &'a Settings,
}

impl OfflineChecks for OfflineDiagnosis<'_> {
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
            (Some(endpoint), Some(store)) => {
                let proxy = self.settings.proxy.clone().unwrap_or_default();
                cloudly(endpoint, proxy, Arc::new(store)).await
            }
            (Some(endpoint), None) => check(
                "cloudly",
                Err(format!("{} not tried without a usable state", endpoint.shown())),
                "see the state check",
            ),
        };
        vec![state, supervisor, cloudly]
    }
}

impl OfflineDiagnosis<'_> {
    fn state(&self) -> (Check, Option<StateFile>) {
        const FIX: &str = "see the message; BASEOS_STATE_DIR sets where the state is";
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
        let state = match (opened.newer_version(), opened.checkpoint()) {
            (Some(version), _) => Err(format!(
                "a newer baserunner wrote it (version {version}): of it, this one uses the node's identity and tokens"
            )),
            (None, Some(value)) => migrate(value)
                .map_err(|error| error.to_string())
                .map(|checkpoint| {
                    let node = checkpoint.identity_in_words();
                    format!("{node}, {}", checkpoint.agent_state())
                }),
            (None, None) => Ok("empty: this node was never enrolled".to_owned()),
        };
        (check("state", state, FIX), Some(opened))
    }

    async fn supervisor(&self) -> Check {
        const FIX: &str = "give the service the label io.balena.features.supervisor-api=1, and check the container \
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
        let mut polls = Box::pin(supervisor::poll(client, PollIntervals::default(), rate));
        let observed = match polls.next().await {
            Some(Event::SupervisorObserved(observed)) => {
                observed.map_err(|error| error.message).map(|view| {
                    let release = view.release.unwrap_or_else(|| "no release".to_owned());
                    format!("version {}, {release}", view.version)
                })
            }
            _ => Err("not checked".to_owned()),
        };
        check("supervisor", observed, FIX)
    }
}

async fn cloudly(endpoint: Endpoint, proxy: ProxyChoice, vault: Arc<dyn Vault>) -> Check {
    const FIX: &str = "check the network, the name and the certificate of BASEOS_CLOUDLY_URL";
    let url = endpoint.shown();
    let result = match CloudlyPort::new(Some(&endpoint), proxy, vault) {
        Ok(port) => port.reach().await.map_err(|failure| failure.message),
        Err(error) => Err(error.to_string()),
    };
    let result = match result {
        Ok(()) => Ok(format!("{url} answers")),
        Err(problem) => Err(format!("{url}: {problem}")),
    };
    check("cloudly", result, FIX)
}

fn check(name: &str, result: Result<String, String>, fix: &str) -> Check {
    let (ok, fact) = match result {
        Ok(fact) => (true, fact),
        Err(fact) => (false, fact),
    };
    Check {
        name: name.to_owned(),
        ok,
        warning: false,
        fact,
        fix: (!ok).then(|| fix.to_owned()),
    }
}

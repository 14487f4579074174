//! A run of everything that could print or store a secret.

use crate::secrets::commands::{Output, run_all_commands, run_command};
use crate::secrets::scan::{Secret, find_secrets, read_files};
use crate::support::UPDATE_LIMIT;
use baseos_interfaces::admin::{CommandRecord, CreateCommand, CreateJoinToken};
use baseos_interfaces::command::{CommandAction, CommandState};
use baseos_interfaces::local::LocalStatus;
use baseos_interfaces::rules::GUARD_SERVICE;
use baseos_interfaces::states::UpdateState;
use baseos_simulator::device::{Fault, FaultKind};
use baseos_simulator::harness::{
    Programs, TestRelease, Testbed, TestbedOptions, ensure, read_state, wait_until,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Files that have a secret in them.
const EXCLUDED: [&str; 4] = ["token", "admin-token", "token-pepper", "pepper"];

/// An image of an agent that ends at once.
const BAD_AGENT: &str = "baserunner:bad";

/// Everything that must not be in any output.
struct Tokens {
    join: String,
    second_join: String,
    first_node: String,
    second_node: String,
    local: String,
    admin: String,
    supervisor_key: String,
}

/// What the tests do with a testbed, and what came out.
pub(crate) struct Run {
    pub(crate) testbed: Testbed,
    /// The agent's.
    env: BTreeMap<String, String>,
    tokens: Tokens,
    pub(crate) output: Output,
}

fn node_token(testbed: &Testbed) -> String {
    let state = read_state(&testbed.state_dir()).unwrap().to_string();
    let at = state.find("szn_").expect("a node token");
    state[at..at + 64].to_owned()
}

impl Run {
    /// An enrolled agent, with the finest log level of both programs.
    pub(crate) async fn start(log_format: &str) -> Self {
        let programs = Programs::beside(env!("CARGO_BIN_EXE_baserunner")).unwrap();
        let options = TestbedOptions::new(programs)
            .with_agent_variable("BASEOS_LOG", "trace")
            .with_agent_variable("BASEOS_LOG_FORMAT", log_format)
            .with_agent_variable("BASEOS_SUPERVISOR_POLL", "1s")
            .with_agent_variable("BASEOS_GUARD_BUDGET", "2s")
            .with_agent_program(BAD_AGENT, Path::new("/bin/false"))
            .with_cloudly_variable("CLOUDLY_LOG", "trace")
            .with_cloudly_variable("CLOUDLY_LOG_FORMAT", log_format);
        let testbed = Testbed::start(options).await.unwrap();
        let ready = testbed.wait_agent("connected to both", UPDATE_LIMIT, |status| {
            status.cloudly.connected && status.supervisor.available == Some(true)
        });
        ready.await.unwrap();
        let pid = testbed.device.pid("baserunner").unwrap();
        let env: BTreeMap<_, _> = std::fs::read_to_string(format!("/proc/{pid}/environ"))
            .unwrap()
            .split('\0')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let admin = std::fs::read_to_string(testbed.cloudly.admin_token_file()).unwrap();
        let tokens = Tokens {
            join: env["BASEOS_JOIN_TOKEN"].clone(),
            second_join: String::new(),
            first_node: node_token(&testbed),
            second_node: String::new(),
            local: testbed.agent.token().unwrap(),
            admin: admin.trim().to_owned(),
            supervisor_key: env["BALENA_SUPERVISOR_API_KEY"].clone(),
        };
        Self {
            testbed,
            env,
            tokens,
            output: Output::default(),
        }
    }

    async fn wait_agent(&self, expected: &str, condition: impl Fn(&LocalStatus) -> bool) {
        let outcome = self.testbed.wait_agent(expected, UPDATE_LIMIT, condition);
        outcome.await.unwrap();
    }

    async fn run_command(&mut self, args: &[&str], exit_code: i32) {
        run_command(&mut self.output, &self.env, args, exit_code).await;
    }

    /// Calls the local API.
    async fn call(&mut self, method: &str, path: &str, body: Option<&str>) {
        let body = body.map(str::to_owned);
        let answer = self.testbed.agent.call(method, path, body).await.unwrap();
        self.output
            .add(&format!("the answer to {method} {path}"), answer.body);
    }

    /// A managed Supervisor requires the key, so the agent uses it.
    pub(crate) async fn use_the_supervisor_key(&self) {
        let device = &self.testbed.device;
        for managed in [true, false] {
            device.set_port_closed(true);
            self.wait_agent("the Supervisor is down", |status| {
                status.supervisor.available == Some(false)
            })
            .await;
            device.set_managed(managed);
            device.set_port_closed(false);
            self.wait_agent("the Supervisor is up", |status| {
                status.supervisor.managed == Some(managed)
            })
            .await;
        }
    }

    pub(crate) async fn rotate_the_node_token(&mut self) {
        self.create_command(CommandAction::RotateToken {}).await;
        let rotated = wait_until("another node token", UPDATE_LIMIT, async || {
            let token = node_token(&self.testbed);
            if token != self.tokens.first_node && self.testbed.node().await.is_ok() {
                Ok(token)
            } else {
                Err(String::new())
            }
        });
        self.tokens.second_node = rotated.await.unwrap();
    }

    /// A new agent ends at once: its guard calls the Supervisor, with the key.
    pub(crate) async fn be_put_back_by_the_guard(&self) {
        self.wait_agent("the guard is armed", |status| {
            status.guard.as_ref().is_some_and(|guard| guard.armed)
        })
        .await;
        let release = TestRelease::new("e5e5e5e5", "5.0.0", "onebox:2").with_agent_image(BAD_AGENT);
        self.testbed.publish(&release).await.unwrap();
        let policy = self.testbed.quick_policy();
        let desired = self.testbed.set_desired(Some(&release.commit), policy);
        desired.await.unwrap();
        self.wait_agent("the guard has put the last release back", |status| {
            status.update.target.as_deref() == Some(&release.commit)
                && status.update.state == UpdateState::RolledBack
        })
        .await;
        let log = self.testbed.device.log_tail(GUARD_SERVICE, usize::MAX);
        assert!(log.contains("the guard has put the proven release back"), "{log}");
    }

    async fn create_command(&self, action: CommandAction) -> CommandRecord {
        let command = CreateCommand {
            action,
            ttl_seconds: None,
        };
        let node_id = self.node_id().await;
        let created = self.testbed.cloudly.create_command(&node_id, &command);
        created.await.unwrap()
    }

    async fn node_id(&self) -> String {
        self.testbed.node().await.unwrap().id
    }

    /// Cloudly asks for logs that contain secrets.
    pub(crate) async fn collect_logs(&mut self) {
        let tokens = &self.tokens;
        let key = &tokens.supervisor_key;
        let lines = [
            &tokens.join,
            &tokens.first_node,
            &tokens.second_node,
            &tokens.local,
        ]
        .map(|token| format!("app: Authorization: Bearer {token} end"));
        self.testbed.device.with_model(|model, _| {
            model.journal.extend(lines);
            model
                .journal
                .push(format!("GET /v1/device?apikey={key} and {key}"));
        });
        let command = self.create_command(CommandAction::CollectLogs { lines: 5 }).await;
        let node_id = self.node_id().await;
        let result = wait_until("the result", UPDATE_LIMIT, async || {
            let commands = self.testbed.cloudly.commands(&node_id).await;
            let commands = commands.map_err(|error| error.to_string())?;
            let found = commands.into_iter().find(|found| found.id == command.id);
            found
                .and_then(|command| command.result)
                .ok_or_else(|| "no result".to_owned())
        });
        let result = result.await.unwrap();
        assert_eq!(result.state, CommandState::Succeeded, "{result:?}");
        self.output
            .add("the logs that Cloudly got", result.message.unwrap_or_default());
    }

    /// Every call of the local API and every command, also with secrets where none belongs, while the Supervisor refuses
    /// the key.
    pub(crate) async fn use_all_interfaces(&mut self) {
        let refused = Fault::on("*", FaultKind::Unauthorized);
        self.testbed.device.add_fault(refused);
        self.wait_agent("the Supervisor refuses the key", |status| {
            status.supervisor.available == Some(false)
        })
        .await;
        for path in [
            "/v1/status",
            "/v1/doctor",
            "/v1/locks",
            "/v1/handshake",
            "/metrics",
            "/v1/health",
        ] {
            self.call("GET", path, None).await;
        }
        let (join, node) = (self.tokens.join.clone(), self.tokens.second_node.clone());
        for token in [&join, &node, &self.tokens.local.clone()] {
            let body = format!(r#"{{"joinToken":"{token}x","{token}":1,"replace":"{token}"}}"#);
            self.call("POST", "/v1/join", Some(&body)).await;
            self.call("PUT", &format!("/v1/locks/{token}"), Some(&body)).await;
        }
        let secrets = [&join, &node, &self.tokens.supervisor_key].map(String::as_str);
        run_all_commands(&mut self.output, &self.env, &self.testbed, secrets).await;
        let request = CreateJoinToken::default();
        let created = self.testbed.cloudly.create_join_token(&request).await.unwrap();
        self.tokens.second_join = created.token.expose().to_owned();
        self.run_command(&["join", created.token.expose()], 1).await;
        self.testbed.device.clear_faults();
    }

    /// Cloudly loses its database: 401 for the node token, and for the join token that is tried then.
    pub(crate) async fn be_refused_by_cloudly(&mut self) {
        self.testbed.cloudly.kill().await;
        for (file, content) in read_files(&self.testbed.dir().join("cloudly"), &EXCLUDED) {
            self.output.add(&file, content);
            if file.contains("cloudly.db") {
                std::fs::remove_file(file).unwrap();
            }
        }
        self.testbed.cloudly.start_again().await.unwrap();
        self.wait_agent("the node token is refused", |status| {
            let error = status.cloudly.error.as_deref();
            error.is_some_and(|error| error.contains("401"))
        })
        .await;
        let join = self.tokens.second_join.clone();
        self.run_command(&["join", &join], 0).await;
        self.wait_agent("the join token is refused", |status| {
            !status.issues.is_empty() || status.cloudly.failures > 1
        })
        .await;
        self.run_command(&["status"], 0).await;
    }

    /// Stops the agent and reads all files.
    pub(crate) async fn read_everything(&mut self) {
        let device = &self.testbed.device;
        device.stop_container("baserunner");
        let stopped = async || ensure(device.pid("baserunner").is_none(), || "it runs".to_owned());
        wait_until("the agent has stopped", UPDATE_LIMIT, stopped)
            .await
            .unwrap();
        let log = device.log_tail("baserunner", usize::MAX);
        let finest = log.lines().filter(|line| line.contains("TRACE")).count();
        assert!(finest > 10, "only {finest} lines at the finest level");
        for (file, content) in read_files(self.testbed.dir(), &EXCLUDED) {
            self.output.add(&file, content);
        }
    }

    /// The secrets to search for. The search is for those in use: it finds each where it belongs.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        let Tokens {
            join,
            second_join,
            first_node,
            second_node,
            local,
            admin,
            supervisor_key,
        } = &self.tokens;
        let secrets = vec![
            Secret::token("the join token", join),
            Secret::token("the second join token", second_join),
            Secret::token("the first node token", first_node),
            Secret::token("the second node token", second_node),
            Secret::token("the local token", local),
            Secret::token("the admin token", admin),
            Secret::key("the Supervisor's key", supervisor_key),
        ];
        let stored_token = node_token(&self.testbed);
        let belong = format!(
            "{:?} {first_node} {stored_token} {local} {second_join} {admin}",
            self.env
        );
        for secret in &secrets {
            let found = find_secrets("its own place", belong.as_bytes(), std::slice::from_ref(secret));
            assert!(found.len() >= 2, "{secret:?}");
        }
        secrets
    }
}

//! What becomes of nodes when Cloudly is restored from a backup that is a day old.

use crate::each_engine;
use crate::support::{COMMIT, Cloudly, Device, Engine, OTHER_COMMIT, assert_refused, problem, status};
use baseos_interfaces::admin::{JoinTokenRecord, NodeRecord, Page, RefusedNode};
use baseos_interfaces::register::Approval;
use rstest_reuse::apply;
use serde_json::{Value, json};

const DAY: i64 = 86_400;

/// A device, and the tokens that its agent has: the newest first, with up to three before it.
struct Agent {
    device: Device,
    tokens: Vec<String>,
}

impl Agent {
    fn of(device: Device) -> Self {
        let tokens = vec![device.token.clone()];
        Self { device, tokens }
    }

    async fn enrol(cloudly: &Cloudly, name: &str) -> Self {
        let mut agent = Self::of(cloudly.enrol(name).await);
        agent.device.heartbeat(cloudly).await;
        agent
    }

    /// Is told a new token, and uses it.
    async fn rotate(&mut self, cloudly: &Cloudly) {
        cloudly
            .command(&self.device, json!({ "type": "rotateToken" }))
            .await;
        let token = self.device.rotated_token(cloudly).await;
        self.take(token);
        self.device.heartbeat(cloudly).await;
    }

    fn take(&mut self, token: String) {
        self.device.token.clone_from(&token);
        self.tokens.insert(0, token);
        self.tokens.truncate(4);
    }

    /// Heartbeats until one is accepted, each with the next token after a 401; `None`: none was.
    async fn return_to(&mut self, cloudly: &Cloudly) -> Option<u64> {
        for token in &self.tokens {
            self.device.token.clone_from(token);
            let heartbeat = self.device.next(json!({}));
            let answer = self.device.send(cloudly, &heartbeat).await;
            if answer.status().is_success() {
                let answer: Value = answer.json().await.unwrap();
                let revision = answer["desired"]["revision"].as_u64();
                self.device.observed = revision.unwrap_or(self.device.observed);
                return Some(self.device.observed);
            }
            let problem = problem(answer).await;
            assert_eq!((problem.status, problem.code.as_str()), (401, "nodeTokenInvalid"));
        }
        None
    }
}

async fn refused_tokens(cloudly: &Cloudly) -> Vec<String> {
    let refused: Page<RefusedNode> = cloudly.get("refused-nodes").await;
    refused.items.into_iter().map(|node| node.token_id).collect()
}

#[apply(each_engine)]
#[tokio::test]
async fn after_a_day_old_backup_every_node_reports_or_is_listed_with_what_brings_it_back(engine: Engine) {
    let mut cloudly = Cloudly::start(engine).await;
    let mut unchanged = Agent::enrol(&cloudly, "unchanged").await;
    let mut rotated = Vec::new();
    for times in 1..=3 {
        rotated.push((times, Agent::enrol(&cloudly, &format!("rotated-{times}")).await));
    }
    let mut rotating = Agent::enrol(&cloudly, "rotating").await;
    cloudly
        .command(&rotating.device, json!({ "type": "rotateToken" }))
        .await;
    let next = rotating.device.rotated_token(&cloudly).await;
    let once = cloudly.join_token(json!({ "ttlSeconds": 7 * DAY })).await;
    let mut unheard = Agent::of(cloudly.enrol_with(&once, "unheard").await);
    let mut removed = Agent::enrol(&cloudly, "removed").await;
    let mut taken_back = Agent::enrol(&cloudly, "taken-back").await;
    cloudly.decide(&taken_back.device, "remove").await;
    let approval = cloudly.join_token(json!({ "requireApproval": true })).await;
    let mut pending = Agent::of(cloudly.enrol_with(&approval, "pending").await);
    pending.device.heartbeat(&cloudly).await;
    let backup = cloudly.back_up("backup").await;

    cloudly.clock.advance(3600);
    for (times, agent) in &mut rotated {
        for _ in 0..*times {
            agent.rotate(&cloudly).await;
        }
    }
    rotating.take(next);
    rotating.device.heartbeat(&cloudly).await;
    unheard.device.heartbeat(&cloudly).await;
    let mut enrolled = Agent::enrol(&cloudly, "enrolled").await;
    cloudly.decide(&removed.device, "remove").await;
    assert_eq!(removed.device.refused(&cloudly).await.status, 410);
    cloudly.decide(&taken_back.device, "restore").await;
    taken_back.device.heartbeat(&cloudly).await;
    cloudly.decide(&pending.device, "approve").await;
    cloudly.clock.advance(DAY - 3600);
    cloudly.restore(&backup, |_| {}).await;

    // They go on by themselves.
    let rotated = rotated.iter_mut().map(|(_, agent)| agent);
    for agent in rotated.chain([&mut unchanged, &mut rotating, &mut removed]) {
        assert!(agent.return_to(&cloudly).await.is_some(), "{}", agent.device.id);
        assert_eq!(agent.return_to(&cloudly).await, Some(0));
        let node = cloudly.node(&agent.device).await;
        assert_eq!((node.lifecycle.as_str(), node.clone_suspected), ("active", false));
    }
    // Its use of the join token was not confirmed in the backup: nobody else takes it meanwhile.
    let other = problem(cloudly.register(&once, "another").await).await;
    assert_refused(&other);
    assert!(unheard.return_to(&cloudly).await.is_some());
    let tokens = cloudly.list::<JoinTokenRecord>("join-tokens", 100).await;
    assert!(tokens.iter().all(|token| token.uses <= token.max_uses));

    // They are listed, and one act brings each of them back.
    assert_eq!(pending.return_to(&cloudly).await, Some(0));
    assert_eq!(cloudly.node(&pending.device).await.approval, Approval::Pending);
    cloudly.decide(&pending.device, "approve").await;
    assert_eq!(taken_back.device.refused(&cloudly).await.status, 410);
    assert_eq!(cloudly.node(&taken_back.device).await.lifecycle, "removed");
    cloudly.decide(&taken_back.device, "restore").await;
    assert!(taken_back.return_to(&cloudly).await.is_some());
    cloudly.clock.advance(1800);
    for _ in 0..2 {
        assert_eq!(enrolled.return_to(&cloudly).await, None);
    }
    let token = &enrolled.device.token[4..14];
    assert_eq!(
        refused_tokens(&cloudly).await,
        [token],
        "not those that found another one"
    );
    let nodes = cloudly.list::<NodeRecord>("nodes", 100).await;
    assert!(nodes.iter().all(|node| node.id != enrolled.device.id));
    Agent::enrol(&cloudly, "enrolled").await;
}

#[apply(each_engine)]
#[tokio::test]
async fn a_restored_cloudly_reverts_no_node_and_its_next_order_reaches_each(engine: Engine) {
    let mut cloudly = Cloudly::start(engine).await;
    let mut agents = Vec::new();
    for name in ["a", "b", "c"] {
        agents.push(Agent::enrol(&cloudly, name).await);
    }
    cloudly.create_release(OTHER_COMMIT).await;
    let old = cloudly.set_target(COMMIT).await;
    let backup = cloudly.back_up("backup").await;
    let mut newest = old;
    for _ in 0..5 {
        let set: Value = cloudly.put("desired", json!({ "commit": OTHER_COMMIT })).await;
        newest = set["revision"].as_u64().unwrap();
    }
    let own: Value = cloudly
        .put(
            &format!("nodes/{}/desired", agents[0].device.id),
            json!({ "commit": OTHER_COMMIT }),
        )
        .await;
    for agent in &mut agents[..2] {
        agent.return_to(&cloudly).await;
        let running = status("succeeded", Some(OTHER_COMMIT), Some(OTHER_COMMIT));
        agent.device.report(&cloudly, running).await;
    }
    assert_eq!(
        (agents[0].device.observed, agents[1].device.observed),
        (own["revision"].as_u64().unwrap(), newest)
    );
    cloudly.clock.advance(DAY);
    cloudly.restore(&backup, |_| {}).await;

    let revision = cloudly.get::<Value>("desired").await["revision"].as_u64();
    assert_eq!(revision, Some(old));
    let seen = own["revision"].as_u64();
    assert_eq!(agents[0].return_to(&cloudly).await, seen, "it keeps what it runs");
    assert_eq!(cloudly.node(&agents[0].device).await.desired_revision, old);

    // Once more: nobody has reported when the operator decides, and the third one was offline all the time.
    cloudly.clock.advance(DAY);
    cloudly.restore(&backup, |_| {}).await;
    let set: Value = cloudly.put("desired", json!({ "commit": OTHER_COMMIT })).await;
    let next = set["revision"].as_u64();
    assert!(next > seen);
    for agent in &mut agents {
        assert_eq!(agent.return_to(&cloudly).await, next);
    }
}

#[apply(each_engine)]
#[tokio::test]
async fn the_targets_of_a_backup_are_followed_when_told(engine: Engine) {
    let mut cloudly = Cloudly::start(engine).await;
    let mut agent = Agent::enrol(&cloudly, "edge").await;
    let mut own = Agent::enrol(&cloudly, "own").await;
    let mut withdrawn = Agent::enrol(&cloudly, "withdrawn").await;
    cloudly.create_release(OTHER_COMMIT).await;
    cloudly.set_target(COMMIT).await;
    let desired = |agent: &Agent| format!("nodes/{}/desired", agent.device.id);
    let _: Value = cloudly
        .put(&desired(&own), json!({ "commit": OTHER_COMMIT }))
        .await;
    let _: Value = cloudly
        .put(&desired(&withdrawn), json!({ "commit": OTHER_COMMIT }))
        .await;
    let unset = cloudly
        .admin(reqwest::Method::DELETE, &desired(&withdrawn))
        .send()
        .await;
    assert!(unset.unwrap().status().is_success());
    let backup = cloudly.back_up("backup").await;
    let _: Value = cloudly.put("desired", json!({ "commit": null })).await;
    let _: Value = cloudly.put(&desired(&own), json!({ "commit": COMMIT })).await;
    let mut before = Vec::new();
    for agent in [&mut agent, &mut own, &mut withdrawn] {
        before.push(agent.return_to(&cloudly).await.unwrap());
    }
    cloudly.clock.advance(DAY);
    cloudly
        .restore(&backup, |restore| restore.apply_targets = true)
        .await;
    for (agent, commit) in [
        (&mut agent, COMMIT),
        (&mut own, OTHER_COMMIT),
        (&mut withdrawn, COMMIT),
    ] {
        let told = agent
            .device
            .heartbeat(&cloudly)
            .await
            .instructions
            .desired
            .unwrap();
        assert_eq!(told.app.unwrap().release.commit, commit);
        assert!(told.revision > before.remove(0));
    }
}

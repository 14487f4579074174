//! While nothing is under way, the agent posts the target of the proven release again with a guard of the proven agent's
//! image, when the guard is missing or of another image. Nothing else changes by that post.

use crate::lifecycle::context::Context;
use crate::lifecycle::effect::SupervisorCall;
use crate::lifecycle::facts::{AppState, Inspection};
use crate::lifecycle::guard::arming::Phase;
use crate::lifecycle::locks::lease_grant::Grants;
use crate::lifecycle::shared::Shared;
use crate::lifecycle::supervisor_target::builder::guard::guard_service;
use crate::lifecycle::supervisor_target::builder::{self, History};
use crate::lifecycle::update::target::{Release, Service};
use baseos_interfaces::rules::GUARD_SERVICE;

pub(crate) fn follow(l: &mut Shared, idle: bool, cx: &mut Context) {
    let looked = match &l.arming.phase {
        Phase::Looking(_) | Phase::Posting(_) => return,
        Phase::Looked(inspection) => Some(inspection.clone()),
        Phase::Resting => None,
    };
    l.arming.phase = Phase::Resting;
    let Some((release, service)) = due(l, idle, cx) else {
        return;
    };
    match looked {
        None if !l.arming.may_try(cx.now.boot) || l.in_flight.supervisor_swamped() => {}
        None => {
            l.arming.begin(cx.now.boot);
            let op = l.in_flight.ask_supervisor(SupervisorCall::Inspect, cx);
            l.arming.phase = Phase::Looking(op);
        }
        Some(inspection) => post(l, &inspection, &release, service, cx),
    }
}

/// The proven release and the guard it should have, when its target is to be posted for that.
fn due(l: &mut Shared, idle: bool, cx: &Context) -> Option<(Release, Service)> {
    l.run.guard.as_ref()?;
    let view = l.view()?;
    let proven = l.durable.proven.as_ref()?;
    let heard = l.heartbeats.last_contact().is_some() && l.heartbeats.last_failure().is_none();
    let undisturbed =
        l.host_seen && l.host.foreign_locks.is_empty() && l.durable.leases.iter().next().is_none();
    let runs = view.app_state == AppState::Applied && view.release.as_ref() == Some(&proven.commit);
    let may = idle
        && !l.stopping
        && heard
        && undisturbed
        && runs
        && !view.managed
        && cx.grants == Grants::Freely
        && l.state_problem.is_none()
        && !l.heartbeats.clone_suspected()
        && l.durable.guard.trial().is_none();
    if !may {
        return None;
    }
    let agent = proven.services.get(&l.run.own_service)?;
    let service = guard_service(agent);
    let exists = view
        .containers
        .iter()
        .any(|container| container.service == GUARD_SERVICE);
    if exists && l.durable.guard.service.as_ref() == Some(&service) {
        l.arming.done();
        return None;
    }
    Some((proven.clone(), service))
}

fn post(l: &mut Shared, inspection: &Inspection, release: &Release, service: Service, cx: &mut Context) {
    l.durable.target.adopt(inspection, &l.run);
    let target = l.durable.target.app_id().and_then(|id| inspection.apps.get(&id));
    let still_its_target = target.is_some_and(|app| app.commit.as_ref() == Some(&release.commit));
    if inspection.view.managed || !still_its_target {
        return;
    }
    let own_service = l.run.own_service.clone();
    match builder::plan(&mut l.durable.target, release, History::Proven, &own_service) {
        Ok(target) => {
            let ids = l.durable.target.guard_ids(&service);
            let target = Box::new(target.with_guard(ids, &service));
            l.durable.guard.service = Some(service);
            let call = SupervisorCall::ApplyTarget { target, force: false };
            l.arming.phase = Phase::Posting(l.in_flight.ask_supervisor(call, cx));
        }
        Err(refusal) => l.arming.problem = Some(refusal.to_string()),
    }
}

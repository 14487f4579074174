//! Whether an update can be undone is known before anything is touched, for the first update too.

use super::*;
use crate::lifecycle::facts::{PresentRelease, PresentService};
use crate::lifecycle::tests::world::release;
use baseos_interfaces::status::{Rollback, RollbackState};

/// Release 1, as the Supervisor's target describes it.
fn present() -> PresentRelease {
    let wire = release(1);
    let service = |service: &baseos_interfaces::desired::Service| PresentService {
        image: service.image.clone(),
        environment: service.environment.clone(),
        labels: service.labels.clone(),
        composition: service.composition.clone(),
    };
    let services = wire.services.iter();
    PresentRelease {
        services: services
            .map(|(name, wire)| (name.clone(), service(wire)))
            .collect(),
        volumes: wire.volumes,
        networks: wire.networks,
    }
}

fn rollback(world: &World) -> Rollback {
    let update = report::status::update_status(world.machine.shared(), world.machine.state());
    update.rollback.unwrap()
}

fn settles(prepare: impl FnOnce(&mut World), desired: u8, rule: PolicyKind) -> World {
    let mut world = World::enrolled();
    prepare(&mut world);
    heard(&mut world, desired, rule);
    world.act(good(Port::Supervisor));
    world
}

#[test]
fn the_first_update_goes_back_to_the_release_that_cloudly_knows_to_run() {
    let mut world = settles(|world| world.fallback = 1, 3, PolicyKind::Plain);
    let known = rollback(&world);
    assert_eq!(
        (known.state, known.target),
        (RollbackState::Possible, Some(commit(1)))
    );
    assert_eq!(left(&world, "ApplyTarget"), 0, "known before anything is touched");
    world.settle();
    assert_eq!(
        (wire(&world), world.target_commit()),
        (UpdateState::RolledBack, Some(commit(1)))
    );
}

#[test]
fn the_first_update_goes_back_to_the_supervisors_own_target() {
    let mut world = settles(
        |world| world.definition = Some(Ok(present())),
        3,
        PolicyKind::Plain,
    );
    assert_eq!(rollback(&world).state, RollbackState::Possible);
    world.settle();
    assert_eq!(
        (wire(&world), world.target_commit()),
        (UpdateState::RolledBack, Some(commit(1)))
    );
    let shared = world.machine.shared();
    assert!(shared.durable.is_proven(&commit(1)), "it has stayed healthy now");
}

#[test]
fn a_target_that_cannot_be_written_as_a_release_is_named_as_the_reason() {
    let lossy = Some(Err("service `onebox`: a mount of the host".to_owned()));
    let mut world = settles(|world| world.definition = lossy, 3, PolicyKind::Plain);
    let known = rollback(&world);
    assert_eq!(known.state, RollbackState::Impossible);
    let reason = known.reason.unwrap();
    assert!(
        reason.contains("service `onebox`: a mount of the host"),
        "{reason}"
    );
    world.settle();
    assert_eq!(wire(&world), UpdateState::RollbackNeeded, "the policy allows it");
}

#[test]
fn a_present_release_that_breaks_a_rule_is_none_to_go_back_to() {
    let mut broken = present();
    broken.services.remove("baserunner");
    let world = settles(|world| world.definition = Some(Ok(broken)), 2, PolicyKind::Plain);
    let reason = rollback(&world).reason.unwrap();
    assert!(reason.contains("lacks the service `baserunner`"), "{reason}");
}

#[test]
fn a_policy_may_hold_an_update_back_that_cannot_be_undone() {
    let mut world = settles(|_| {}, 2, PolicyKind::NeedsRollback);
    assert_eq!(
        (wire(&world), blockers(&world)),
        (UpdateState::Waiting, vec![BlockerKind::RollbackImpossible])
    );
    assert_eq!(left(&world, "ApplyTarget"), 0);
    let summary = report::summary::summary(world.machine.shared(), world.machine.state());
    assert!(
        summary.contains("Cloudly does not know release a1a1a1a"),
        "{summary}"
    );
    // Somebody tells Cloudly what runs.
    world.fallback = 1;
    heard(&mut world, 2, PolicyKind::NeedsRollback);
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn force_goes_ahead_without_a_way_back() {
    let mut world = settles(|_| {}, 2, PolicyKind::Forced);
    assert_eq!(rollback(&world).state, RollbackState::Impossible);
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn a_proven_release_is_the_one_to_go_back_to_whatever_cloudly_sends() {
    let mut world = proven(2);
    world.fallback = 1;
    heard(&mut world, 4, PolicyKind::NeedsRollback);
    world.act(good(Port::Supervisor));
    assert_eq!(rollback(&world).target, Some(commit(2)));
}

#[test]
fn what_the_first_update_replaced_is_kept_as_the_previous_release() {
    let mut world = settles(|world| world.fallback = 1, 2, PolicyKind::Plain);
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
    let status = report::status::node_status(world.machine.shared(), world.machine.state());
    assert_eq!(status.release.as_ref().unwrap().previous, Some(commit(1)));
}

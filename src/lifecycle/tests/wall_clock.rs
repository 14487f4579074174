//! The device's wall clock is wrong, or Cloudly's is.

use super::states::good;
use super::world::{Action, LocalRequest, PolicyKind, World};
use crate::lifecycle::effect::{Effect, Port};
use crate::lifecycle::event::LocalCall;
use crate::lifecycle::facts::Run;
use crate::lifecycle::report::status::update_status;
use baseos_interfaces::Timestamp;
use baseos_interfaces::codes::IssueCode;
use baseos_interfaces::local::DeferRequest;
use baseos_interfaces::status::{Blocker, BlockerKind};
use std::time::Duration;

/// What the Cloudly port was told last.
fn certificates_since(world: &World) -> Option<Timestamp> {
    let told = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::SetCertificateTimes { since } => Some(*since),
        _ => None,
    });
    told.flatten()
}

fn issue(world: &World) -> Option<String> {
    let issues = world.machine.shared().issues.status().issues;
    let found = issues
        .into_iter()
        .find(|issue| issue.code == IssueCode::ClockImplausible);
    found.map(|issue| issue.detail.unwrap())
}

/// One heartbeat that Cloudly answers.
fn beat(world: &mut World) {
    while !world.pending.contains_key(&Port::Cloudly) {
        assert!(world.act(Action::Elapse));
    }
    world.act(good(Port::Cloudly));
}

#[test]
fn a_clock_that_is_set_wrong_is_reported_and_no_longer_decides_alone() {
    for days in [-3, 3, -20_000, 20_000] {
        let mut world = World::enrolled();
        assert_eq!((certificates_since(&world), issue(&world)), (None, None));
        world.act(Action::SetClock { days });
        world.act(Action::Request(LocalRequest::Status));
        assert_eq!(certificates_since(&world), world.run_facts().built_at, "{days}");
        let detail = issue(&world).unwrap();
        let (device, cloudly) = (world.now().wall.to_string(), world.server_time().to_string());
        assert!(
            detail.contains(&device[..10]) && detail.contains(&cloudly[..10]),
            "{detail}"
        );
        world.act(Action::SetClock { days: -days });
        beat(&mut world);
        assert_eq!(
            (certificates_since(&world), issue(&world)),
            (None, None),
            "{days}"
        );
    }
}

#[test]
fn the_bound_for_certificates_leaves_before_the_first_call_of_a_start() {
    let mut world = World::enrolled();
    world.act(Action::SetClock { days: -20_000 });
    world.effects.clear();
    world.act(Action::Restart { reboot: true });
    world.act(Action::Elapse);
    let names: Vec<_> = world.effects.iter().map(Effect::name).collect();
    let position = |name: &str| names.iter().position(|left| *left == name).unwrap();
    assert!(
        position("SetCertificateTimes") < position("Heartbeat"),
        "{names:?}"
    );
}

#[test]
fn one_answer_from_another_year_changes_nothing_for_good() {
    for (year, is_a_possible_time) in [(1970, false), (2030, true), (2099, false)] {
        let mut world = World::enrolled();
        let right = world.server_time();
        world.set_cloudlys_clock(format!("{year}-01-01T00:00:00Z").parse().unwrap());
        beat(&mut world);
        // A time that Cloudly may live in counts against the device's, but never as a bound for certificates.
        for reboot in [false, true] {
            let since = is_a_possible_time.then_some(world.run_facts().built_at).flatten();
            assert_eq!(certificates_since(&world), since, "{year}");
            assert_eq!(issue(&world).is_some(), is_a_possible_time, "{year}");
            world.act(Action::Restart { reboot });
        }
        world.set_cloudlys_clock(right);
        beat(&mut world);
        let server_now = world.machine.shared().heartbeats.server_now(world.now().boot);
        assert!(server_now.unwrap() < right + Duration::from_secs(3600));
        assert_eq!(
            (certificates_since(&world), issue(&world)),
            (None, None),
            "{year}"
        );
    }
}

fn deferred(world: &World) -> Option<Blocker> {
    let update = update_status(world.machine.shared(), world.machine.state());
    let mut blockers = update.blocked_by.into_iter();
    blockers.find(|blocker| blocker.kind == BlockerKind::Deferred)
}

fn defer(world: &mut World, hours: u32) {
    world.request(LocalCall::Defer(DeferRequest {
        until_seconds: hours * 3600,
        reason: "the shop is open".to_owned(),
    }));
}

/// Answers what is asked and lets deadlines come, for so long.
fn live(world: &mut World, time: Duration) {
    let end = world.now().boot + time;
    while world.now().boot < end {
        for port in [Port::Cloudly, Port::Supervisor] {
            world.act(good(port));
        }
        world.act(Action::Elapse);
    }
}

#[test]
fn a_reboot_does_not_restart_a_deferrals_clock() {
    let hour = Duration::from_secs(3600);
    let mut world = World::enrolled();
    world.act(Action::Desire(2, PolicyKind::NeedsApproval));
    beat(&mut world);
    live(&mut world, Duration::from_secs(60));
    defer(&mut world, 6);
    assert!(deferred(&world).is_some());
    for _ in 0..3 {
        live(&mut world, hour * 2);
        world.act(Action::Restart { reboot: true });
    }
    live(&mut world, hour);
    assert_eq!(deferred(&world), None, "six hours of running have passed");
}

#[test]
fn reboots_do_not_add_to_how_long_an_update_may_be_deferred() {
    let day = Duration::from_secs(86_400);
    let mut world = World::enrolled();
    world.act(Action::Desire(2, PolicyKind::NeedsApproval));
    beat(&mut world);
    for _ in 0..6 {
        live(&mut world, day);
        world.act(Action::Restart { reboot: true });
    }
    live(&mut world, Duration::from_secs(600));
    // A week is the policy's limit; six days are over.
    defer(&mut world, 48);
    assert_eq!(deferred(&world), None);
    defer(&mut world, 12);
    assert!(deferred(&world).is_some());
}

#[test]
fn a_journal_of_an_older_agent_reads_without_the_build_time() {
    let mut json = serde_json::to_value(World::enrolled().run_facts()).unwrap();
    for member in ["built_at", "cloudly_over_tls"] {
        assert!(json.as_object_mut().unwrap().remove(member).is_some());
    }
    let run: Run = serde_json::from_value(json).unwrap();
    assert_eq!((run.built_at, run.cloudly_over_tls), (None, false));
}

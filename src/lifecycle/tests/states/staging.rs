use super::*;
use crate::lifecycle::facts::StateOwner;

#[test]
fn a_release_without_the_agent_is_refused_before_anything_is_touched() {
    let mut world = World::enrolled();
    world.act(Action::Desire(5, PolicyKind::Plain));
    world.settle();
    assert_eq!(wire(&world), UpdateState::Failed);
    assert_eq!(left(&world, "ApplyTarget"), 0);
    let update = report::status::update_status(world.machine.shared(), world.machine.state());
    let error = update.error.unwrap();
    assert_eq!(error.code, "releaseRefused");
    assert_eq!(error.evidence, [error.message]);
}

#[test]
fn a_silent_supervisor_is_reported_as_the_blocker() {
    let mut world = World::enrolled();
    heard(&mut world, 2, PolicyKind::Plain);
    play(
        &mut world,
        &[Action::Answer(Port::Supervisor, Reply::Unavailable)],
    );
    assert_eq!(
        (wire(&world), blockers(&world)),
        (UpdateState::Staged, vec![BlockerKind::SupervisorUnavailable])
    );
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn a_release_whose_settings_would_stop_the_agent_is_refused_with_the_reason() {
    let mut world = World::enrolled();
    world.act(Action::Desire(2, PolicyKind::BreaksAgent));
    world.settle();
    assert_eq!(wire(&world), UpdateState::Failed);
    assert_eq!(left(&world, "ApplyTarget"), 0);
    let update = report::status::update_status(world.machine.shared(), world.machine.state());
    let error = update.error.unwrap();
    assert_eq!(error.code, "releaseRefused");
    assert!(
        error
            .message
            .contains("settings that would stop it: BROKEN = `x`"),
        "{error:?}"
    );
}

#[test]
fn a_release_whose_agent_could_not_use_its_state_is_refused_with_what_is_right() {
    let mut world = World::enrolled();
    world.run.state_owner = Some(StateOwner {
        uid: 10001,
        gid: 10001,
        mode: 0o755,
    });
    world.act(Action::Restart { reboot: false });
    let mut app = desired_app(2, PolicyKind::Plain);
    let agent = app.release.services.get_mut("baserunner").unwrap();
    agent.composition.insert("user".to_owned(), "1000".into());
    world.desire_app(Some(app));
    world.settle();
    assert_eq!(left(&world, "ApplyTarget"), 0);
    let update = report::status::update_status(world.machine.shared(), world.machine.state());
    let error = update.error.unwrap();
    assert_eq!(error.code, "releaseRefused");
    assert!(error.message.contains("write \"10001:10001\""), "{error:?}");
    heard(&mut world, 4, PolicyKind::Plain);
    world.settle();
    assert_eq!(wire(&world), UpdateState::Succeeded);
}

#[test]
fn an_agent_that_ends_here_each_time_waits_before_it_looks_again() {
    let mut world = proven(2);
    heard(&mut world, 4, PolicyKind::Plain);
    ends_each_time(&mut world, AgentState::Staging, "it checked the release");
    world.settle();
    assert_eq!(
        (wire(&world), known_bad(&world, 4)),
        (UpdateState::Succeeded, false)
    );
}

#[test]
fn a_release_that_is_too_deep_or_too_large_is_refused_without_being_stored() {
    let deep = (0..100).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    let mut nested = desired_app(2, PolicyKind::Plain);
    let onebox = nested.release.services.get_mut("onebox").unwrap();
    onebox.composition.insert("x-deep".to_owned(), deep);
    let mut many = desired_app(2, PolicyKind::Plain);
    let service = many.release.services["onebox"].clone();
    let more = (0..300).map(|number| (format!("s{number}"), service.clone()));
    many.release.services.extend(more);
    for (app, reason) in [
        (nested, "nested more than 32 deep"),
        (many, "services: 64 at most"),
    ] {
        let mut world = World::enrolled();
        world.desire_app(Some(app.clone()));
        world.desired.as_mut().unwrap().fallback = Some(app.release);
        world.settle();
        assert_eq!(
            (wire(&world), left(&world, "ApplyTarget")),
            (UpdateState::Failed, 0)
        );
        let update = report::status::update_status(world.machine.shared(), world.machine.state());
        let error = update.error.unwrap();
        assert_eq!(error.code, "releaseRefused");
        assert!(error.message.contains(reason), "{error:?}");
        let durable = &world.machine.shared().durable;
        assert!(serde_json::to_vec(&**durable).unwrap().len() < 10_000);
        assert_eq!(durable.revision(), 1, "Cloudly does not send it again");
        heard(&mut world, 4, PolicyKind::Plain);
        world.settle();
        assert_eq!(wire(&world), UpdateState::Succeeded);
    }
}

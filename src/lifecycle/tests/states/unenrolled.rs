use super::*;

#[test]
fn without_a_join_token_nothing_leaves_and_the_summary_says_what_is_needed() {
    let mut world = World::new(false);
    play(
        &mut world,
        &[
            Action::Observe(View::Actual),
            Action::Request(LocalRequest::Status),
        ],
    );
    let LocalAnswer::Status(status) = last_answer(&world) else {
        panic!()
    };
    assert_eq!(status.summary, "Not enrolled: waiting for a join token.");
    assert!(world.pending.keys().all(|port| *port == Port::LockFiles));
}

#[test]
fn a_malformed_token_in_the_configuration_is_explained_and_another_one_is_used() {
    let mut world = World::configured_with(0);
    let summary = report::summary::summary(world.machine.shared(), world.machine.state());
    assert!(summary.contains("malformed"), "{summary}");
    world.act(Action::Request(LocalRequest::Doctor));
    let LocalAnswer::Doctor(doctor) = last_answer(&world) else {
        panic!("{:?}", last_answer(&world));
    };
    let fact = &doctor.checks[0].fact;
    assert!(
        fact.starts_with("not enrolled: the join token is malformed: "),
        "{fact}"
    );
    world.act(Action::Offer {
        token: 1,
        replace: false,
    });
    assert_eq!(world.machine.agent_state(), AgentState::Registering);
}

#[test]
fn a_malformed_token_over_the_local_api_is_refused_with_the_reason() {
    let mut world = World::new(false);
    world.act(Action::Offer {
        token: 0,
        replace: false,
    });
    let LocalAnswer::Problem(problem) = last_answer(&world) else {
        panic!("{:?}", last_answer(&world));
    };
    assert!(problem.title.contains("malformed"), "{problem:?}");
    assert_eq!(world.machine.agent_state(), AgentState::Unenrolled);
}

#[test]
fn the_summary_ends_a_question_with_its_own_mark() {
    let summary = |problem: &str| {
        let problem = Some(problem.to_owned());
        crate::lifecycle::states::unenrolled::Unenrolled { problem }.summary()
    };
    assert_eq!(
        summary("was it copied whole?"),
        "Not enrolled: was it copied whole? A new join token is needed."
    );
    assert_eq!(
        summary("it is spent"),
        "Not enrolled: it is spent. A new join token is needed."
    );
}

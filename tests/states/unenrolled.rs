use crate::*;

#[test]
fn without_a_join_token_nothing_leaves_and_the_summary_says_what_is_needed() {
    let mut world = World::new(false);
    play(
        &mut world,
        &[Action::See(Sight::Truth), Action::Ask(Wish::Status)],
    );
    let LocalAnswer::Status(status) = last_answer(&world) else {
        panic!()
    };
    assert_eq!(status.summary, "Not enrolled: waiting for a join token.");
    assert!(world.pending.keys().all(|port| *port == Port::LockFiles));
}

#[test]
fn a_malformed_token_is_explained_and_a_good_one_is_taken_up() {
    let mut world = World::new(false);
    world.act(Action::Offer {
        token: 0,
        replace: false,
    });
    assert!(report::summary(world.machine.lifecycle(), world.machine.state()).contains("malformed"));
    world.act(Action::Offer {
        token: 1,
        replace: false,
    });
    assert_eq!(world.machine.agent_state(), AgentState::Registering);
}

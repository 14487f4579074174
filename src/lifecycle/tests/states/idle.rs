use super::*;

#[test]
fn what_runs_already_counts_as_succeeded_once_and_becomes_the_release_to_go_back_to() {
    let world = proven(1);
    assert_eq!(left(&world, "ApplyTarget"), 0, "nothing was touched");
    assert_eq!(wire(&world), UpdateState::Succeeded);
    assert_eq!(
        world
            .machine
            .shared()
            .durable
            .proven
            .as_ref()
            .map(|good| good.commit.clone()),
        Some(commit(1))
    );
}

#[test]
fn an_order_that_ends_leaves_alone_what_it_put_in_place_and_what_it_found_bad() {
    let mut world = proven(2);
    for (number, ends) in [(2, UpdateState::Succeeded), (3, UpdateState::RolledBack)] {
        world.act(Action::Desire(number, PolicyKind::Forced));
        world.settle();
        assert_eq!(wire(&world), ends);
        let before = left(&world, "ApplyTarget");
        world.act(Action::Desire(number, PolicyKind::Plain));
        world.settle();
        assert!(!world.machine.shared().durable.policy().is_forced());
        assert_eq!(left(&world, "ApplyTarget"), before, "{ends:?}");
    }
}

#[test]
fn a_release_known_to_be_bad_is_not_tried_again_without_an_order() {
    let mut world = proven(2);
    for rule in [PolicyKind::Plain, PolicyKind::Plain] {
        world.act(Action::Desire(3, rule));
        world.settle();
        world.act(Action::Desire(2, PolicyKind::Plain));
        world.settle();
    }
    world.act(Action::Desire(3, PolicyKind::Plain));
    world.settle();
    assert_eq!(wire(&world), UpdateState::Failed);
    let said = report::summary::summary(world.machine.shared(), world.machine.state());
    assert!(
        said.contains("is not tried: it is known to be bad since 20")
            && said.contains("); a forced order (`cloudly desired set --force`) tries it again."),
        "{said}"
    );
    let before = left(&world, "ApplyTarget");
    world.act(Action::Desire(3, PolicyKind::Forced));
    world.settle();
    assert!(left(&world, "ApplyTarget") > before, "an order is an order");
}

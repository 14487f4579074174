use super::*;
use crate::lifecycle::facts::Container;
use crate::lifecycle::update::target::Service;
use baseos_interfaces::status::OsStatus;

fn release() -> Release {
    let service = Service {
        image: "image".into(),
        environment: BTreeMap::new(),
        labels: BTreeMap::new(),
        composition: serde_json::Map::new(),
        size_bytes: None,
    };
    Release {
        id: "rel_2".into(),
        commit: "b2".into(),
        version: None,
        agent_service: None,
        services: BTreeMap::from([("main".to_owned(), service)]),
        volumes: BTreeMap::new(),
        networks: BTreeMap::new(),
    }
}

fn view(app_state: AppState, running: Option<&str>, containers: &[(&str, u64)]) -> SupervisorView {
    let container = |(status, image_id): &(&str, u64)| Container {
        service: "main".into(),
        status: (*status).into(),
        image_id: *image_id,
        container_id: "c".into(),
        created_at: String::new(),
    };
    SupervisorView {
        version: String::new(),
        managed: false,
        app_state,
        release: running.map(str::to_owned),
        download_percent: None,
        containers: containers.iter().map(container).collect(),
        update_failed: false,
        update_downloaded: false,
        ip_addresses: Vec::new(),
        mac_addresses: Vec::new(),
        os: OsStatus::default(),
    }
}

fn judgement(app_state: AppState, running: Option<&str>, containers: &[(&str, u64)]) -> Judgement {
    let images = BTreeMap::from([("main".to_owned(), 2)]);
    judge(&view(app_state, running, containers), &release(), Some(&images))
}

#[test]
fn only_applied_with_our_commit_and_our_image_running_is_healthy() {
    assert_eq!(
        judgement(AppState::Applied, Some("b2"), &[("Running", 2)]),
        Judgement::Healthy
    );
    assert_eq!(
        judgement(AppState::Applied, Some("b2"), &[("exited", 1), ("running", 2)]),
        Judgement::Healthy
    );
}

#[test]
fn applied_with_a_container_that_does_not_run_is_unhealthy_and_says_which() {
    let seen = |text: &str| Judgement::Unhealthy(vec![text.to_owned()]);
    assert_eq!(
        judgement(AppState::Applied, Some("b2"), &[("exited", 2)]),
        seen("main: exited")
    );
    assert_eq!(
        judgement(AppState::Applied, Some("b2"), &[]),
        seen("main: no container")
    );
    let old = seen("main: still the container of another release");
    assert_eq!(judgement(AppState::Applied, Some("b2"), &[("Running", 1)]), old);
}

#[test]
fn a_supervisor_at_work_is_not_judged_whatever_release_it_shows() {
    // Observed: `release` and `commit` show the new release while it is still being applied.
    assert_eq!(
        judgement(AppState::Applying, Some("b2"), &[("Running", 2)]),
        Judgement::Pending(Vec::new())
    );
    assert_eq!(
        judgement(AppState::Applied, Some("a1"), &[("Running", 1)]),
        Judgement::Elsewhere(Some("a1".into()))
    );
    assert_eq!(
        judgement(AppState::Applied, None, &[]),
        Judgement::Elsewhere(None)
    );
}

#[test]
fn a_managed_supervisor_gives_its_own_image_ids_so_the_name_counts() {
    let view = view(AppState::Applied, Some("b2"), &[("Running", 77)]);
    assert_eq!(judge(&view, &release(), None), Judgement::Healthy);
}

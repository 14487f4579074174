use super::*;
use crate::lifecycle::facts::Container;
use crate::lifecycle::update::platform::PlatformImage;
use crate::lifecycle::update::predecessors::Predecessor;
use crate::lifecycle::update::target::Service;
use baseos_interfaces::status::OsStatus;

fn release() -> Release {
    let service = Service {
        image: "app:2".into(),
        ..Service::default()
    };
    Release {
        id: "rel_2".into(),
        commit: "b2".into(),
        version: None,
        agent_service: None,
        refused: None,
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
        images: BTreeMap::new(),
        images_problem: None,
        present_images: Vec::new(),
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
    let known = Known {
        images: Some(&images),
        ..Known::default()
    };
    judge(&view(app_state, running, containers), &release(), known)
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
    assert_eq!(judge(&view, &release(), Known::default()), Judgement::Healthy);
}

const MEANT: &str = "sha256:b";
const OLD: &str = "sha256:a";

/// The judgement when the Supervisor says that `app:2` runs in place of another image. `meant`: the release says which
/// image that is. `engine`: the image that the name leads to. The container before had this reference, id and image.
fn judge_image(meant: bool, engine: Option<&str>, before: Option<(&str, &str, Option<&str>)>) -> Judgement {
    let mut release = release();
    let service = release.services.get_mut("main").unwrap();
    if meant {
        let image = PlatformImage {
            config_digest: Some(MEANT.to_owned()),
            size_bytes: None,
        };
        service.platforms.insert("linux/amd64".to_owned(), image);
    }
    let mut view = view(AppState::Applied, Some("b2"), &[("Running", 2)]);
    view.images
        .extend(engine.map(|image| ("main".to_owned(), image.to_owned())));
    let before = before.map(|(reference, container, image)| {
        let predecessor = Predecessor {
            reference: reference.to_owned(),
            container_id: container.to_owned(),
            engine_image: image.map(str::to_owned),
        };
        Predecessors::default().with("main", predecessor)
    });
    let images = BTreeMap::from([("main".to_owned(), 2)]);
    let known = Known {
        images: Some(&images),
        predecessors: before.as_ref(),
        stopped: None,
    };
    judge(&view, &release, known)
}

fn is_wrong(judgement: &Judgement) -> bool {
    matches!(judgement, Judgement::WrongImage(seen) if seen.len() == 1 && seen[0].starts_with("main: "))
}

#[test]
fn another_image_than_the_release_names_is_wrong_whatever_else_is_seen() {
    assert_eq!(judge_image(true, Some(MEANT), None), Judgement::Healthy);
    assert!(is_wrong(&judge_image(true, Some(OLD), None)));
    let replaced = Some(("app:1", "other", Some(OLD)));
    assert_eq!(judge_image(true, Some(MEANT), replaced), Judgement::Healthy);
    assert!(is_wrong(&judge_image(true, Some(OLD), replaced)));
}

#[test]
fn it_is_not_healthy_before_its_image_is_known() {
    let judgement = judge_image(true, None, None);
    assert!(matches!(judgement, Judgement::Unknown(_)), "{judgement:?}");
    assert_eq!(judge_image(false, None, None), Judgement::Healthy);
}

#[test]
fn without_a_digest_a_kept_container_under_another_reference_is_wrong() {
    let engine = Some(OLD);
    assert!(is_wrong(&judge_image(
        false,
        engine,
        Some(("app:1", "c", engine))
    )));
    assert!(is_wrong(&judge_image(false, None, Some(("app:1", "c", None)))));
    assert_eq!(
        judge_image(false, engine, Some(("app:1", "other", engine))),
        Judgement::Healthy
    );
    assert_eq!(
        judge_image(false, engine, Some(("app:2", "c", engine))),
        Judgement::Healthy,
        "the reference did not change"
    );
}

#[test]
fn the_same_image_under_another_name_keeps_its_container() {
    assert_eq!(
        judge_image(true, Some(MEANT), Some(("app:1", "c", Some(MEANT)))),
        Judgement::Healthy
    );
    // The name was moved on the engine, and the container is still the old image's.
    assert!(is_wrong(&judge_image(
        true,
        Some(MEANT),
        Some(("app:1", "c", Some(OLD)))
    )));
}

#[test]
fn a_managed_supervisor_has_its_own_images_so_they_are_not_compared() {
    let mut view = view(AppState::Applied, Some("b2"), &[("Running", 77)]);
    view.managed = true;
    view.images.insert("main".to_owned(), OLD.to_owned());
    let mut release = release();
    let image = PlatformImage {
        config_digest: Some(MEANT.to_owned()),
        size_bytes: None,
    };
    let service = release.services.get_mut("main").unwrap();
    service.platforms.insert("linux/amd64".to_owned(), image);
    assert_eq!(judge(&view, &release, Known::default()), Judgement::Healthy);
}

#[test]
fn what_an_operator_stopped_speaks_against_no_release_that_keeps_its_container() {
    let stopped = BTreeSet::from(["main".to_owned()]);
    let judged = |before: Option<&str>, stopped| {
        let before = before.map(|id| {
            let predecessor = Predecessor {
                reference: "app:2".to_owned(),
                container_id: id.to_owned(),
                engine_image: None,
            };
            Predecessors::default().with("main", predecessor)
        });
        let known = Known {
            images: None,
            predecessors: before.as_ref(),
            stopped,
        };
        judge(
            &view(AppState::Applied, Some("b2"), &[("exited", 2)]),
            &release(),
            known,
        )
    };
    assert_eq!(
        judged(Some("c"), Some(&stopped)),
        Judgement::Healthy,
        "it was kept"
    );
    assert_eq!(
        judged(None, Some(&stopped)),
        Judgement::Healthy,
        "nothing came before"
    );
    let ill = Judgement::Unhealthy(vec!["main: exited".to_owned()]);
    assert_eq!(
        judged(Some("earlier"), Some(&stopped)),
        ill,
        "a new one was to start"
    );
    assert_eq!(judged(Some("c"), None), ill, "nobody stopped it");
}

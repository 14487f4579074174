use super::*;
use crate::lifecycle::guard::files::{Over, Proven, Trial};
use proptest::prelude::*;
use serde_json::json;

const BUDGET: u64 = 60;

fn at(seconds: u64) -> Stamp {
    Stamp {
        boot: Millis(seconds * 1000),
        wall: "2026-11-24T07:18:00Z".parse().unwrap(),
        entropy: 0,
    }
}

fn trial(number: u64) -> Trial {
    Trial {
        number,
        commit: "b2b2b2b2".into(),
        agent_service: "baserunner".into(),
        image_id: 21,
        old_container: Some("old".into()),
        budget_seconds: u32::try_from(BUDGET).unwrap(),
    }
}

fn orders(trial: Option<Trial>) -> Orders {
    Orders {
        proven: Some(Proven {
            commit: "a1a1a1a1".into(),
            target: json!({}),
        }),
        trial,
        over: None,
        noted: 0,
    }
}

/// What the agent orders that came back and has taken note of the end of that trial.
fn noted(number: u64) -> Orders {
    Orders {
        over: over(number, false),
        noted: number,
        ..orders(None)
    }
}

fn over(number: u64, proved: bool) -> Option<Over> {
    let commit = "b2b2b2b2".to_owned();
    Some(Over {
        number,
        commit,
        proved,
    })
}

fn container(id: &str, image_id: u64) -> Look {
    let row = |service: &str, container_id: &str, image_id, status: &str| Row {
        service: service.into(),
        image_id,
        container_id: container_id.into(),
        status: status.into(),
    };
    Look::Seen(vec![
        row("onebox", "one", 3, "Running"),
        row("baserunner", id, image_id, "Running"),
    ])
}

fn old() -> Look {
    container("old", 11)
}

fn new() -> Look {
    container("new", 21)
}

fn on_trial() -> Report {
    let mut report = begin(Report::default(), "0.1.0".into(), "boot-1".into(), at(0));
    take_orders(&mut report, orders(Some(trial(1))));
    report
}

#[test]
fn rests_without_a_trial_and_takes_over_what_has_proved_itself() {
    let mut report = begin(Report::default(), "0.1.0".into(), "boot-1".into(), at(0));
    assert_eq!(next(&report), Next::Rest);
    take_orders(&mut report, orders(None));
    assert_eq!(report.held.as_ref().unwrap().commit, "a1a1a1a1");
    see(&mut report, &Look::Not, at(100_000));
    assert_eq!(next(&report), Next::Rest);
}

#[test]
fn the_time_runs_from_the_moment_the_old_container_is_gone_and_not_during_the_pull() {
    let mut report = on_trial();
    see(&mut report, &old(), at(5000));
    assert_eq!(next(&report), Next::Look);
    see(&mut report, &new(), at(5001));
    see(&mut report, &new(), at(5001 + BUDGET - 1));
    assert_eq!(next(&report), Next::Look);
    see(&mut report, &new(), at(5001 + BUDGET));
    assert_eq!(next(&report), Next::Post);
    let restored = report.restored.unwrap();
    assert_eq!((restored.number, restored.to.as_str()), (1, "a1a1a1a1"));
    assert_eq!(
        restored.evidence,
        [
            "no sign of the new agent for 60 s after the old one was replaced",
            "baserunner: Running"
        ]
    );
}

#[test]
fn a_container_that_was_only_renamed_is_the_old_agent() {
    let mut report = on_trial();
    see(&mut report, &container("old", 21), at(10));
    see(&mut report, &container("old", 21), at(10_000));
    assert_eq!(next(&report), Next::Look);
}

#[test]
fn a_new_agent_that_cannot_be_created_counts_as_replaced() {
    let mut report = on_trial();
    see(&mut report, &Look::Seen(Vec::new()), at(10));
    see(&mut report, &Look::Seen(Vec::new()), at(10 + BUDGET));
    assert_eq!(next(&report), Next::Post);
    let evidence = report.restored.unwrap().evidence;
    assert_eq!(evidence[1], "baserunner: no container");
}

#[test]
fn a_silent_supervisor_takes_none_of_the_new_agents_time() {
    let mut report = on_trial();
    see(&mut report, &new(), at(10));
    see(&mut report, &Look::Silent, at(20));
    see(&mut report, &Look::Silent, at(20 + 10 * BUDGET));
    assert_eq!(next(&report), Next::Look, "nothing is decided without a look");
    let back = 30 + 10 * BUDGET;
    see(&mut report, &new(), at(back));
    assert_eq!(next(&report), Next::Look);
    // Ten seconds of it had passed.
    see(&mut report, &new(), at(back + BUDGET - 11));
    assert_eq!(next(&report), Next::Look);
    see(&mut report, &new(), at(back + BUDGET - 10));
    assert_eq!(next(&report), Next::Post);
}

#[test]
fn a_sign_of_life_for_another_release_does_not_end_the_trial() {
    let mut report = on_trial();
    see(&mut report, &new(), at(10));
    let mut stale = orders(None);
    take_orders(&mut report, stale.clone());
    stale.over = over(0, true);
    take_orders(&mut report, stale.clone());
    stale.over = Some(Over {
        number: 1,
        commit: "c3c3c3c3".into(),
        proved: true,
    });
    take_orders(&mut report, stale);
    assert!(report.watched.is_some());
    take_orders(
        &mut report,
        Orders {
            over: over(1, true),
            ..orders(None)
        },
    );
    assert_eq!(next(&report), Next::Rest);
}

#[test]
fn what_is_held_does_not_change_during_a_trial() {
    let mut report = on_trial();
    take_orders(&mut report, Orders::default());
    let mut other = orders(Some(trial(1)));
    other.proven = None;
    take_orders(&mut report, other);
    assert_eq!(report.held.unwrap().commit, "a1a1a1a1");
}

/// The new agent had its time, and the proven release is put back.
fn restoring() -> Report {
    let mut report = on_trial();
    see(&mut report, &new(), at(10));
    see(&mut report, &new(), at(10 + BUDGET));
    assert_eq!(next(&report), Next::Post);
    report
}

#[test]
fn a_decision_to_go_back_is_final() {
    let mut report = restoring();
    let late = Orders {
        over: over(1, true),
        ..orders(None)
    };
    take_orders(&mut report, late);
    assert_eq!(next(&report), Next::Post);
    let report = begin(report, "0.2.0".into(), "boot-2".into(), at(1));
    assert_eq!(next(&report), Next::Post);
}

#[test]
fn a_target_that_was_put_back_is_kept_until_the_agent_has_taken_note() {
    let mut report = restoring();
    accepted(&mut report);
    assert_eq!(next(&report), Next::Keep);
    // The agent on trial may still write orders; so may one that was started again before it was replaced.
    for late in [
        orders(Some(trial(1))),
        Orders {
            over: over(1, true),
            ..orders(None)
        },
        Orders::default(),
    ] {
        assert!(!take_orders(&mut report, late), "they do not count yet");
        assert_eq!(next(&report), Next::Keep);
        assert_eq!(report.held.as_ref().unwrap().commit, "a1a1a1a1");
    }
    report = begin(report, "0.1.0".into(), "boot-2".into(), at(1));
    assert_eq!(next(&report), Next::Keep);
    see(&mut report, &Look::Managed, at(2));
    assert_eq!(next(&report), Next::Look, "its backend decides");
    see(&mut report, &new(), at(3));
    assert!(take_orders(&mut report, noted(1)));
    assert_eq!(next(&report), Next::Rest);
    take_orders(&mut report, orders(Some(trial(1))));
    assert_eq!(next(&report), Next::Rest, "that trial is over");
    take_orders(&mut report, orders(Some(trial(2))));
    assert_eq!(next(&report), Next::Look);
}

#[test]
fn an_agent_that_went_on_without_the_report_has_taken_note_too() {
    let given_up = Orders { noted: 0, ..noted(1) };
    for orders in [given_up, orders(Some(trial(2)))] {
        let mut report = restoring();
        accepted(&mut report);
        assert!(take_orders(&mut report, orders));
        assert_ne!(next(&report), Next::Keep);
    }
}

#[test]
fn orders_that_come_while_it_puts_a_release_back_count_afterwards() {
    let mut report = restoring();
    let next_trial = Orders {
        trial: Some(trial(2)),
        ..noted(1)
    };
    assert!(!take_orders(&mut report, next_trial.clone()));
    accepted(&mut report);
    assert!(take_orders(&mut report, next_trial));
    assert_eq!(report.watched.unwrap().trial.number, 2);
}

#[test]
fn orders_without_an_end_of_the_trial_do_not_count_yet() {
    let mut report = on_trial();
    assert!(!take_orders(&mut report, orders(None)));
}

#[test]
fn a_boot_gives_the_new_agent_its_whole_time_again_but_not_for_ever() {
    let mut report = on_trial();
    see(&mut report, &new(), at(100));
    for boot in 2..=4 {
        assert_eq!(next(&report), Next::Look);
        report = begin(report, "0.1.0".into(), format!("boot-{boot}"), at(3));
        see(&mut report, &new(), at(3 + BUDGET / 2));
    }
    assert_eq!(next(&report), Next::Post);
    let evidence = report.restored.unwrap().evidence;
    assert_eq!(
        evidence[0],
        "the device was booted 3 times without a sign of the new agent"
    );
}

#[test]
fn a_restart_of_the_guard_alone_does_not_give_more_time() {
    let mut report = on_trial();
    see(&mut report, &new(), at(100));
    report = begin(report, "0.1.0".into(), "boot-1".into(), at(130));
    see(&mut report, &new(), at(100 + BUDGET));
    assert_eq!(next(&report), Next::Post);
}

#[test]
fn does_nothing_on_a_managed_supervisor() {
    let mut report = on_trial();
    see(&mut report, &new(), at(10));
    see(&mut report, &Look::Managed, at(10_000));
    assert!(report.managed && report.restored.is_none());
    assert_eq!(next(&report), Next::Look);
    see(&mut report, &new(), at(10_001));
    assert_eq!(next(&report), Next::Post, "it became unmanaged again");
}

#[test]
fn a_report_reads_back_and_one_of_a_newer_guard_reads_too() {
    let mut report = on_trial();
    see(&mut report, &new(), at(10));
    see(&mut report, &new(), at(10_000));
    let mut json = serde_json::to_value(&report).unwrap();
    assert_eq!(serde_json::from_value::<Report>(json.clone()).unwrap(), report);
    json["later"] = json!(1);
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    assert_eq!(serde_json::from_str::<Report>("{}").unwrap(), Report::default());
}

proptest! {
    /// It never posts unless the old agent was gone for the whole budget or over too many boots, and never without a
    /// target or for a trial that is over.
    #[test]
    fn posts_only_when_the_new_agent_had_its_time(steps in proptest::collection::vec((0u8..6, 0u64..40), 0..60)) {
        let mut report = begin(Report::default(), "0.1.0".into(), "boot-0".into(), at(0));
        let (mut now, mut boots, mut number) = (0, 0u32, 0);
        let (mut gone_since, mut boots_gone): (Option<u64>, u32) = (None, 0);
        let mut silent_since: Option<u64> = None;
        let mut open = false;
        for (step, seconds) in steps {
            now += seconds;
            match step {
                0 => {
                    if !open && next(&report) != Next::Post {
                        number += 1;
                        (open, gone_since, boots_gone, silent_since) = (true, None, 0, None);
                        take_orders(&mut report, orders(Some(trial(number))));
                    }
                }
                1 => {
                    if next(&report) != Next::Post {
                        take_orders(&mut report, Orders { over: over(number, true), ..orders(None) });
                        open = false;
                    }
                }
                2 => {
                    see(&mut report, &old(), at(now));
                    (gone_since, boots_gone, silent_since) = (None, 0, None);
                }
                3 => {
                    let silence = silent_since.take().map_or(0, |since| now - since);
                    if open { gone_since = Some(gone_since.map_or(now, |since| since + silence)); }
                    see(&mut report, &new(), at(now));
                }
                4 => {
                    if open { silent_since.get_or_insert(now); }
                    see(&mut report, &Look::Silent, at(now));
                }
                _ => {
                    boots += 1;
                    now = 0;
                    silent_since = None;
                    if gone_since.is_some() { (gone_since, boots_gone) = (Some(0), boots_gone + 1); }
                    report = begin(report, "0.1.0".into(), format!("boot-{boots}"), at(now));
                }
            }
            if next(&report) == Next::Post {
                let had_its_time = gone_since.is_some_and(|since| now - since >= BUDGET) || boots_gone >= 3;
                prop_assert!(open && had_its_time);
                accepted(&mut report);
                prop_assert_eq!(next(&report), Next::Keep);
                prop_assert!(take_orders(&mut report, noted(number)));
                open = false;
            }
        }
    }
}

/// A budget of nothing and an image that nobody has would put the proven release back at once.
#[test]
fn a_trial_without_its_members_is_none_to_follow() {
    let whole = serde_json::to_value(orders(Some(trial(7)))).unwrap();
    for member in ["number", "commit", "agentService", "imageId", "budgetSeconds"] {
        let mut orders = whole.clone();
        orders["trial"]
            .as_object_mut()
            .unwrap()
            .remove(member)
            .expect(member);
        assert!(serde_json::from_value::<Orders>(orders).is_err(), "{member}");
    }
    assert!(serde_json::from_value::<Orders>(whole).is_ok());
}

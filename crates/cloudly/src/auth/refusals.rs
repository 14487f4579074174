//! Refusals on their way to the audit log. Anybody can cause them, so those of one kind and source are one line an hour
//! with their number, and there are not more kinds than can be stored. Pure: the time is an argument.

use baseos_interfaces::Timestamp;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Kinds that are told apart at a time; what comes beyond them is counted together.
const KINDS: usize = 100;
/// Those of them for refusals whose subject is certain: anybody can cause any number of the others.
const OF_SUBJECTS: usize = 50;
const LINE_EACH_SECONDS: i64 = 3600;

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Of the audit log.
    pub(crate) action: &'static str,
    pub(crate) reason: &'static str,
    /// Whom it is about, if that is certain.
    pub(crate) subject: Option<String>,
    pub(crate) source: Option<IpAddr>,
}

/// Refusals of a kind that are to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Counted {
    pub(crate) kind: Kind,
    pub(crate) count: u64,
    /// When the last one was, and what it was about.
    pub(crate) at: Timestamp,
    pub(crate) data: Value,
}

#[derive(Default)]
pub(crate) struct Refusals(Mutex<Vec<Entry>>);

struct Entry {
    /// 0: all are written.
    waiting: Counted,
    written_at: Option<Timestamp>,
}

impl Refusals {
    pub(crate) fn count(&self, kind: Kind, data: Value, now: Timestamp) {
        let mut entries = self.lock();
        let is_known = entries.iter().any(|entry| entry.waiting.kind == kind);
        let kind = if is_known || has_room(&entries, &kind) {
            kind
        } else {
            Kind {
                action: kind.action,
                reason: "others",
                subject: None,
                source: None,
            }
        };
        let counted = Counted {
            kind,
            count: 1,
            at: now,
            data,
        };
        add(&mut entries, counted);
    }

    /// What is to be written now; it counts as written.
    pub(crate) fn take_due(&self, now: Timestamp) -> Vec<Counted> {
        let mut entries = self.lock();
        let rests =
            |written: Timestamp| (0..LINE_EACH_SECONDS).contains(&now.duration_since(written).as_secs());
        let mut due = Vec::new();
        for entry in entries.iter_mut() {
            if entry.waiting.count > 0 && !entry.written_at.is_some_and(rests) {
                due.push(entry.waiting.clone());
                entry.waiting.count = 0;
                entry.written_at = Some(now);
            }
        }
        entries.retain(|entry| entry.waiting.count > 0 || entry.written_at.is_some_and(rests));
        due
    }

    /// Takes back what could not be written.
    pub(crate) fn put_back(&self, unwritten: Vec<Counted>) {
        let mut entries = self.lock();
        for counted in unwritten {
            add(&mut entries, counted).written_at = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one more kind like this may be told apart.
fn has_room(entries: &[Entry], kind: &Kind) -> bool {
    let has_subject = kind.subject.is_some();
    let alike = entries
        .iter()
        .filter(|entry| entry.waiting.kind.subject.is_some() == has_subject);
    alike.count()
        < if has_subject {
            OF_SUBJECTS
        } else {
            KINDS - OF_SUBJECTS
        }
}

fn add(entries: &mut Vec<Entry>, counted: Counted) -> &mut Entry {
    let at = entries
        .iter()
        .position(|entry| entry.waiting.kind == counted.kind);
    match at {
        Some(at) => {
            let entry = &mut entries[at];
            let count = entry.waiting.count + counted.count;
            if counted.at >= entry.waiting.at {
                entry.waiting = counted;
            }
            entry.waiting.count = count;
            entry
        }
        None => entries.push_mut(Entry {
            waiting: counted,
            written_at: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn kind(source: u8) -> Kind {
        Kind {
            action: "joinToken.refused",
            reason: "unknown",
            subject: None,
            source: Some([192, 0, 2, source].into()),
        }
    }

    #[test]
    fn however_many_sources_refuse_there_are_few_lines_and_none_is_lost() {
        let refusals = Refusals::default();
        for round in 0..10 {
            for source in 0..=255 {
                refusals.count(kind(source), json!({}), at(round));
            }
        }
        let due = refusals.take_due(at(10));
        assert_eq!(due.len(), KINDS - OF_SUBJECTS + 1);
        assert_eq!(due.iter().map(|counted| counted.count).sum::<u64>(), 2560);
        assert_eq!(due.last().unwrap().kind.reason, "others");
        refusals.count(kind(0), json!({}), at(11));
        assert!(refusals.take_due(at(3609)).is_empty());
        assert_eq!(refusals.take_due(at(3610)).len(), 1);
        refusals.count(kind(0), json!({}), at(5));
        assert_eq!(refusals.take_due(at(5)).len(), 1, "the clock was set back");
    }

    #[test]
    fn no_number_of_sources_of_garbage_hides_the_refusal_of_a_known_token() {
        let refusals = Refusals::default();
        for source in 0..=255 {
            refusals.count(kind(source), json!({}), at(0));
        }
        let known = |source| Kind {
            reason: "revoked",
            subject: Some("0123456789".to_owned()),
            ..kind(source)
        };
        refusals.count(known(0), json!({}), at(1));
        let due = refusals.take_due(at(2));
        assert!(due.iter().any(|counted| counted.kind == known(0)));
        for source in 0..=255 {
            refusals.count(known(source), json!({}), at(3));
        }
        assert!(refusals.lock().len() <= KINDS + 1, "their number stays limited");
    }

    #[test]
    fn what_could_not_be_written_is_written_with_what_came_since() {
        let refusals = Refusals::default();
        refusals.count(kind(1), json!("first"), at(0));
        let unwritten = refusals.take_due(at(0));
        refusals.count(kind(1), json!("second"), at(1));
        refusals.put_back(unwritten);
        let due = refusals.take_due(at(2));
        assert_eq!((due.len(), due[0].count), (1, 2));
        assert_eq!(due[0].data, "second");
    }
}

//! Node tokens that were refused lately, so that an operator sees which devices wait for an act: after a restore those that
//! enrolled since the backup. Bounded, since anybody can send tokens. Pure: the time is an argument.

use baseos_interfaces::Timestamp;
use baseos_interfaces::admin::RefusedNode;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tokens that are known at a time; of more, the one that was refused longest ago is forgotten.
const KEPT: usize = 10_000;
/// A device that goes on asks within 15 min; one that has another token does not come back with this one.
const FORGOTTEN_AFTER_SECONDS: i64 = 30 * 60;

#[derive(Default)]
pub(crate) struct RefusedTokens(Mutex<BTreeMap<String, RefusedNode>>);

impl RefusedTokens {
    pub(crate) fn note(&self, token_id: &str, address: IpAddr, now: Timestamp) {
        let mut refused = self.lock();
        if let Some(known) = refused.get_mut(token_id) {
            known.count += 1;
            known.last_at = now;
            known.address = address.to_string();
            return;
        }
        if refused.len() >= KEPT {
            // By count first: a device that comes again and again outlives many tokens that came once.
            let least = refused.values().min_by_key(|known| (known.count, known.last_at));
            if let Some(id) = least.map(|known| known.token_id.clone()) {
                refused.remove(&id);
            }
        }
        let node = RefusedNode {
            token_id: token_id.to_owned(),
            address: address.to_string(),
            first_at: now,
            last_at: now,
            count: 1,
        };
        refused.insert(token_id.to_owned(), node);
    }

    /// Those that were refused lately, by the ids of their tokens, from above `after_id`.
    pub(crate) fn list(&self, after_id: &str, limit: usize, now: Timestamp) -> Vec<RefusedNode> {
        let mut refused = self.lock();
        refused.retain(|_, node| now.duration_since(node.last_at).as_secs() < FORGOTTEN_AFTER_SECONDS);
        let later = refused.values().filter(|node| node.token_id.as_str() > after_id);
        later.take(limit).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, RefusedNode>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_flood_of_tokens_takes_bounded_memory_and_hides_no_device_that_goes_on() {
        let refused = RefusedTokens::default();
        refused.note("device", ADDRESS, at(0));
        refused.note("device", ADDRESS, at(900));
        for token in 0..2 * KEPT {
            refused.note(&format!("forged-{token:06}"), ADDRESS, at(901));
        }
        let listed = refused.list("", usize::MAX, at(902));
        assert_eq!(listed.len(), KEPT);
        let device = listed.iter().find(|node| node.token_id == "device").unwrap();
        assert_eq!(
            (device.count, device.first_at, device.last_at),
            (2, at(0), at(900))
        );
    }

    #[test]
    fn a_token_that_does_not_come_again_is_forgotten() {
        let refused = RefusedTokens::default();
        refused.note("b", ADDRESS, at(0));
        refused.note("a", ADDRESS, at(60));
        let ids = |after_id: &str, limit, now| {
            let listed = refused.list(after_id, limit, at(now));
            listed.into_iter().map(|node| node.token_id).collect::<Vec<_>>()
        };
        assert_eq!(ids("", 9, 1799), ["a", "b"]);
        assert_eq!(
            (ids("", 1, 1799), ids("a", 9, 1799)),
            (vec!["a".into()], vec!["b".to_owned()])
        );
        assert_eq!(ids("", 9, 1800), ["a"]);
    }
}

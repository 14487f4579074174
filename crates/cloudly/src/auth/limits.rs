//! Token buckets: how many requests one key may make at once, and how many a second after that.

use crate::settings::Rate;
use baseos_interfaces::Timestamp;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// At this many buckets the full ones, which are like new ones, are dropped.
const PRUNE_AT: usize = 100_000;

/// The part of an IPv6 address that names a network.
const NETWORK: u128 = !0 << 64;

/// One bucket a key.
pub(crate) struct Buckets<K> {
    rate: Rate,
    buckets: Mutex<HashMap<K, (f64, Timestamp)>>,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Mutex::new(HashMap::new()),
        }
    }

    /// Takes one from the key's bucket.
    ///
    /// # Errors
    /// When the bucket is empty: after how many seconds it will not be.
    pub(crate) fn take(&self, key: K, now: Timestamp) -> Result<(), u32> {
        let burst = f64::from(self.rate.burst.max(1));
        let per_second = self.rate.per_second.max(0.001);
        let refilled = |(level, at): (f64, Timestamp)| {
            (level + now.duration_since(at).as_secs_f64().max(0.0) * per_second).min(burst)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= PRUNE_AT {
            buckets.retain(|_, bucket| refilled(*bucket) < burst);
        }
        let bucket = buckets.entry(key).or_insert((burst, now));
        let level = refilled(*bucket);
        if level < 1.0 {
            *bucket = (level, now);
            // At most 1000 s, for the slowest rate.
            return Err(((1.0 - level) / per_second).ceil() as u32);
        }
        *bucket = (level - 1.0, now);
        Ok(())
    }
}

/// Whose requests one address stands for. Of IPv6 a single host has 2^64, which share their first half.
pub(crate) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_one_host_are_one_source() {
        for (one, other, same) in [
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            let [a, b] = [one, other].map(|text| source(text.parse().unwrap()));
            assert_eq!(a == b, same, "{one} {other}");
        }
    }

    #[test]
    fn a_bucket_empties_and_refills_with_time() {
        let buckets = Buckets::new(Rate {
            burst: 2,
            per_second: 0.5,
        });
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(buckets.take("a", at(0)), Ok(()));
        assert_eq!(buckets.take("a", at(0)), Ok(()));
        assert_eq!(buckets.take("a", at(0)), Err(2));
        assert_eq!(buckets.take("b", at(0)), Ok(()));
        assert_eq!(buckets.take("a", at(2)), Ok(()));
        // A clock that was set back does not refill it.
        assert_eq!(buckets.take("a", at(1)), Err(2));
    }
}

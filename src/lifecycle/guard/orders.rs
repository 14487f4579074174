//! What the guard is to know, from the durable record.

use crate::lifecycle::durable::Durable;
use crate::lifecycle::guard::files::{Orders, Proven};
use crate::lifecycle::supervisor_target::builder::guard::rebuild;

/// `None`: there has been no guard.
pub(crate) fn orders(durable: &Durable) -> Option<Orders> {
    let service = durable.guard.service.as_ref();
    let noted = durable.guard.noted();
    if service.is_none() && noted == 0 {
        return None;
    }
    let proven = durable
        .proven
        .as_ref()
        .zip(service)
        .and_then(|(release, service)| {
            let target = rebuild(&durable.target, release, service)?;
            Some(Proven {
                commit: release.commit.clone(),
                target: serde_json::to_value(&target).ok()?,
            })
        });
    Some(Orders {
        proven,
        trial: durable.guard.trial().cloned(),
        over: durable.guard.over().cloned(),
        noted,
    })
}

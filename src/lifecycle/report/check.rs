//! One line of the doctor.

use baseos_interfaces::local::Check;

pub(super) fn check(name: &str, ok: bool, fact: impl Into<String>, fix: &str) -> Check {
    Check {
        name: name.to_owned(),
        ok,
        warning: false,
        fact: fact.into(),
        fix: (!ok).then(|| fix.to_owned()),
    }
}

/// What an operator should know and cannot always change, or what passes by itself: it does not make the doctor fail.
pub(super) fn warning(name: &str, fact: impl Into<String>, fix: &str) -> Check {
    Check {
        warning: true,
        fix: Some(fix.to_owned()),
        ..check(name, true, fact, "")
    }
}

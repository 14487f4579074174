use super::*;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::{Debug, Display};

/// Holds the table of one enum to what all of them promise.
fn check<T>(all: &[T])
where
    T: Clone + Debug + Display + Ord + Serialize + DeserializeOwned + for<'a> From<&'a str> + AsRef<str>,
{
    let names: BTreeSet<&str> = all.iter().map(AsRef::as_ref).collect();
    assert_eq!(names.len(), all.len(), "each name once: {all:?}");
    for code in all {
        let name = code.as_ref();
        assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        assert!(name.len() <= 64, "{name}: Cloudly takes 64 characters");
        assert_eq!(code.to_string(), name);
        assert_eq!(T::from(name), *code);
        assert_eq!(serde_json::to_value(code).unwrap(), name);
        assert_eq!(
            serde_json::from_value::<T>(serde_json::json!(name)).unwrap(),
            *code
        );
    }
}

#[test]
fn every_wire_name_is_camel_case_unique_and_reads_back() {
    check(IssueCode::ALL);
    check(EventKind::ALL);
    check(ErrorCode::ALL);
    check(Capability::ALL);
    check(ProblemCode::ALL);
    check(FieldCode::ALL);
}

#[test]
fn codes_compare_with_text_and_sort_by_name() {
    assert_eq!(IssueCode::DiskLow, "diskLow");
    assert_eq!(IssueCode::DiskLow, *"diskLow");
    assert_ne!(IssueCode::DiskLow, "clockSkew");
    let mut codes = [
        IssueCode::ServiceStopped,
        IssueCode::from("mouldy"),
        IssueCode::ClockSkew,
    ];
    codes.sort();
    assert_eq!(
        codes.map(|code| code.to_string()),
        ["clockSkew", "mouldy", "serviceStopped"]
    );
}

#[test]
fn a_code_is_a_string_on_the_wire_and_nothing_else() {
    for json in ["1", "null", "{}", "[\"diskLow\"]"] {
        assert!(serde_json::from_str::<IssueCode>(json).is_err(), "{json}");
    }
}

proptest! {
    #[test]
    fn an_unknown_name_is_kept_as_it_was_read(name in "\\PC{0,80}") {
        let code = EventKind::from(name.as_str());
        prop_assert_eq!(code.as_str(), &name);
        prop_assert_eq!(code.is_known(), EventKind::ALL.contains(&code));
        prop_assert_eq!(&EventKind::from(name.clone()), &code);
        prop_assert_eq!(&name.parse::<EventKind>().unwrap(), &code);
        let json = serde_json::to_string(&code).unwrap();
        prop_assert_eq!(&json, &serde_json::to_string(&name).unwrap());
        prop_assert_eq!(serde_json::from_str::<EventKind>(&json).unwrap(), code);
    }
}

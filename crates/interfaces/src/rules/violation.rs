//! What is wrong with a release, all of it.

use crate::codes::{FieldCode, ProblemCode};
use crate::problem::{FieldError, Problem, pointer};
use std::fmt;

/// Violations that are listed. The others are only counted: a release made to be large in every part breaks thousands,
/// and each repeats names of it.
pub const LISTED_MAX: usize = 32;
/// The longest name in a pointer, bytes; none that is right is longer.
const NAME_IN_POINTER_MAX: usize = 256;

/// One rule that a release breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) to the member, from the release's root: `/services/onebox/image`. It ends above a member
    /// with an absurdly long name.
    pub pointer: String,
    /// What is wrong with it.
    pub code: FieldCode,
    /// One sentence for people: what is wrong and what would be right. Repeats names of the release; of the values in
    /// its environment only the agent's state directory, and none of its labels.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<&Violation> for FieldError {
    fn from(violation: &Violation) -> Self {
        Self {
            pointer: violation.pointer.clone(),
            code: violation.code.clone(),
            detail: Some(violation.message.clone()),
        }
    }
}

/// Every rule that a release breaks; at least one. In the order of the members: commit, version, services, volumes,
/// networks, and what the agent itself needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violations {
    first: Violation,
    more: Vec<Violation>,
    /// How many there are beyond [`LISTED_MAX`].
    unlisted: usize,
}

impl Violations {
    /// The first one.
    pub fn first(&self) -> &Violation {
        &self.first
    }

    /// All of them, up to [`LISTED_MAX`].
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// How many there are, those that are not listed too.
    pub fn count(&self) -> usize {
        1 + self.more.len() + self.unlisted
    }

    /// Whether one of those listed has this code.
    pub fn has(&self, code: &FieldCode) -> bool {
        self.iter().any(|violation| violation.code == *code)
    }
}

/// The first one, and how many more there are.
impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count() - 1 {
            0 => write!(f, "{}", self.first),
            more => write!(f, "{} (and {more} more)", self.first),
        }
    }
}

impl std::error::Error for Violations {}

impl std::error::Error for Violation {}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::iter::Chain<std::iter::Once<Violation>, std::vec::IntoIter<Violation>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.more)
    }
}

/// 422 with every pointer and code.
impl From<&Violations> for Problem {
    fn from(violations: &Violations) -> Self {
        let mut problem = Self::new(422, ProblemCode::InvalidRequest, violations.to_string());
        problem.errors = violations.iter().map(FieldError::from).collect();
        problem
    }
}

/// Gathers violations.
#[derive(Debug, Default)]
pub(super) struct Found {
    listed: Vec<Violation>,
    unlisted: usize,
}

impl Found {
    pub(super) fn add(&mut self, path: &[&str], code: FieldCode, message: impl Into<String>) {
        if self.listed.len() == LISTED_MAX {
            self.unlisted += 1;
            return;
        }
        self.listed.push(Violation {
            pointer: short_pointer(path),
            code,
            message: message.into(),
        });
    }

    pub(super) fn into_result(self) -> Result<(), Violations> {
        let unlisted = self.unlisted;
        let mut listed = self.listed.into_iter();
        listed.next().map_or(Ok(()), |first| {
            Err(Violations {
                first,
                more: listed.collect(),
                unlisted,
            })
        })
    }
}

/// The pointer to a member, or to the one above an absurdly long name.
pub(super) fn short_pointer(path: &[&str]) -> String {
    pointer(path.iter().take_while(|name| name.len() <= NAME_IN_POINTER_MAX))
}

/// A name as a sentence repeats it: without control characters, and not longer than a line.
pub(super) fn shown(name: &str) -> String {
    const MOST: usize = 64;
    let mut shown: String = name.chars().take(MOST).flat_map(char::escape_debug).collect();
    if name.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

/// What a check finds, as `pointer code`, for tests.
#[cfg(test)]
pub(super) fn found_by(check: impl FnOnce(&mut Found)) -> Vec<String> {
    let mut found = Found::default();
    check(&mut found);
    let line = |violation: &Violation| format!("{} {}", violation.pointer, violation.code);
    found.listed.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_violations_become_one_problem_that_names_each_member() {
        let mut found = Found::default();
        found.add(&["commit"], FieldCode::NoLetter, "the commit has no letter");
        found.add(&["services", "a/b"], FieldCode::NotAName, "`a/b` is not a name");
        let violations = found.into_result().unwrap_err();
        let problem = Problem::from(&violations);
        assert_eq!((problem.status, problem.code.as_str()), (422, "invalidRequest"));
        assert_eq!(problem.title, "the commit has no letter (and 1 more)");
        let errors: Vec<_> = problem
            .errors
            .iter()
            .map(|e| (e.pointer.as_str(), e.code.as_str()))
            .collect();
        assert_eq!(errors, [("/commit", "noLetter"), ("/services/a~1b", "notAName")]);
    }

    #[test]
    fn more_violations_than_are_listed_are_counted() {
        let mut found = Found::default();
        let long = "x".repeat(100_000);
        for _ in 0..1000 {
            found.add(
                &["services", &long, "image"],
                FieldCode::Empty,
                "the image is empty",
            );
        }
        let violations = found.into_result().unwrap_err();
        assert_eq!(
            (violations.iter().count(), violations.count()),
            (LISTED_MAX, 1000)
        );
        assert_eq!(violations.to_string(), "the image is empty (and 999 more)");
        assert!(
            violations
                .iter()
                .all(|violation| violation.pointer == "/services")
        );
    }

    #[test]
    fn a_hostile_name_is_repeated_on_one_short_line() {
        assert_eq!(shown("web\n\u{1b}[31m"), "web\\n\\u{1b}[31m");
        assert!(shown(&"x".repeat(500)).chars().count() <= 65);
    }
}

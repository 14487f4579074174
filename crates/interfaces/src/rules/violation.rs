//! What is wrong with a release, all of it.

use crate::codes::{FieldCode, ProblemCode};
use crate::problem::{FieldError, Problem, pointer};
use std::fmt;

/// One rule that a release breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) to the member, from the release's root: `/services/onebox/image`.
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
        }
    }
}

/// Every rule that a release breaks; at least one. In the order of the members: commit, version, services, volumes,
/// networks, and what the agent itself needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violations {
    first: Violation,
    more: Vec<Violation>,
}

impl Violations {
    pub(super) fn new(found: Vec<Violation>) -> Option<Self> {
        let mut found = found.into_iter();
        found.next().map(|first| Self {
            first,
            more: found.collect(),
        })
    }

    /// The first one.
    pub fn first(&self) -> &Violation {
        &self.first
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        1 + self.more.len()
    }

    /// Whether one of them has this code.
    pub fn has(&self, code: &FieldCode) -> bool {
        self.iter().any(|violation| violation.code == *code)
    }
}

/// The first one, and how many more there are.
impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.more.len() {
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
pub(super) struct Found(Vec<Violation>);

impl Found {
    pub(super) fn add(&mut self, path: &[&str], code: FieldCode, message: impl Into<String>) {
        self.0.push(Violation {
            pointer: pointer(path),
            code,
            message: message.into(),
        });
    }

    pub(super) fn into_result(self) -> Result<(), Violations> {
        Violations::new(self.0).map_or(Ok(()), Err)
    }
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
    found.0.iter().map(line).collect()
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
    fn a_hostile_name_is_repeated_on_one_short_line() {
        assert_eq!(shown("web\n\u{1b}[31m"), "web\\n\\u{1b}[31m");
        assert!(shown(&"x".repeat(500)).chars().count() <= 65);
    }
}

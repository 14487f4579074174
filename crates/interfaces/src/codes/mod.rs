//! Names on the wire that say what something is: issues, events, errors, capabilities, problems.
//!
//! Each is an enum with one camelCase name a variant (contract §1) and an open end: a name that this version does
//! not know is kept in `Unknown`, so Cloudly stores and passes on the codes of newer agents unchanged.

mod capability;
mod event;
mod field;
mod issue;
mod problem;
mod table;
mod update_error;

pub use capability::Capability;
pub use event::EventKind;
pub use field::FieldCode;
pub use issue::IssueCode;
pub use problem::ProblemCode;
pub use table::UnknownName;
pub use update_error::ErrorCode;

#[cfg(test)]
mod tests;

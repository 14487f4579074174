//! Who is there: the rules (`judge`, `runs`), and what is known of each node in memory (`cache`).

pub(crate) mod cache;
pub(crate) mod judge;
pub(crate) mod runs;

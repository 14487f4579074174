//! What whole-program tests need.

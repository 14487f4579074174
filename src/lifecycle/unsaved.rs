//! A value that is not part of the checkpoint.

use std::ops::{Deref, DerefMut};

/// Equal to every other, so that a change of it writes nothing to disk: for what a new process finds out again anyway.
/// Members of this type are `#[serde(skip)]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsaved<T>(pub(crate) T);

impl<T> PartialEq for Unsaved<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Unsaved<T> {}

impl<T> Deref for Unsaved<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Unsaved<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

//! Collecting into maps and sets, for programs that have to stay small.

/// `collect` for ordered maps, ordered sets and JSON objects.
///
/// The standard library's `collect` sorts the items before it builds the tree, and compiles that sort, 5 KiB, for every
/// kind of iterator. This inserts one item after the other, as fast for the few members that these maps have.
pub trait CollectTree: Iterator + Sized {
    /// As `collect`: the last of equal keys counts.
    fn collect_tree<T: Default + Extend<Self::Item>>(self) -> T {
        let mut tree = T::default();
        tree.extend(self);
        tree
    }

    /// As `collect` into a `Result`.
    ///
    /// # Errors
    /// The first item that is one.
    fn try_collect_tree<T, I, E>(self) -> Result<T, E>
    where
        Self: Iterator<Item = Result<I, E>>,
        T: Default + Extend<I>,
    {
        let mut tree = T::default();
        for item in self {
            tree.extend([item?]);
        }
        Ok(tree)
    }
}

impl<I: Iterator> CollectTree for I {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_last_of_equal_keys_counts() {
        let pairs = [(2, 'a'), (1, 'b'), (2, 'c')];
        let tree: BTreeMap<_, _> = pairs.into_iter().collect_tree();
        assert_eq!(tree, pairs.into_iter().collect());
    }

    #[test]
    fn the_first_error_ends_the_collecting() {
        let items = [Ok((1, 'a')), Err("first"), Err("second")];
        assert_eq!(
            items.into_iter().try_collect_tree::<BTreeMap<_, _>, _, _>(),
            Err("first")
        );
        let tree: Result<BTreeMap<_, _>, &str> = items.into_iter().take(1).try_collect_tree();
        assert_eq!(tree, Ok(BTreeMap::from([(1, 'a')])));
    }
}

//! Stale reads: a transaction that only read a stream which another, concurrent one wrote.

use crate::dag::forks::History;
use crate::dag::reach::Reach;
use crate::format::binary::binary_fields;

/// A transaction whose `stream_bases` names a stream that it has no event of, while others wrote that stream at the
/// same time. It is no fork: nothing has to be settled, but the reader decided on an old state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleRead {
    /// The stream's number.
    pub stream: u32,
    /// The transaction that read it.
    pub reader: u32,
    /// The writers of the stream that are neither ancestors nor descendants of it, in canonical order; never empty.
    pub writers: Vec<u32>,
}
binary_fields!(StaleRead { stream, reader, writers });

/// Finds the writers of a stream that are concurrent with one reader.
///
/// Costs what lies between the cuts before and after the reader.
pub fn stale_read(reach: &mut Reach, history: &impl History, stream: u32, reader: u32) -> Option<StaleRead> {
    let depth = history.depth(reader);
    let mut place = history.place_at(stream, depth);
    let mut after = place;
    let mut writers = Vec::new();
    while let Some(before) = place.checked_sub(1)
        && let Some(writer) = history.writer(stream, before)
        && !history.cut_between(history.depth(writer.transaction), depth)
    {
        place = before;
        if !reach.is_ancestor(history, writer.transaction, reader) {
            writers.push(writer.transaction);
        }
    }
    writers.reverse();
    while let Some(writer) = history.writer(stream, after)
        && !history.cut_between(depth, history.depth(writer.transaction).max(1) - 1)
    {
        after += 1;
        if writer.transaction != reader && !reach.is_ancestor(history, reader, writer.transaction) {
            writers.push(writer.transaction);
        }
    }
    (!writers.is_empty()).then_some(StaleRead { stream, reader, writers })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dag::tests_support::{Dag, Deeds, any_dag};

    proptest! {
        #[test]
        fn equal_the_definition(dag in any_dag(40)) {
            let mut reach = Reach::default();
            for (reader, stream) in (0..dag.count()).flat_map(|n| dag.deeds[n as usize].reads.iter().map(move |&stream| (n, stream))) {
                let concurrent = |&n: &u32| n != reader && !dag.is_ancestor(n, reader) && !dag.is_ancestor(reader, n);
                let writers: Vec<u32> = dag.writers(stream).into_iter().filter(concurrent).collect();
                let expected = (!writers.is_empty()).then_some(StaleRead { stream, reader, writers });
                prop_assert_eq!(stale_read(&mut reach, &dag, stream, reader), expected);
            }
        }
    }

    #[test]
    fn a_read_before_or_after_the_write_is_not_stale() {
        let mut dag = Dag::default();
        let writes = || Deeds { writes: vec![(0, 1)], ..Deeds::default() };
        let reads = || Deeds { writes: vec![(1, 1)], reads: vec![0], ..Deeds::default() };
        dag.push(vec![], writes());
        dag.push(vec![0], reads());
        dag.push(vec![1], writes());
        let mut reach = Reach::default();
        assert_eq!(stale_read(&mut reach, &dag, 0, 1), None);
        dag.push(vec![0], writes());
        assert_eq!(stale_read(&mut reach, &dag, 0, 1), Some(StaleRead { stream: 0, reader: 1, writers: vec![3] }));
    }

    #[test]
    fn a_long_chain_is_not_walked() {
        let mut dag = Dag::default();
        for n in 0..200u32 {
            let deeds =
                if n == 100 { Deeds { reads: vec![0], ..Deeds::default() } } else { Deeds { writes: vec![(0, 1)], ..Deeds::default() } };
            dag.push(n.checked_sub(1).into_iter().collect(), deeds);
        }
        let mut reach = Reach::default();
        assert_eq!(stale_read(&mut reach, &dag, 0, 100), None);
        assert!(reach.questions() < 4, "{}", reach.questions());
    }
}

//! The names of moments (SEMANTICS.md, "Time").

use crate::braid::travel::TravelError;
use crate::format::time::parse_rfc3339;
use crate::model::TransactionId;

/// A moment as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Canonical order up to the transaction that holds the event at this position; 0 is before everything.
    Position(u64),
    /// What had a sequence number up to this one, and what that descends from; 0 is before everything.
    SeqNr(u64),
    /// What was here when this was the newest epoch, of what is here now.
    Epoch(u64),
    /// What was written then or before, and what that descends from; nanoseconds since 1970.
    Time(i128),
    /// A transaction and its ancestors.
    Transaction(TransactionId),
    /// Exactly the transactions in the tree of the commit that this names now.
    Revision(String),
}

impl When {
    /// The moment that a text names; without a prefix a UUID is a transaction, a time with its zone a time, all else a revision.
    ///
    /// # Errors
    /// [`TravelError::Malformed`].
    pub fn parse(when: &str) -> Result<Self, TravelError> {
        let malformed = |why| TravelError::Malformed { when: when.to_owned(), why };
        match when.split_once(':') {
            Some(("position", number)) => parse_number(number).map(Self::Position).ok_or_else(|| malformed("a position is a whole number")),
            Some(("seq", number)) => parse_number(number).map(Self::SeqNr).ok_or_else(|| malformed("a sequence number is a whole number")),
            Some(("epoch", number)) => parse_number(number).map(Self::Epoch).ok_or_else(|| malformed("an epoch is a whole number")),
            Some(("time", time)) => {
                parse_rfc3339(time).map(Self::Time).ok_or_else(|| malformed("a time is written as RFC 3339, with its zone"))
            }
            Some(("tx", id)) => {
                parse_id(id).map(Self::Transaction).ok_or_else(|| malformed("a transaction's id is a UUID with its hyphens"))
            }
            Some(("git", revision)) => Ok(Self::Revision(revision.to_owned())),
            _ => Ok(Self::without_prefix(when)),
        }
    }

    fn without_prefix(when: &str) -> Self {
        if let Some(id) = parse_id(when) {
            return Self::Transaction(id);
        }
        parse_rfc3339(when).map_or_else(|| Self::Revision(when.to_owned()), Self::Time)
    }
}

/// Only the canonical spelling: no sign, no leading zero.
fn parse_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// With hyphens only: 32 digits alone may be the beginning of a commit's name.
fn parse_id(text: &str) -> Option<TransactionId> {
    text.parse().ok().filter(|_| text.len() == 36)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_told_apart() {
        let id = "0199b3f0-0000-7000-8000-000000000001";
        let parse = |text: &str| When::parse(text).unwrap();
        assert_eq!(parse("position:12"), When::Position(12));
        assert_eq!(parse("seq:0"), When::SeqNr(0));
        assert_eq!(parse("epoch:7"), When::Epoch(7));
        assert_eq!(parse(&format!("tx:{id}")), When::Transaction(id.parse().unwrap()));
        assert_eq!(parse(id), When::Transaction(id.parse().unwrap()));
        assert_eq!(parse("time:1970-01-01T00:00:01Z"), When::Time(1_000_000_000));
        assert_eq!(parse("1970-01-01T01:00:01+01:00"), When::Time(1_000_000_000));
        for revision in ["HEAD~3", "origin/main", "v1.0", &id.replace('-', ""), ":/subject", "position"] {
            assert_eq!(parse(revision), When::Revision(revision.to_owned()));
            assert_eq!(parse(&format!("git:{revision}")), When::Revision(revision.to_owned()));
        }
    }

    #[test]
    fn a_prefix_with_nonsense_behind_it_is_refused() {
        for text in [
            "position:",
            "position:x",
            "position:01",
            "seq:-1",
            "seq:+1",
            "epoch:",
            "epoch:07",
            "time:yesterday",
            "time:2026-01-31",
            "tx:1",
        ] {
            assert!(matches!(When::parse(text), Err(TravelError::Malformed { .. })), "{text}");
        }
    }
}

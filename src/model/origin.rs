//! Who brought a transaction to git.

/// The commit that brought a transaction's file to git.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Who wrote the commit, as git has the name.
    pub author: String,
    /// The commit's full name.
    pub commit: String,
}

//! What each virtual file is: the tree of one epoch, names, exact sizes, rendered ranges.

//! What the parts do together, seen from the outside of the store: the tree on disk.

mod cache;

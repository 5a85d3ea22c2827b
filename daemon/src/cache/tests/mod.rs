//! What the parts do together, seen from outside the store: the tree on disk.

mod cache;
mod containment;
mod crash;
mod disk;
mod elsewhere;
mod keep;
mod local_dir;
mod locks;
mod neighbour;
mod staging;

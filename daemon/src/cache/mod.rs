//! Floor 2: the disk. The only code that writes Hugging Face caches and local directories.
//!
//! A file passes through three words: **staging** (its partial file, filled at offsets), **verify** (the bytes hash to
//! the digest), **publish** (one rename gives them their name; the link or the metadata comes after it). [`Store`] is
//! one repository folder of a cache, or one local directory.
//!
//! What holds at every moment, a power cut included:
//! - a name under `blobs/` that we made has the bytes of that digest; a link that we made points to such a blob;
//! - a name is made only after its bytes are synced, a link only after the name is synced, a ref after all links;
//! - nothing is written outside the root: every path is opened relative to the root's descriptor, without following
//!   a single symbolic link (`beneath.rs`);
//! - an existing file that is wrong is replaced by a rename and kept for an hour, never written into.
//!
//! Blocking code: no async, no HTTP, no SQL. It decides nothing about jobs; it answers what is there and does one step.

mod beneath;
mod elsewhere;
mod error;
mod find;
mod follower;
mod hasher;
mod keep;
mod layout;
mod link;
mod local_dir;
mod lock;
mod metadata;
mod neighbour;
mod partials;
mod place;
mod publish;
mod refs;
mod root;
mod small;
mod staging;
mod staging_dir;
mod stamp;
mod store;
mod touched;
mod tree;
mod twin;
pub mod verify;

#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;

pub use elsewhere::{Elsewhere, Shared};
pub use error::{CacheError, ErrorKind};
pub use find::{Check, Found};
pub use follower::{Followed, Follower};
pub use hasher::Hasher;
pub use keep::{CachedRevision, Inspected, Kept, Learnt, OpenFiles, Removed, Survey, Swept, Verdict, repos};
pub use lock::{AfterLimit, LockWait, Patience};
pub use neighbour::stand_back;
pub use partials::{IdlePartial, Partial};
pub use publish::Ready;
pub use refs::RefOnDisk;
pub use small::InMemory;
pub use staging::Staging;
pub use stamp::FileStamp;
pub use store::{Options, Space, Store, space_at};
pub use twin::Twin;

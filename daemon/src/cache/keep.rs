//! What a cache holds, and how it is made smaller: revisions, the blobs that they share, and who needs what.

mod inspect;
mod needed;
mod open_files;
mod pins;
mod survey;
mod sweep;

pub use inspect::{Inspected, Learnt, Verdict};
pub use open_files::OpenFiles;
pub use survey::{CachedRevision, Survey, repos};
pub use sweep::{Kept, Removed, Swept};

//! What a name means: every spelling of a repository that people paste, and the tables of short names. Floor 1, pure: it
//! never asks the Hub; a bare id that only the Hub can judge is handed back as such.

mod builtin;
mod reference;
mod resolve;
mod short;
mod uri;
mod web;

pub use builtin::{Builtin, builtin};
pub use reference::{BadName, Reference, parse};
pub use resolve::{BadAlias, NameSource, Names, ResolveError, Resolved};
pub use short::{BadAliasName, check_alias_name, same_name};

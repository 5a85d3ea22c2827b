//! Every mistake that was found, told at once.

use std::fmt;

use super::origin::Origin;

/// One mistake: where, which key, what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mistake {
    pub(super) origin: Origin,
    /// Empty when it is about no key.
    pub(super) key: String,
    pub(super) message: String,
}

impl Mistake {
    pub(super) fn new(origin: Origin, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            origin,
            key: key.into(),
            message: message.into(),
        }
    }
}

/// `FILE:LINE:COLUMN: key: message`.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.origin.place() {
            write!(f, "{place}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// All mistakes of a configuration, a line each, in the order of its files and lines. Never empty.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// `Ok` when there are none.
    pub(super) fn check(mut found: Vec<Mistake>) -> Result<(), Self> {
        if found.is_empty() {
            return Ok(());
        }
        found.sort();
        found.dedup();
        Err(Self(found))
    }

    pub(super) fn of(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

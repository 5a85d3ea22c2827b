//! How fast a job may go, and when.

use jiff::Timestamp;

use super::Priority;

/// What a user asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pacing {
    /// Bytes per second; `None`: no limit of its own.
    pub limit: Option<u64>,
    /// Name of a configured window, or a period such as `23:00-07:00`; `None`: at any time.
    pub window: Option<String>,
    /// Not before.
    pub start_at: Option<Timestamp>,
    /// To be ready by then: nothing is done for it but to tell whether it will be.
    pub ready_by: Option<Timestamp>,
}

/// A change of an open job; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobChange {
    /// Its place among the jobs of its user.
    pub priority: Option<Priority>,
    /// Bytes per second; `Some(None)` takes the limit away.
    pub limit: Option<Option<u64>>,
    /// `Some(None)` lets it run at any time.
    pub window: Option<Option<String>>,
}

/// A global limit that was set in place of the configured one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLimit {
    /// As it was written.
    pub text: String,
    /// When it ends.
    pub until: Option<Timestamp>,
}

/// What was set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetLimits {
    /// For good.
    pub lasting: Option<SetLimit>,
    /// Until its time, in place of that.
    pub temporary: Option<SetLimit>,
}

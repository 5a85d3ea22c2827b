//! Stable reasons of failed calls, sent as `google.rpc.ErrorInfo.reason` in [`DOMAIN`]. The failure of a *job* is data
//! (`Failure.kind`) and not in this list.

/// `ErrorInfo.domain` of every error of hfetchd.
pub const DOMAIN: &str = "hfetch";

/// A field of the request is wrong; the message names it.
pub const INVALID_ARGUMENT: &str = "INVALID_ARGUMENT";
/// A feature that this version does not have yet.
pub const NOT_IN_THIS_VERSION: &str = "NOT_IN_THIS_VERSION";
/// No such job, or not the caller's.
pub const JOB_NOT_FOUND: &str = "JOB_NOT_FOUND";
/// An id prefix that fits several jobs.
pub const JOB_ID_AMBIGUOUS: &str = "JOB_ID_AMBIGUOUS";
/// No such schedule, or not the caller's.
pub const SCHEDULE_NOT_FOUND: &str = "SCHEDULE_NOT_FOUND";
/// An id prefix that fits several schedules.
pub const SCHEDULE_ID_AMBIGUOUS: &str = "SCHEDULE_ID_AMBIGUOUS";
/// No alias of that name.
pub const ALIAS_NOT_FOUND: &str = "ALIAS_NOT_FOUND";
/// No endpoint has such a repository or revision, or shows it to the caller.
pub const REPO_NOT_FOUND: &str = "REPO_NOT_FOUND";
/// No such repository or revision in the cache.
pub const NOT_CACHED: &str = "NOT_CACHED";
/// The same request id with another request.
pub const REQUEST_ID_REUSED: &str = "REQUEST_ID_REUSED";
/// The job's state does not allow the verb.
pub const WRONG_STATE: &str = "WRONG_STATE";
/// The caller has no right to this.
pub const PERMISSION_DENIED: &str = "PERMISSION_DENIED";
/// Over TCP: the call brings neither a token nor a certificate that the daemon knows.
pub const UNAUTHENTICATED: &str = "UNAUTHENTICATED";
/// Over TCP: too many wrong tokens came from the caller's address; later again.
pub const TOO_MANY_ATTEMPTS: &str = "TOO_MANY_ATTEMPTS";
/// The user's quota of queued jobs is used up.
pub const QUEUE_FULL: &str = "QUEUE_FULL";
/// The state directory's file system is full.
pub const STORE_FULL: &str = "STORE_FULL";
/// The asked-for events are no longer kept; take a snapshot and watch from there.
pub const EVENTS_PRUNED: &str = "EVENTS_PRUNED";
/// The Hub could not be asked.
pub const HUB_UNREACHABLE: &str = "HUB_UNREACHABLE";
/// The user's tokens on the disk cannot be read, so none can be added to them.
pub const TOKENS_UNREADABLE: &str = "TOKENS_UNREADABLE";
/// The daemon is stopping; the call is safe to repeat.
pub const STOPPING: &str = "STOPPING";
/// A broken invariant; the log has more under the quoted request id.
pub const INTERNAL: &str = "INTERNAL";

//! Floor 2: the only code that speaks HTTP. Imports `model` alone.
//!
//! One call is one try: it follows redirects and pages, but never waits to try again, keeps no state about endpoints and
//! knows nothing of jobs or disks. [`classify()`] is the one place that says what an error means for the caller.
//!
//! Never here: a token on another origin than the endpoint's, a query string in a text, a body held in memory beyond one
//! chunk (files) or one page (JSON).

mod account;
mod address;
mod addresses;
mod body;
mod canary;
mod choice;
mod classify;
mod client;
mod clients;
mod endpoint;
mod error;
mod fetch;
mod info;
mod judge;
mod ledger;
mod link;
mod listed;
mod listing;
mod paging;
mod proxy;
mod quote;
mod range;
mod ratelimit;
mod redirect;
mod refusal;
mod request;
mod resolver;
mod routes;
mod scrub;
mod search;
#[cfg(test)]
mod tests;
mod trace;
mod transport;
mod window;
mod wording;

pub use account::{Account, GitRef, Refs};
pub use body::Body;
pub use canary::{ActivePeers, round_trip};
pub use classify::{Blame, RetryReason, Verdict, classify};
pub use client::{Hub, HubOptions};
pub use endpoint::{BadEndpoint, Endpoint};
pub use error::{Changed, HubError, RedirectFault};
pub use fetch::{FileTarget, Opened, SMALL_FILE};
pub use info::RepoInfo;
pub use judge::Tried;
pub use ledger::{Charge, Ledger, RouteUse};
pub use link::Link;
pub use listing::{Listing, ListingSource, MAX_ENTRIES};
pub use proxy::{BadProxy, ProxyRules};
pub use ratelimit::RateState;
pub use refusal::{About, Asked, ErrorCode, Refusal};
pub use routes::{Decision, ProxyPoint, RouteTable, Way};
pub use search::RepoSummary;
pub use trace::{Hop, Reading};
pub use transport::NetworkFault;
pub use window::ReceiveBuffer;
pub use wording::{failure, tokens_page};

use crate::model::Token;

/// A user's token, when the user has one and allows it to be sent to this endpoint. It goes to the endpoint's origin only.
pub type Credential<'a> = Option<&'a Token>;

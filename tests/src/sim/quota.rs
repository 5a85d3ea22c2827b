//! Rate limits as the Hub counts them: fixed windows, one bucket for the API and one for resolve, per user or address.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::wire::Response;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// `/api/…`
    Api,
    /// `/resolve/`
    Resolvers,
    /// Everything else.
    Pages,
}

impl Bucket {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Resolvers => "resolvers",
            Self::Pages => "pages",
        }
    }
}

/// Quotas and the counts of the running window.
#[derive(Debug)]
pub(crate) struct Quotas {
    window: Duration,
    quotas: HashMap<Bucket, u64>,
    began: Instant,
    used: HashMap<(Bucket, String), u64>,
}

/// State of one caller's bucket after a request was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    bucket: Bucket,
    quota: u64,
    left: u64,
    seconds_to_end: u64,
    window_secs: u64,
    pub(crate) refused: bool,
}

impl Quotas {
    pub(crate) fn new() -> Self {
        let window = Duration::from_secs(300);
        Self {
            window,
            quotas: HashMap::new(),
            began: Instant::now(),
            used: HashMap::new(),
        }
    }

    pub(crate) fn set(&mut self, bucket: Bucket, quota: u64) {
        self.quotas.insert(bucket, quota);
    }

    pub(crate) fn set_window(&mut self, window: Duration) {
        self.window = window;
        self.renew();
    }

    pub(crate) fn renew(&mut self) {
        self.began = Instant::now();
        self.used.clear();
    }

    pub(crate) fn count(&mut self, bucket: Bucket, caller: &str) -> Standing {
        if self.began.elapsed() >= self.window {
            self.renew();
        }
        // Far above what the Hub grants: a limit is something that a test asks for.
        let quota = self.quotas.get(&bucket).copied().unwrap_or(1_000_000);
        let used = self.used.entry((bucket, caller.to_owned())).or_default();
        let refused = *used >= quota;
        *used += u64::from(!refused);
        let rest = self.window.saturating_sub(self.began.elapsed());
        Standing {
            bucket,
            quota,
            left: quota - *used,
            seconds_to_end: rest.as_secs() + u64::from(rest.subsec_nanos() > 0),
            window_secs: self.window.as_secs().max(1),
            refused,
        }
    }
}

impl Standing {
    pub(crate) fn write(&self, response: &mut Response) {
        let (name, left, end) = (self.bucket.name(), self.left, self.seconds_to_end);
        response
            .headers
            .set("RateLimit", format!("\"{name}\";r={left};t={end}"));
        let (quota, window) = (self.quota, self.window_secs);
        response.headers.set(
            "RateLimit-Policy",
            format!("\"fixed window\";\"{name}\";q={quota};w={window}"),
        );
    }
}

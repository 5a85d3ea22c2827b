//! A small part of a file, fetched to see how an endpoint does it: which way it leads, how fast, and with ranges or without.

use std::time::Duration;

use tokio::time::Instant;
use url::Origin;

use super::client::Hub;
use super::endpoint::{Endpoint, host_of, is_hub_host};
use super::error::HubError;
use super::fetch::FileTarget;
use super::{Credential, RateState};
use crate::model::ByteRange;

/// How an endpoint delivered a part of a file.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Host where the bytes lie.
    pub ends_at: String,
    /// Origins on the way, the endpoint's own first.
    pub way: Vec<Origin>,
    /// The first host after the endpoint that is the Hub itself.
    pub through_hub: Option<String>,
    /// The whole file came in place of the part.
    pub whole: bool,
    /// From asking to the first byte, redirects included.
    pub first_byte: Duration,
    /// From the first byte to the last.
    pub took: Duration,
    /// Bytes that came.
    pub bytes: u64,
    /// What the endpoint said about its quota.
    pub rate: Option<RateState>,
}

impl Hub {
    /// Fetches a range of a file and throws the bytes away. Its headers are held against the plan as in [`Hub::open`].
    ///
    /// # Errors
    /// As [`Hub::open`] and as reading the body.
    pub async fn try_part(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        target: &FileTarget,
        range: ByteRange,
    ) -> Result<Tried, HubError> {
        let asked = Instant::now();
        let mut way = Vec::new();
        let mut through_hub = None;
        let watch = |url: &url::Url| {
            if !endpoint.owns(url) && is_hub_host(url) {
                through_hub.get_or_insert_with(|| host_of(url));
            }
            if way.last() != Some(&url.origin()) {
                way.push(url.origin());
            }
        };
        let mut opened = self.open_watched(endpoint, token, target, range, None, watch).await?;
        let (mut bytes, mut first_byte) = (0, None);
        while let Some(chunk) = opened.body.chunk().await? {
            first_byte.get_or_insert_with(|| asked.elapsed());
            bytes += chunk.len() as u64;
        }
        let whole_time = asked.elapsed();
        let first_byte = first_byte.unwrap_or(whole_time);
        Ok(Tried {
            ends_at: opened.link.host,
            way,
            through_hub,
            whole: opened.ranges_ignored,
            first_byte,
            took: whole_time.saturating_sub(first_byte),
            bytes,
            rate: opened.rate,
        })
    }
}

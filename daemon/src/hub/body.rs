//! The bytes of one range, as they come off the wire: nothing is held but the chunk handed on.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::Response;
use tokio::time::timeout;
use url::Url;

use super::endpoint::host_of;
use super::error::HubError;
use super::{transport, window};
use crate::model::SignedUrl;

/// Longest wait for the end of a body whose bytes are all there.
const COURTESY: Duration = Duration::from_secs(1);

/// The body of one range. Dropping it closes the connection, unless it was read to its end.
pub struct Body {
    response: Response,
    url: SignedUrl,
    via: Option<Url>,
    wanted: u64,
    got: u64,
    stall_timeout: Duration,
    /// The answer is the whole file, so more bytes than wanted are no fault.
    cut_short: bool,
    surplus: bool,
    ended: bool,
}

impl Body {
    pub(super) fn new(
        response: Response,
        url: &Url,
        via: Option<&Url>,
        wanted: u64,
        cut_short: bool,
        stall_timeout: Duration,
    ) -> Self {
        Self {
            ended: response.content_length() == Some(wanted),
            surplus: !cut_short && response.content_length().is_some_and(|length| length > wanted),
            response,
            url: SignedUrl::new(url.clone()),
            via: via.cloned(),
            wanted,
            got: 0,
            stall_timeout,
            cut_short,
        }
    }

    /// The next bytes, exactly those of the range in order, and `None` after the last one. Safe to cancel: no byte is lost.
    ///
    /// # Errors
    /// [`HubError::Stalled`] when nothing came for the stall timeout, [`HubError::Truncated`] when the body ended early, and
    /// [`HubError::Transport`] when the connection broke. The bytes handed on before stay good.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HubError> {
        let left = self.wanted - self.got;
        if left == 0 {
            self.see_end().await;
            return Ok(None);
        }
        loop {
            let next = timeout(self.stall_timeout, self.response.chunk()).await;
            let mut chunk = match next {
                Err(_) => {
                    return Err(HubError::Stalled {
                        host: self.host(),
                        got: self.got,
                        after: self.stall_timeout,
                    });
                }
                Ok(Err(error)) if !transport::is_early_end(&error) => {
                    return Err(transport::fault(error, self.url.reveal(), self.via.as_ref()));
                }
                Ok(Err(_) | Ok(None)) => {
                    return Err(HubError::Truncated {
                        host: self.host(),
                        got: self.got,
                        wanted: self.wanted,
                    });
                }
                Ok(Ok(Some(chunk))) if chunk.is_empty() => continue,
                Ok(Ok(Some(chunk))) => chunk,
            };
            if let Ok(limit) = usize::try_from(left)
                && chunk.len() > limit
            {
                chunk.truncate(limit);
                self.surplus = !self.cut_short;
            }
            self.got += chunk.len() as u64;
            return Ok(Some(chunk));
        }
    }

    /// Lets about so many bytes be under way to us at a time. Blocks for a moment on the process's list of descriptors.
    pub fn set_window(&self, bytes: usize) {
        if let Some(info) = self.response.extensions().get::<HttpInfo>() {
            window::set(info.local_addr(), bytes);
        }
    }

    /// Bytes handed on so far.
    pub fn got(&self) -> u64 {
        self.got
    }

    /// The server sent or announced more bytes than asked for; they were cut. To be counted against it. Known for certain
    /// only after [`Self::chunk`] gave `None`.
    pub fn surplus(&self) -> bool {
        self.surplus
    }

    /// Where the bytes come from: host, perhaps with a port.
    pub fn host(&self) -> String {
        host_of(self.url.reveal())
    }

    /// Looks once, and not for long, whether a body of unknown length ends where it should.
    async fn see_end(&mut self) {
        if self.ended || self.surplus || self.cut_short {
            return;
        }
        self.ended = true;
        let patience = COURTESY.min(self.stall_timeout);
        if let Ok(Ok(Some(more))) = timeout(patience, self.response.chunk()).await {
            self.surplus = !more.is_empty();
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("from", &self.url)
            .field("got", &self.got)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

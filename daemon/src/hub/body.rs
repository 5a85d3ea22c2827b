//! The bytes of one range, as they come off the wire: nothing is held but the chunk handed on.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::Response;
use tokio::time::{Instant, timeout};
use url::Url;

use super::canary::Reading;
use super::client::{Hub, Taken};
use super::endpoint::host_of;
use super::error::HubError;
use super::ledger::Charge;
use super::window::ReceiveBuffer;
use super::{transport, window};
use crate::model::SignedUrl;

/// Longest wait for the end of a body whose bytes are all there.
const COURTESY: Duration = Duration::from_secs(1);

/// The body of one range. Dropping it closes the connection, unless it was read to its end.
pub struct Body {
    response: Response,
    url: SignedUrl,
    hub: Hub,
    taken: Taken,
    begun: Instant,
    wanted: u64,
    got: u64,
    stall_timeout: Duration,
    /// The answer is the whole file, so more bytes than wanted are no fault.
    cut_short: bool,
    surplus: bool,
    ended: bool,
    /// The canary flies to where bytes come from.
    _reading: Option<Reading>,
}

impl Body {
    pub(super) fn new(
        hub: Hub,
        response: Response,
        url: &Url,
        taken: Taken,
        wanted: u64,
        cut_short: bool,
        stall_timeout: Duration,
    ) -> Self {
        Self {
            ended: response.content_length() == Some(wanted),
            surplus: !cut_short && response.content_length().is_some_and(|length| length > wanted),
            _reading: response
                .remote_addr()
                .map(|peer| hub.peers().reading(peer, taken.via().is_some())),
            response,
            url: SignedUrl::new(url.clone()),
            hub,
            taken,
            begun: Instant::now(),
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
                    self.hub.way_failed(&self.taken);
                    return Err(HubError::Stalled {
                        host: self.host(),
                        got: self.got,
                        after: self.stall_timeout,
                    });
                }
                Ok(Err(error)) if !transport::is_early_end(&error) => {
                    self.hub.way_failed(&self.taken);
                    return Err(transport::fault(error, self.url.reveal(), self.taken.via()));
                }
                Ok(Err(_) | Ok(None)) => {
                    self.hub.way_failed(&self.taken);
                    return Err(HubError::Truncated {
                        host: self.host(),
                        got: self.got,
                        wanted: self.wanted,
                    });
                }
                Ok(Ok(Some(chunk))) if chunk.is_empty() => continue,
                Ok(Ok(Some(chunk))) => chunk,
            };
            self.taken.charge.got(chunk.len());
            if let Ok(limit) = usize::try_from(left)
                && chunk.len() > limit
            {
                self.taken.charge.wasted((chunk.len() - limit) as u64);
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

    /// Where its bytes are counted.
    pub fn charge(&self) -> &Charge {
        &self.taken.charge
    }

    /// The receive buffer that it comes by.
    pub fn receive_buffer(&self) -> Option<ReceiveBuffer> {
        let info = self.response.extensions().get::<HttpInfo>()?;
        Some(ReceiveBuffer::of(info.local_addr()))
    }

    /// Bytes handed on so far.
    pub fn got(&self) -> u64 {
        self.got
    }

    /// The server sent or announced more bytes than asked for; they were cut. Known for certain only after [`Self::chunk`] gave
    /// `None`.
    pub fn surplus(&self) -> bool {
        self.surplus
    }

    /// The way that they come by: `DIRECT`, or the name of a proxy.
    pub fn way(&self) -> &str {
        self.taken.way.name()
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
            self.taken.charge.got(more.len());
            self.taken.charge.wasted(more.len() as u64);
        }
    }
}

/// However it ends, what came says how good the way is.
impl Drop for Body {
    fn drop(&mut self) {
        self.hub.way_delivered(&self.taken, self.got, self.begun.elapsed());
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

//! One exchange, as the journal keeps it.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

/// Characters of a query that a line shows.
const QUERY_SHOWN: usize = 60;

/// Which of the two origins was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// API and resolve.
    Hub,
    /// Signed URLs.
    Cdn,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It is still going on.
    Open,
    /// All that was announced was sent.
    Complete,
    /// We closed early (FIN), as a fault told us.
    Cut,
    /// We reset the connection, as a fault told us.
    Reset,
    /// The peer closed or reset while we were sending.
    PeerClosed,
    /// The simulated Hub was stopped, or could not read its content.
    Stopped,
}

/// One exchange, as it was when asked for.
#[derive(Clone, Debug)]
pub struct Record {
    /// Counts requests of this Hub from 0.
    pub seq: u64,
    /// Which origin.
    pub host: Host,
    /// Counts connections from 0; requests on one kept-alive connection share it.
    pub connection: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// Method.
    pub method: String,
    /// Percent-encoded path.
    pub path: String,
    /// Query without `?`.
    pub query: String,
    /// Request headers as they came.
    pub headers: Vec<(String, String)>,
    /// Request body.
    pub body: Vec<u8>,
    /// Status sent; 0 until then.
    pub status: u16,
    /// Repository (web path, such as `datasets/org/name`) that a file belongs to.
    pub repo: Option<String>,
    /// File asked for, by its path in the repository.
    pub file: Option<String>,
    /// Bytes of that file that were handed to the kernel; empty when the body was something else.
    pub sent: Range<u64>,
    /// Body bytes handed to the kernel, of whatever kind.
    pub body_bytes: u64,
    /// Since the Hub started.
    pub started: Duration,
    /// Since the Hub started.
    pub ended: Option<Duration>,
    /// How it ended.
    pub ending: Ending,
    /// Names of the faults that struck it.
    pub faults: Vec<String>,
}

impl Record {
    /// A request header, by any spelling of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether the request carried this header.
    pub fn has_header(&self, name: &str) -> bool {
        self.header(name).is_some()
    }

    /// The `Range` header.
    pub fn range(&self) -> Option<&str> {
        self.header("range")
    }

    /// One line for a failing test's message.
    pub fn line(&self) -> String {
        // Signed addresses are long, and say nothing to people.
        let mut query = self.query.clone();
        if !query.is_empty() {
            query.insert(0, '?');
        }
        if let Some((end, _)) = query.char_indices().nth(QUERY_SHOWN) {
            query.truncate(end);
            query.push('…');
        }
        let range = self.range().map_or(String::new(), |range| format!(" [{range}]"));
        let faults = if self.faults.is_empty() {
            String::new()
        } else {
            format!(" faults={:?}", self.faults)
        };
        format!(
            "#{} {:?} conn{} {} {}{query}{range} -> {} {}B {:?}{faults}",
            self.seq, self.host, self.connection, self.method, self.path, self.status, self.body_bytes, self.ending
        )
    }
}

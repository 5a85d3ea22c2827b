//! How the simulated Hub behaves, apart from faults: everything that one real server does and another does not.

use std::time::Duration;

/// The shape of the answer for plain files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainShape {
    /// A relative 307 to the resolve cache, as the Hub does since 2025.
    ResolveCache,
    /// 200 at once, as the Hub did before and as mirrors do.
    Direct,
}

/// The shape of the answer for linked files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkedShape {
    /// 302 to a signed URL at the CDN, as the Hub does.
    Signed,
    /// 200 at once, without `X-Linked-*` and with the SHA-256 as etag, as Olah does.
    Direct,
    /// 302 with a relative location at the Hub itself, whose answer has the Xet hash, unquoted, for its etag: Olah too.
    RelativeXet,
}

/// Behaviour that can be changed at any time, by [`super::SimHub::switch`], or for single requests, by
/// [`super::Fault::quirk`].
#[derive(Clone, Debug)]
pub struct Switches {
    /// Plain files.
    pub plain: PlainShape,
    /// Linked files.
    pub linked: LinkedShape,
    /// Entries on a page of the tree.
    pub page_size: usize,
    /// Entries on a page of the tree with `expand=true`.
    pub expanded_page_size: usize,
    /// Elements on a page of the search.
    pub search_page_size: usize,
    /// How long a signed URL lives.
    pub link_life: Duration,
    /// Announce Xet: `X-Xet-Hash` and `Link` on resolve, `xetHash` in the tree. The token route answers 404 anyhow.
    pub announce_xet: bool,
    /// Give 64 asterisks in place of each Xet hash.
    pub mask_xet: bool,
    /// Origin that `Link: rel="next"` names in place of our own.
    pub next_link_origin: Option<String>,
    /// Answer every page of the tree with the first one and the same link.
    pub ignore_cursor: bool,
    /// Answer a request that allows gzip with gzip: chunked, weak etag, `Range` ignored.
    pub honour_gzip: bool,
    /// Refuse (400) a GET without `Range` of a linked file above this size.
    pub refuse_unranged_above: Option<u64>,
    /// Requests answered at one time by the Hub; 503 beyond.
    pub hub_concurrency: Option<usize>,
    /// Requests answered at one time by the CDN; 503 beyond.
    pub cdn_concurrency: Option<usize>,
    /// Bytes of the send buffer of each connection, so that what is counted as sent has nearly arrived; else 128 KiB.
    pub send_buffer: Option<usize>,
    /// Seconds by which our clock is ahead of the machine's.
    pub clock_ahead_secs: i64,
    /// The resolve-cache hop counts against the quota of the resolvers too.
    pub count_resolve_cache: bool,
    /// `siblings` lists no more than this.
    pub siblings_limit: Option<usize>,
    /// The tree route exists.
    pub has_tree: bool,
    /// The search route exists; without it 401, as Olah answers.
    pub has_search: bool,
    /// A missing repository is 401 with `X-Error-Code: RepoNotFound`, as Olah answers.
    pub code_on_401: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            plain: PlainShape::ResolveCache,
            linked: LinkedShape::Signed,
            page_size: 1000,
            expanded_page_size: 100,
            search_page_size: 100,
            link_life: Duration::from_secs(3600),
            announce_xet: false,
            mask_xet: false,
            next_link_origin: None,
            ignore_cursor: false,
            honour_gzip: false,
            refuse_unranged_above: None,
            hub_concurrency: None,
            cdn_concurrency: None,
            send_buffer: None,
            clock_ahead_secs: 0,
            count_resolve_cache: false,
            siblings_limit: None,
            has_tree: true,
            has_search: true,
            code_on_401: false,
        }
    }
}

impl Switches {
    /// What is known of Olah 0.5.4 in its default configuration.
    pub fn olah() -> Self {
        Self {
            plain: PlainShape::Direct,
            linked: LinkedShape::Direct,
            next_link_origin: Some("https://huggingface.co".to_owned()),
            ignore_cursor: true,
            has_search: false,
            code_on_401: true,
            ..Self::default()
        }
    }
}

//! Faults and the rules that say which requests they strike.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::content::mix;
use super::glob::fits;
use super::journal::{Host, lock};
use super::switches::Switches;

/// One thing that goes wrong. Several may strike one request; those that replace the answer come first.
#[derive(Clone)]
pub enum Fault {
    /// Another answer: status, headers, body.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
    /// 200 with a login page.
    Html,
    /// A redirect with this status to the same path and query at another origin.
    RedirectTo(u16, String),
    /// A redirect with this status to exactly this location.
    Redirect(u16, String),
    /// A redirect to the same URL, for ever.
    RedirectLoop,
    /// So many relative redirects before the real answer.
    RedirectChain(u32),
    /// Waits before the answer.
    Delay(Duration),
    /// Reads the request and says nothing until the peer closes.
    StallBeforeHead,
    /// Sends so many body bytes, then nothing until the peer closes.
    StallAfter(u64),
    /// Resets the connection (RST) without an answer.
    ResetBeforeHead,
    /// Resets the connection (RST) after so many body bytes.
    ResetAfter(u64),
    /// Resets the connection (RST) after a number of body bytes between these two, drawn for each request from the seed.
    ResetBetween(u64, u64, u64),
    /// Closes (FIN) without an answer.
    CutBeforeHead,
    /// Closes (FIN) after so many body bytes.
    CutAfter(u64),
    /// Sends chunked and ends in good form after so many bytes, as if that were all.
    ShortChunked(u64),
    /// So many bytes at a time, with this pause between.
    Drip(u64, Duration),
    /// Answers a ranged request with 200 and the whole.
    IgnoreRange,
    /// 206 without `Content-Range`.
    NoContentRange,
    /// 206 for a range that begins so many bytes later (or earlier), honestly announced.
    OtherRange(i64),
    /// 206 announced as asked, with bytes from so many later (or earlier).
    ShiftedBytes(i64),
    /// This total in `Content-Range`.
    WrongTotal(u64),
    /// 206 as `multipart/byteranges`.
    Multipart,
    /// So many bytes beyond what `Content-Range` says, counted in `Content-Length`.
    Overlong(u64),
    /// Compressed though nobody asked; status and range as before, so that offsets count compressed bytes.
    Gzip,
    /// One bit of the byte at this offset of the file is turned.
    FlipByte(u64),
    /// This value for `ETag` and `X-Linked-ETag`.
    ChangedEtag(String),
    /// `W/` before both etags.
    WeakEtag,
    /// `-gzip` inside the quotes of both etags.
    GzipEtag,
    /// Both etags without quotes.
    BareEtag,
    /// Without this header. `Content-Length` too: a HEAD then has no length, a GET is chunked.
    DropHeader(String),
    /// With this header.
    SetHeader(String, String),
    /// Other behaviour for this request.
    Quirk(Arc<dyn Fn(&mut Switches) + Send + Sync>),
}

impl Fault {
    /// This status with an empty body.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), Vec::new())
    }

    /// 429 in the Hub's own form: `RateLimit` with nothing left for so many seconds.
    pub fn too_many_ratelimit(seconds: u64) -> Self {
        let policy = "\"fixed window\";\"resolvers\";q=3000;w=300";
        Self::too_many(&[
            ("RateLimit", &format!("\"resolvers\";r=0;t={seconds}")),
            ("RateLimit-Policy", policy),
        ])
    }

    /// 429 with `Retry-After` in seconds.
    pub fn too_many_seconds(seconds: u64) -> Self {
        Self::too_many(&[("Retry-After", &seconds.to_string())])
    }

    /// 429 with `Retry-After` as a date so many seconds ahead of now.
    pub fn too_many_date(seconds: i64) -> Self {
        Self::too_many(&[(
            "Retry-After",
            &super::clock::http_date(super::clock::unix_now() + seconds),
        )])
    }

    /// 429 with nothing.
    pub fn too_many_bare() -> Self {
        Self::too_many(&[])
    }

    fn too_many(headers: &[(&str, &str)]) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self::Answer(429, headers, b"Too Many Requests".to_vec())
    }

    /// 403 in XML that is not an expiry.
    pub fn access_denied() -> Self {
        let body = b"<Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>".to_vec();
        Self::Answer(
            403,
            vec![("Content-Type".to_owned(), "application/xml".to_owned())],
            body,
        )
    }

    /// The fault as it strikes the request with this number.
    fn drawn(&self, number: u64) -> Self {
        match self {
            Self::ResetBetween(least, most, seed) => {
                Self::ResetAfter(least + mix(*seed, number) % (most.saturating_sub(*least) + 1))
            }
            other => other.clone(),
        }
    }

    /// Other behaviour for this request.
    pub fn quirk(change: impl Fn(&mut Switches) + Send + Sync + 'static) -> Self {
        Self::Quirk(Arc::new(change))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Fault {
    /// How the journal calls it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Answer(status, ..) => format!("Answer({status})"),
            Self::Html => "Html".to_owned(),
            Self::RedirectTo(status, to) | Self::Redirect(status, to) => format!("Redirect({status}, {to})"),
            Self::RedirectLoop => "RedirectLoop".to_owned(),
            Self::RedirectChain(hops) => format!("RedirectChain({hops})"),
            Self::Delay(wait) => format!("Delay({wait:?})"),
            Self::StallBeforeHead => "StallBeforeHead".to_owned(),
            Self::StallAfter(bytes) => format!("StallAfter({bytes})"),
            Self::ResetBeforeHead => "ResetBeforeHead".to_owned(),
            Self::ResetAfter(bytes) => format!("ResetAfter({bytes})"),
            Self::ResetBetween(least, most, _) => format!("ResetBetween({least}, {most})"),
            Self::CutBeforeHead => "CutBeforeHead".to_owned(),
            Self::CutAfter(bytes) => format!("CutAfter({bytes})"),
            Self::ShortChunked(bytes) => format!("ShortChunked({bytes})"),
            Self::Drip(bytes, pause) => format!("Drip({bytes}, {pause:?})"),
            Self::IgnoreRange => "IgnoreRange".to_owned(),
            Self::NoContentRange => "NoContentRange".to_owned(),
            Self::OtherRange(by) => format!("OtherRange({by})"),
            Self::ShiftedBytes(by) => format!("ShiftedBytes({by})"),
            Self::WrongTotal(total) => format!("WrongTotal({total})"),
            Self::Multipart => "Multipart".to_owned(),
            Self::Overlong(bytes) => format!("Overlong({bytes})"),
            Self::Gzip => "Gzip".to_owned(),
            Self::FlipByte(offset) => format!("FlipByte({offset})"),
            Self::ChangedEtag(etag) => format!("ChangedEtag({etag})"),
            Self::WeakEtag => "WeakEtag".to_owned(),
            Self::GzipEtag => "GzipEtag".to_owned(),
            Self::BareEtag => "BareEtag".to_owned(),
            Self::DropHeader(name) => format!("DropHeader({name})"),
            Self::SetHeader(name, value) => format!("SetHeader({name}: {value})"),
            Self::Quirk(_) => "Quirk".to_owned(),
        }
    }
}

/// Which requests are meant. Without any condition: all.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Matcher {
    host: Option<Host>,
    method: Option<String>,
    path: Option<String>,
    file: Option<String>,
    ranged: Option<bool>,
}

impl Matcher {
    /// All requests.
    pub fn any() -> Self {
        Self::default()
    }

    /// Only at this origin.
    pub fn host(mut self, host: Host) -> Self {
        self.host = Some(host);
        self
    }

    /// Only with this method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only when the decoded URL path fits (`*` any run of characters, `?` one character).
    pub fn path(mut self, pattern: &str) -> Self {
        self.path = Some(pattern.to_owned());
        self
    }

    /// Only when the request is about a file whose path in its repository fits.
    pub fn file(mut self, pattern: &str) -> Self {
        self.file = Some(pattern.to_owned());
        self
    }

    /// Only with (or without) a `Range` header.
    pub fn ranged(mut self, ranged: bool) -> Self {
        self.ranged = Some(ranged);
        self
    }

    pub(crate) fn fits(&self, subject: &Subject<'_>) -> bool {
        self.host.is_none_or(|host| host == subject.host)
            && self.method.as_deref().is_none_or(|method| method == subject.method)
            && self.path.as_deref().is_none_or(|pattern| fits(pattern, subject.path))
            && self
                .file
                .as_deref()
                .is_none_or(|pattern| subject.file.is_some_and(|file| fits(pattern, file)))
            && self.ranged.is_none_or(|ranged| ranged == subject.ranged)
    }
}

/// What a matcher looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) host: Host,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) file: Option<&'a str>,
    pub(crate) ranged: bool,
}

/// A fault and when it strikes: of the requests that match, `skip` pass, then `times` are struck.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rule {
    fault: Fault,
    matcher: Matcher,
    skip: u64,
    times: u64,
    every: u64,
    chance: Option<(f64, u64)>,
}

impl Rule {
    /// Strikes every request that matches.
    pub fn new(matcher: Matcher, fault: Fault) -> Self {
        Self {
            fault,
            matcher,
            skip: 0,
            times: u64::MAX,
            every: 1,
            chance: None,
        }
    }

    /// Only the first `count` that match.
    pub fn first(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    /// Only the first that matches.
    pub fn once(self) -> Self {
        self.first(1)
    }

    /// Only the `number`th that matches, counted from 1.
    pub fn nth(mut self, number: u64) -> Self {
        self.skip = number.saturating_sub(1);
        self.times = 1;
        self
    }

    /// Lets the first `count` that match pass.
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Of each `count` that match, only the first.
    pub fn every(mut self, count: u64) -> Self {
        self.every = count.max(1);
        self
    }

    /// Strikes with this probability, drawn from `seed` and the number of the request among those that match.
    pub fn chance(mut self, probability: f64, seed: u64) -> Self {
        self.chance = Some((probability, seed));
        self
    }
}

/// The rules in force. All clones are one plan.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    rules: Arc<Mutex<Vec<(Rule, u64)>>>,
}

impl FaultPlan {
    /// Puts a rule in force.
    pub fn add(&self, rule: Rule) {
        lock(&self.rules).push((rule, 0));
    }

    /// Takes all rules away.
    pub fn clear(&self) {
        lock(&self.rules).clear();
    }

    /// The faults that strike one request; counts it.
    pub(crate) fn strike(&self, subject: &Subject<'_>) -> Vec<Fault> {
        let mut struck = Vec::new();
        for (rule, seen) in lock(&self.rules)
            .iter_mut()
            .filter(|(rule, _)| rule.matcher.fits(subject))
        {
            let number = *seen;
            *seen += 1;
            let in_turn = number >= rule.skip && number - rule.skip < rule.times && number % rule.every == 0;
            let drawn = |(probability, seed): (f64, u64)| unit(mix(seed, number)) < probability;
            if in_turn && rule.chance.is_none_or(drawn) {
                struck.push(rule.fault.drawn(number));
            }
        }
        struck
    }
}

/// A number in `0.0..1.0` from 53 random bits.
fn unit(word: u64) -> f64 {
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

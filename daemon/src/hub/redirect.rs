//! Where a redirect leads, and whether we go there. The library follows none.
//!
//! The token is no part of this: `request.rs` attaches it on a hop only when [`Endpoint::owns`] the address and every one
//! before it, so there is no way to carry it on by following.

use std::collections::HashSet;

use http::{HeaderMap, StatusCode, header};
use url::Url;

use super::address;
use super::endpoint::{Endpoint, host_of};
use super::error::RedirectFault;
use crate::model::route::Network;

/// Most redirects of one call.
pub(super) const MAX_HOPS: usize = 10;

/// The addresses of one call so far.
pub(super) struct Trail {
    seen: HashSet<String>,
}

impl Trail {
    /// Begins at the first address.
    pub(super) fn new(first: &Url) -> Self {
        Self {
            seen: HashSet::from([first.as_str().to_owned()]),
        }
    }

    /// Goes one hop on.
    pub(super) async fn step(
        &mut self,
        endpoint: &Endpoint,
        from: &Url,
        headers: &HeaderMap,
        networks: &[Network],
    ) -> Result<Url, RedirectFault> {
        let location = headers.get(header::LOCATION).ok_or(RedirectFault::NoLocation)?;
        let next = target(from, location.as_bytes())?;
        if !address::allowed(endpoint, &next, networks).await {
            return Err(RedirectFault::Address(host_of(&next)));
        }
        if self.seen.len() > MAX_HOPS {
            return Err(RedirectFault::TooMany(MAX_HOPS));
        }
        if !self.seen.insert(next.as_str().to_owned()) {
            return Err(RedirectFault::Loop);
        }
        Ok(next)
    }
}

/// Statuses that lead elsewhere, all treated alike.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Resolves and judges one `Location`.
///
/// Resolving is the address type's, which changes none of the characters that may stand in an address but one: an apostrophe
/// in a query becomes `%27`. Browsers do the same, and the Hub's downloads work in browsers.
fn target(from: &Url, location: &[u8]) -> Result<Url, RedirectFault> {
    let text = std::str::from_utf8(location).map_err(|_| RedirectFault::Unreadable)?;
    let mut next = from.join(text.trim()).map_err(|_| RedirectFault::Unreadable)?;
    next.set_fragment(None);
    if !matches!(next.scheme(), "http" | "https") {
        return Err(RedirectFault::Scheme(next.scheme().chars().take(20).collect()));
    }
    if from.scheme() == "https" && next.scheme() == "http" {
        return Err(RedirectFault::Downgrade);
    }
    if !next.username().is_empty() || next.password().is_some() {
        return Err(RedirectFault::Userinfo);
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(from: &str, location: &str) -> Result<String, RedirectFault> {
        target(&Url::parse(from).unwrap(), location.as_bytes()).map(String::from)
    }

    #[test]
    fn the_query_stays_as_it_was_sent() {
        let from = "https://huggingface.co/openai-community/gpt2/resolve/main/README.md";
        let cached = "/api/resolve-cache/models/openai-community/gpt2/607a30d783dfa663caf39e06633721c8d4cfcd7e/README.md?%2Fopenai-community%2Fgpt2%2Fresolve%2Fmain%2FREADME.md=&etag=%221111111111111111111111111111111111111111%22";
        assert_eq!(go(from, cached).unwrap(), format!("https://huggingface.co{cached}"));
        let signed = "https://us.aws.cdn.hf.co/xet-bridge-us/680f/e864?X-Xet-Cas-Uid=public&response-content-disposition=inline%3B+filename*%3DUTF-8%27%27a%2Bb.gguf%3B+x%3D%22y%22%3B&Expires=1790000000&Policy=eyJ_~-__&Signature=a~b-c_d__&Key-Pair-Id=K2|{}^`";
        assert_eq!(go(from, signed).unwrap(), signed);
    }

    #[test]
    fn references_resolve_against_the_hop() {
        let from = "https://huggingface.co/a/b/resolve/main/x?q=1";
        assert_eq!(
            go(from, "/c/d/resolve/main/x").unwrap(),
            "https://huggingface.co/c/d/resolve/main/x"
        );
        assert_eq!(go(from, "y").unwrap(), "https://huggingface.co/a/b/resolve/main/y");
        assert_eq!(
            go(from, "?z=%2F").unwrap(),
            "https://huggingface.co/a/b/resolve/main/x?z=%2F"
        );
        assert_eq!(go(from, "//cdn.example/x#frag").unwrap(), "https://cdn.example/x");
        assert_eq!(
            go(from, " https://cdn.example/é ").unwrap(),
            "https://cdn.example/%C3%A9"
        );
        assert_eq!(
            go(from, "/refs%2Fpr%2F1/x").unwrap(),
            "https://huggingface.co/refs%2Fpr%2F1/x"
        );
    }

    #[test]
    fn refuses() {
        let from = "https://huggingface.co/x";
        assert_eq!(go(from, "http://huggingface.co/x"), Err(RedirectFault::Downgrade));
        assert_eq!(go(from, "ftp://h/x"), Err(RedirectFault::Scheme("ftp".to_owned())));
        assert_eq!(
            go(from, "file:///etc/passwd"),
            Err(RedirectFault::Scheme("file".to_owned()))
        );
        assert_eq!(
            go(from, "javascript:alert(1)"),
            Err(RedirectFault::Scheme("javascript".to_owned()))
        );
        for userinfo in [
            "https://u@h/",
            "https://u:p@h/",
            "https://:p@h/",
            "//huggingface.co:x@h/",
            "\\\\u@h/",
        ] {
            assert_eq!(go(from, userinfo), Err(RedirectFault::Userinfo), "{userinfo}");
        }
        assert_eq!(go(from, "https://[oops/"), Err(RedirectFault::Unreadable));
        assert!(go("http://huggingface.co/x", "https://huggingface.co/x").is_ok());
    }

    #[tokio::test]
    async fn addresses_inside_are_refused() {
        let from = Url::parse("https://8.8.8.8/x").unwrap();
        let endpoint = Endpoint::parse("e", from.as_str()).unwrap();
        let headers = HeaderMap::from_iter([(header::LOCATION, "https://127.1:8/x".parse().unwrap())]);
        let step = Trail::new(&from).step(&endpoint, &from, &headers, &[]).await;
        assert_eq!(step, Err(RedirectFault::Address("127.0.0.1:8".to_owned())));
    }

    #[tokio::test]
    async fn circles_and_long_ways_end() {
        let endpoint = Endpoint::parse("e", "https://h").unwrap();
        let at = |n: usize| Url::parse(&format!("https://h/{n}")).unwrap();
        let to = |n: usize| HeaderMap::from_iter([(header::LOCATION, format!("/{n}").parse().unwrap())]);
        let mut trail = Trail::new(&at(0));
        for hop in 0..MAX_HOPS {
            assert_eq!(
                trail.step(&endpoint, &at(hop), &to(hop + 1), &[]).await,
                Ok(at(hop + 1))
            );
        }
        assert_eq!(
            trail.step(&endpoint, &at(10), &to(11), &[]).await,
            Err(RedirectFault::TooMany(MAX_HOPS))
        );
        let mut trail = Trail::new(&at(0));
        assert_eq!(
            trail.step(&endpoint, &at(0), &to(0), &[]).await,
            Err(RedirectFault::Loop)
        );
        assert_eq!(
            trail.step(&endpoint, &at(0), &HeaderMap::new(), &[]).await,
            Err(RedirectFault::NoLocation)
        );
    }
}

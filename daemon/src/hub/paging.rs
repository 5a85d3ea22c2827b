//! The next page of a listing: `Link: <…>; rel="next"`, kept on our endpoint.

use http::{HeaderMap, header};
use url::Url;

use super::endpoint::{Endpoint, host_of, is_hub_host};
use super::error::HubError;
use super::scrub;

/// The address of the next page, `None` after the last one. Scheme, host, port and prefix are the endpoint's: through a
/// mirror the link mostly names the Hub.
pub(super) fn next(endpoint: &Endpoint, current: &Url, headers: &HeaderMap) -> Result<Option<Url>, HubError> {
    let bad = |detail: String| HubError::BadAnswer {
        host: host_of(current),
        what: "a link to the next page",
        detail,
    };
    let mut found = None;
    for value in headers.get_all(header::LINK) {
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| bad("it is not UTF-8".to_owned()))?;
        found = found.or_else(|| next_target(text));
    }
    let Some(target) = found else {
        return Ok(None);
    };
    let link = current
        .join(target)
        .map_err(|_| bad(format!("`{}`", scrub::text(target, None))))?;
    if !link.username().is_empty() || link.password().is_some() {
        return Err(bad("it holds a user name".to_owned()));
    }
    let same_host = link.host_str() == endpoint.base().host_str();
    if !matches!(link.scheme(), "http" | "https") || !(same_host || is_hub_host(&link)) {
        return Err(bad(format!("it leads to {}", host_of(&link))));
    }
    let prefix = endpoint.prefix();
    let has_prefix = link
        .path()
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with('/'));
    let mut url = endpoint.base().clone();
    if has_prefix && same_host {
        url.set_path(link.path());
    } else {
        url.set_path(&format!("{prefix}{}", link.path()));
    }
    url.set_query(link.query());
    Ok(Some(url))
}

/// The target of the first link whose relation is `next`.
fn next_target(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let end = end_of_parameters(after);
        let (parameters, after) = after.split_at(end);
        let is_next = parameters
            .split(';')
            .filter_map(|part| part.split_once('='))
            .any(|(name, value)| {
                let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
                name.trim().eq_ignore_ascii_case("rel") && relations.any(|rel| rel.eq_ignore_ascii_case("next"))
            });
        if is_next {
            return Some(target);
        }
        rest = after;
    }
    None
}

/// Up to the comma that begins the next link; commas in quotes do not count.
fn end_of_parameters(text: &str) -> usize {
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(base: &str, link: &str) -> Result<Option<String>, HubError> {
        let endpoint = Endpoint::parse("e", base).unwrap();
        let current = Url::parse(&format!("{}/api/models/a/b/tree/main?recursive=true", base)).unwrap();
        let headers = HeaderMap::from_iter([(header::LINK, link.parse().unwrap())]);
        Ok(next(&endpoint, &current, &headers)?.map(String::from))
    }

    #[test]
    fn links_stay_on_the_endpoint() {
        let check = |base: &str, link: &str, expected: &str| {
            let link = format!("<{link}>; rel=\"next\"");
            assert_eq!(follow(base, &link).unwrap().as_deref(), Some(expected), "{base} {link}");
        };
        let query = "recursive=true&expand=false&cursor=ZXlK%2BbW%3D%3D";
        let hub = format!("https://huggingface.co/api/models/a/b/tree/1?{query}");
        check("https://huggingface.co", &hub, &hub);
        check(
            "http://m:8090",
            &hub,
            &format!("http://m:8090/api/models/a/b/tree/1?{query}"),
        );
        check(
            "http://m:8090/hf",
            &hub,
            &format!("http://m:8090/hf/api/models/a/b/tree/1?{query}"),
        );
        let own = format!("http://m:8090/hf/api/x?{query}");
        check("http://m:8090/hf", &own, &own);
        check("http://m:8090/hf", &format!("http://m:8090/api/x?{query}"), &own);
        check(
            "https://m/hf",
            &format!("http://m:8080/hf/api/x?{query}"),
            &format!("https://m/hf/api/x?{query}"),
        );
        check("https://m", "/api/x?cursor=a,b", "https://m/api/x?cursor=a,b");
        check("https://m", "https://hf.co/api/x?c=1", "https://m/api/x?c=1");
        check(
            "https://m",
            "https://hub-ci.huggingface.co/api/x?c=1",
            "https://m/api/x?c=1",
        );
    }

    #[test]
    fn foreign_links_are_refused() {
        for bad in [
            "https://evil.example/api/x",
            "https://huggingface.co.evil.example/x",
            "ftp://huggingface.co/x",
            "//evil.example/x",
            "https://u:p@huggingface.co/x",
            "https://[bad/",
        ] {
            assert!(follow("https://m", &format!("<{bad}>; rel=next")).is_err(), "{bad}");
        }
    }

    #[test]
    fn relations_are_found_in_any_form() {
        let check = |link: &str, expected: Option<&str>| assert_eq!(next_target(link), expected, "{link}");
        check("<a>; rel=\"next\"", Some("a"));
        check("<a>;rel=next", Some("a"));
        check("<a>; REL=\"prev Next\"", Some("a"));
        check(
            "<a,b>; rel=\"prev\", <c,d>; title=\"x, <y>\"; rel=\"next\"",
            Some("c,d"),
        );
        check("<a>; rel=\"xet-auth\", <b>; rel=\"xet-reconstruction-info\"", None);
        check("<a>; title=\"next\"", None);
        check("<a", None);
        check("", None);
    }
}

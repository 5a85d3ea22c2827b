//! Whether an answer holds the bytes that were asked for.

use http::{HeaderMap, StatusCode, header};
use url::Url;

use super::endpoint::host_of;
use super::error::{Changed, HubError};
use super::fetch::FileTarget;
use super::refusal::content_type;
use super::scrub;
use crate::model::{ByteRange, CommitHash, Etag};

/// What an admitted answer will deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admitted {
    /// 200 in place of 206: the body is the whole file.
    pub(super) ranges_ignored: bool,
}

/// Compares what a hop of the Hub says about the file with the plan. Hops that say nothing pass; the length of a redirect's
/// own body is never looked at.
pub(super) fn check_claims(url: &Url, headers: &HeaderMap, target: &FileTarget) -> Result<(), HubError> {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let changed = |what, expected: String, actual: &str| {
        Err(HubError::ChangedUnderneath {
            host: host_of(url),
            what,
            expected,
            actual: scrub::text(actual, None),
        })
    };
    if let Some(size) = said("x-linked-size").filter(|size| size.parse() != Ok(target.size)) {
        return changed(Changed::Size, target.size.to_string(), size);
    }
    if let Some(etag) = said("x-linked-etag")
        && let Some(digest) = Etag::normalise(etag).digest()
        && digest != target.digest
    {
        return changed(Changed::Digest, target.digest.to_string(), &digest.to_string());
    }
    if let Some(commit) = said("x-repo-commit").and_then(CommitHash::parse)
        && commit != target.commit
    {
        return changed(Changed::Commit, target.commit.to_string(), commit.as_str());
    }
    Ok(())
}

/// Judges the headers of a 200 or 206.
pub(super) fn admit(
    url: &Url,
    status: StatusCode,
    headers: &HeaderMap,
    target: &FileTarget,
    range: ByteRange,
) -> Result<Admitted, HubError> {
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .map(|value| scrub::bytes(value.as_bytes(), None))
        .filter(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"));
    if let Some(encoding) = encoding {
        return Err(HubError::Encoded {
            host: host_of(url),
            encoding,
        });
    }
    if status == StatusCode::PARTIAL_CONTENT {
        partial(url, headers, target, range)
    } else {
        whole(url, headers, target, range)
    }
}

fn partial(url: &Url, headers: &HeaderMap, target: &FileTarget, range: ByteRange) -> Result<Admitted, HubError> {
    let wrong = |answered: String| {
        Err(HubError::WrongRange {
            host: host_of(url),
            asked: range,
            size: target.size,
            answered,
        })
    };
    let kind = content_type(headers);
    if kind.starts_with("multipart/") {
        return wrong(scrub::text(&kind, None));
    }
    let Some(text) = headers.get(header::CONTENT_RANGE) else {
        return wrong("206 without Content-Range".to_owned());
    };
    match text.to_str().ok().and_then(parse) {
        Some((sent, Some(total))) if sent == range && total == target.size => Ok(Admitted { ranges_ignored: false }),
        _ => wrong(scrub::bytes(text.as_bytes(), None)),
    }
}

fn whole(url: &Url, headers: &HeaderMap, target: &FileTarget, range: ByteRange) -> Result<Admitted, HubError> {
    let not_the_file = |why: String| {
        Err(HubError::NotTheFile {
            host: host_of(url),
            why,
        })
    };
    let kind = content_type(headers);
    let page = kind.starts_with("text/html");
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.trim().parse::<u64>().ok());
    if kind.starts_with("multipart/") {
        return not_the_file("a body in several parts".to_owned());
    }
    match length {
        Some(length) if length == target.size => {}
        Some(length) if page => return not_the_file(format!("a web page of {length} bytes")),
        Some(length) => return not_the_file(format!("{length} bytes, the file has {}", target.size)),
        // Without a length a page gives itself away only by its type, unless the file is a page itself.
        None if page && !is_page_name(target.path.name()) => return not_the_file("a web page".to_owned()),
        None => {}
    }
    if range.start != 0 {
        return Err(HubError::RangeIgnored {
            host: host_of(url),
            range,
        });
    }
    Ok(Admitted { ranges_ignored: true })
}

/// The total in the `Content-Range: bytes */N` of a 416.
pub(super) fn unsatisfied_total(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    unit(text)?.strip_prefix("*/")?.parse().ok()
}

/// `bytes a-b/total` as a range with an exclusive end; the total may be `*`.
fn parse(text: &str) -> Option<(ByteRange, Option<u64>)> {
    let (range, total) = unit(text)?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (digits(first)?, digits(last)?);
    if last < first {
        return None;
    }
    let total = if total == "*" { None } else { Some(digits(total)?) };
    Some((ByteRange::new(first, last.checked_add(1)?), total))
}

fn unit(text: &str) -> Option<&str> {
    let (unit, rest) = text.trim().split_once(' ')?;
    unit.eq_ignore_ascii_case("bytes").then(|| rest.trim())
}

/// Digits only: the number type would also take a sign.
fn digits(text: &str) -> Option<u64> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}

fn is_page_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".html") || name.ends_with(".htm") || name.ends_with(".xhtml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        let check = |text: &str, expected: Option<(u64, u64, Option<u64>)>| {
            let parsed = parse(text).map(|(range, total)| (range.start, range.end, total));
            assert_eq!(parsed, expected, "{text}");
        };
        check("bytes 0-15/1282439584", Some((0, 16, Some(1_282_439_584))));
        check(" Bytes 5-5/10 ", Some((5, 6, Some(10))));
        check("bytes 5-9/*", Some((5, 10, None)));
        for bad in [
            "",
            "bytes",
            "bytes 5-/10",
            "bytes -5/10",
            "bytes 9-5/10",
            "bytes +1-5/10",
            "bytes 1-5",
            "items 1-5/10",
            "bytes */10",
            "bytes 0-18446744073709551615/1",
            "bytes 1-5/10, 6-7/10",
            "bytes 0x1-5/10",
        ] {
            check(bad, None);
        }
        let headers = |text: &str| HeaderMap::from_iter([(header::CONTENT_RANGE, text.parse().unwrap())]);
        assert_eq!(unsatisfied_total(&headers("bytes */200000")), Some(200_000));
        assert_eq!(unsatisfied_total(&headers("bytes 0-1/2")), None);
    }
}

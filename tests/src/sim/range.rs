//! The `Range` header, and file answers that obey it.

use std::ops::Range;
use std::sync::Arc;

use super::content::Content;
use super::wire::{Part, Request, Response};

/// What a request asks of a file of `size` bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it: no header, one we do not read, or several ranges (which a server may answer with the whole).
    Whole,
    /// One satisfiable range.
    Part(Range<u64>),
    /// A range beyond the end.
    Beyond,
}

pub(crate) fn parse(header: Option<&str>, size: u64) -> Asked {
    let Some((first, last)) = header
        .and_then(|value| value.trim().strip_prefix("bytes="))
        .and_then(|spec| spec.split_once('-'))
    else {
        return Asked::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (number(first), number(last)) {
        (None, Some(suffix)) if first.trim().is_empty() => match suffix.min(size) {
            0 => Asked::Beyond,
            length => Asked::Part(size - length..size),
        },
        (Some(start), _) if start >= size => Asked::Beyond,
        (Some(start), None) if last.trim().is_empty() => Asked::Part(start..size),
        (Some(start), Some(end)) if end >= start => Asked::Part(start..size.min(end.saturating_add(1))),
        _ => Asked::Whole,
    }
}

/// 200, 206, 304 or 416 for a file with this etag (already as it goes into the header).
pub(crate) fn serve(request: &Request, content: &Arc<Content>, etag: &str) -> Response {
    let size = content.size();
    let none_match = request.headers.get("if-none-match");
    if none_match.is_some_and(|list| {
        list.split(',')
            .any(|one| same_etag(one.trim(), etag) || one.trim() == "*")
    }) {
        return Response::new(304).with("ETag", etag);
    }
    let current = request
        .headers
        .get("if-range")
        .is_none_or(|expected| expected.trim() == etag);
    let asked = match request.headers.get("range") {
        Some(header) if current && request.method == "GET" => parse(Some(header), size),
        _ => Asked::Whole,
    };
    let mut response = match &asked {
        Asked::Whole => Response::new(200),
        Asked::Part(range) => Response::new(206).with(
            "Content-Range",
            format!("bytes {}-{}/{size}", range.start, range.end - 1),
        ),
        Asked::Beyond => {
            return Response::text(416, "Range Not Satisfiable").with("Content-Range", format!("bytes */{size}"));
        }
    };
    let range = if let Asked::Part(range) = asked { range } else { 0..size };
    response.headers.set("Accept-Ranges", "bytes");
    response.headers.set("ETag", etag);
    response.offset = Some(range.start);
    response.body = vec![Part::File {
        content: Arc::clone(content),
        range,
    }];
    response
}

fn same_etag(given: &str, current: &str) -> bool {
    let bare = |etag: &str| etag.trim_start_matches("W/").trim_matches('"').to_owned();
    bare(given) == bare(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let check = |header: &str, expected: Asked| assert_eq!(parse(Some(header), 100), expected, "{header}");
        check("bytes=0-", Asked::Part(0..100));
        check("bytes=0-0", Asked::Part(0..1));
        check("bytes=10-19", Asked::Part(10..20));
        check("bytes=90-500", Asked::Part(90..100));
        check("bytes=-30", Asked::Part(70..100));
        check("bytes=-300", Asked::Part(0..100));
        check("bytes=-0", Asked::Beyond);
        check("bytes=100-", Asked::Beyond);
        check("bytes=5-4", Asked::Whole);
        check("bytes=0-1,5-6", Asked::Whole);
        check("lines=1-2", Asked::Whole);
        assert_eq!(parse(None, 100), Asked::Whole);
        assert_eq!(parse(Some("bytes=0-"), 0), Asked::Beyond);
    }
}

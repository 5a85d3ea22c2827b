//! Percent-encoding as the Hub expects it. Addresses are put together from these pieces and nothing else.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but letters, digits, `_`, `.`, `-` and `~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// One segment, or one value of a query: a slash becomes `%2F`.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A path: each component by itself, slashes stay.
pub(super) fn path(text: &str) -> String {
    let parts: Vec<String> = text.split('/').map(segment).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example() {
        assert_eq!(
            path("a b/c#d?e&f=g+h%i~j@k:l,é[1](2)'"),
            "a%20b/c%23d%3Fe%26f%3Dg%2Bh%25i~j%40k%3Al%2C%C3%A9%5B1%5D%282%29%27"
        );
    }

    #[test]
    fn revisions_lose_their_slashes() {
        assert_eq!(segment("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(segment("refs/convert/parquet"), "refs%2Fconvert%2Fparquet");
        assert_eq!(segment("feature/x y"), "feature%2Fx%20y");
        assert_eq!(segment("v1.0-rc_1~"), "v1.0-rc_1~");
    }

    #[test]
    fn an_encoded_name_is_encoded_again() {
        assert_eq!(path("%2e%2e/x"), "%252e%252e/x");
    }
}

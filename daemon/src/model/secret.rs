//! Values that must not be printed. Neither type has a way to show its content but the one accessor that says so.

use std::fmt;

/// A Hub token. Whitespace at the ends is cut, as the Python client does.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token; `None` when nothing is left after trimming, or when it cannot be a header value.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let visible = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        (!text.is_empty() && visible).then(|| Self(text.to_owned()))
    }

    /// The secret itself: for the `Authorization` header and the token store only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// An address that carries its own permission in the query. Shown without it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(url::Url);

impl SignedUrl {
    /// Wraps an address.
    pub fn new(url: url::Url) -> Self {
        Self(url)
    }

    /// The whole address: for the request only.
    pub fn reveal(&self) -> &url::Url {
        &self.0
    }
}

impl fmt::Display for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0;
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or("?"))?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(url.path())
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows() {
        let token = Token::new(" hf_secret\r\n").unwrap();
        assert_eq!(token.reveal(), "hf_secret");
        assert!(!format!("{token:?}").contains("secret"));
        let url = SignedUrl::new(url::Url::parse("https://user:pw@cdn.example:8443/a/b?Signature=secret#x").unwrap());
        assert_eq!(format!("{url}"), "https://cdn.example:8443/a/b");
        assert!(Token::new("  ").is_none() && Token::new("a b").is_none() && Token::new("a\nb").is_none());
    }
}

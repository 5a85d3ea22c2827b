//! Values that must not be printed. No type has a way to show its content but the one accessor that says so.

use std::fmt;

use zeroize::Zeroizing;

/// A Hub token. Whitespace at the ends is cut, as the Python client does. Memory that held one is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes a token; `None` when nothing is left after trimming, or when it cannot be a header value.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let visible = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        (!text.is_empty() && visible).then(|| Self(Zeroizing::new(text.to_owned())))
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

/// What a proxy wants to know of its user.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProxyLogin {
    user: String,
    password: String,
}

impl ProxyLogin {
    /// Reads the first line of a file: `user:password`; `None` when it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, password) = text.lines().next()?.trim_end().split_once(':')?;
        let sound = |part: &str| !part.chars().any(char::is_control);
        (!user.is_empty() && sound(user) && sound(password)).then(|| Self {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The secret itself: for the proxy only.
    pub fn reveal(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for ProxyLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyLogin(***)")
    }
}

/// Certificates or a key as they stand in a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(String);

impl Pem {
    /// Takes the text of a file.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself: for the TLS library only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem(***)")
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
        let login = ProxyLogin::parse("ann:se:cret\nmore\n").unwrap();
        assert_eq!((login.user(), login.reveal()), ("ann", "se:cret"));
        assert!(!format!("{login:?}").contains("cret"));
        assert!(
            ProxyLogin::parse("").is_none() && ProxyLogin::parse(":x").is_none() && ProxyLogin::parse("x").is_none()
        );
        assert_eq!(format!("{:?}", Pem::new("secret".into())), "Pem(***)");
        assert!(Token::new("  ").is_none() && Token::new("a b").is_none() && Token::new("a\nb").is_none());
    }
}

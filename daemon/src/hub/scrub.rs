//! What a remote wrote, made fit to be shown: short, printable, without secrets. Every foreign text passes here once.

use url::Url;

use crate::model::Token;

/// Longest foreign text that is kept, in bytes.
pub(super) const KEEP: usize = 256;

/// Cuts, drops control characters, queries of addresses, anything that looks like a Hub token, and the token itself.
pub(super) fn text(raw: &str, token: Option<&Token>) -> String {
    let without_token = match token {
        Some(token) => raw.replace(token.reveal(), "***"),
        None => raw.to_owned(),
    };
    let mut out = String::with_capacity(KEEP);
    let mut rest = without_token.as_str();
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("hf_") {
            out.push_str("hf_***");
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        } else if next == '?' && rest[1..].starts_with(|c| !ends_address(c)) {
            // The query of an address carries its permission.
            out.push_str("?…");
            rest = rest[1..].trim_start_matches(|c| !ends_address(c));
        } else {
            out.push(if next.is_control() || is_direction_mark(next) {
                ' '
            } else {
                next
            });
            rest = &rest[next.len_utf8()..];
        }
        if out.len() >= KEEP {
            break;
        }
    }
    let out = out.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&out, KEEP).to_owned()
}

/// The same for bytes of unknown encoding.
pub(super) fn bytes(raw: &[u8], token: Option<&Token>) -> String {
    let raw = &raw[..raw.len().min(4 * KEEP)];
    text(&String::from_utf8_lossy(raw), token)
}

/// An address as a person gave it, without user, password and query.
pub(super) fn address(raw: &str) -> String {
    match Url::parse(raw) {
        Ok(url) if url.has_host() => format!("{}://{}{}", url.scheme(), super::endpoint::host_of(&url), url.path()),
        _ => text(raw.rsplit_once('@').map_or(raw, |(_, host)| host), None),
    }
}

fn ends_address(c: char) -> bool {
    c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\'')
}

/// Marks that turn the reading direction: they can make a message read as something else.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The longest beginning of at most `limit` bytes.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_controls_go() {
        let token = Token::new("oauth-secret").unwrap();
        let check = |raw: &str, expected: &str| assert_eq!(text(raw, Some(&token)), expected, "{raw}");
        check("plain text", "plain text");
        check("token hf_AbC123 is bad", "token hf_*** is bad");
        check("Bearer oauth-secret refused", "Bearer *** refused");
        check("a\u{1b}[2J\r\nb\0c", "a [2J b c");
        check(
            "see https://cdn/x?Signature=abc&Expires=1 now",
            "see https://cdn/x?… now",
        );
        check(
            "<Resource>https://cdn/x?Signature=abc</Resource>",
            "<Resource>https://cdn/x?…</Resource>",
        );
        check("is it? yes", "is it? yes");
        check("\u{202e}txt.exe", "txt.exe");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = text(&"é".repeat(5000), None);
        assert!(long.len() <= KEEP && long.chars().all(|c| c == 'é'), "{long}");
        assert_eq!(bytes(&[b'x'; 100_000], None).len(), KEEP);
        assert_eq!(bytes(b"\xff\xfe", None), "\u{fffd}\u{fffd}");
        // A secret that begins just before the cut does not show its head.
        let near = format!("{} hf_SECRETSECRET", "x".repeat(KEEP - 6));
        assert!(!text(&near, None).contains("SEC"));
    }

    #[test]
    fn addresses_lose_their_password() {
        assert_eq!(address("https://u:pw@h:1/x?y=z"), "https://h:1/x");
        assert!(!address("u:pw@h").contains("pw"));
    }
}

//! One glob, read and matched exactly as CPython's `fnmatch.fnmatchcase` does, after the Hub client's own preparation of
//! patterns and paths: a backslash counts as `/`, and a pattern that ends in `/` gets a `*`.
//!
//! Every token stands for one character except `*`, so one remembered star is enough to go back to: matching takes at
//! most (length of path)² steps, whatever the pattern.

/// One step of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `*`: any run of characters, `/` and line feeds too.
    Star,
    /// `?`, and a negated empty range.
    Any,
    /// An empty range such as `[z-a]`: no character fits.
    Never,
    /// A character that stands for itself.
    One(char),
    /// `[...]`.
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Star | Self::Never => false,
            Self::Any => true,
            Self::One(own) => *own == c,
            Self::Set { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
        }
    }
}

/// A prepared include or exclude pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    tokens: Vec<Token>,
}

impl Pattern {
    /// Prepares a pattern; every text is one.
    pub fn new(text: &str) -> Self {
        let mut text = text.replace('\\', "/");
        if text.ends_with('/') {
            text.push('*');
        }
        Self {
            tokens: tokens(&text.chars().collect::<Vec<_>>()),
        }
    }

    /// Whether the whole path fits.
    pub fn matches(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().map(|c| if c == '\\' { '/' } else { c }).collect();
        let (mut token, mut at) = (0, 0);
        // Where to go on when the text after the latest star does not fit: that star, and the first character not yet
        // given to it.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let fits = match self.tokens.get(token) {
                Some(Token::Star) => {
                    retry = Some((token, at));
                    token += 1;
                    continue;
                }
                Some(other) => path.get(at).is_some_and(|c| other.takes(*c)),
                None if at == path.len() => return true,
                None => false,
            };
            if fits {
                token += 1;
                at += 1;
                continue;
            }
            match &mut retry {
                Some((star, given)) if *given < path.len() => {
                    *given += 1;
                    token = *star + 1;
                    at = *given;
                }
                _ => return false,
            }
        }
    }
}

fn tokens(pattern: &[char]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = pattern.get(at) {
        at += 1;
        match c {
            '*' if tokens.last() == Some(&Token::Star) => {}
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::Any),
            '[' => match closing(pattern, at) {
                Some(close) => {
                    tokens.push(set(&pattern[at..close]));
                    at = close + 1;
                }
                None => tokens.push(Token::One('[')),
            },
            other => tokens.push(Token::One(other)),
        }
    }
    tokens
}

/// Index of the `]` that ends the set begun before `start`; one directly after `[` or `[!` is a member.
fn closing(pattern: &[char], start: usize) -> Option<usize> {
    let mut at = start;
    if pattern.get(at) == Some(&'!') {
        at += 1;
    }
    if pattern.get(at) == Some(&']') {
        at += 1;
    }
    (at..pattern.len()).find(|index| pattern[*index] == ']')
}

/// The content of a set, `!` included.
///
/// An empty range vanishes together with its two ends *before* anything asks whether the set begins with `!`. So
/// `[z-a]` is never, `[!z-a]` is any character and `[z-a!b]` is "not b": odd, but what Python does.
fn set(content: &[char]) -> Token {
    let mut pieces = pieces(content);
    for index in (1..pieces.len()).rev() {
        let (low, high) = (pieces[index - 1].last().copied(), pieces[index].first().copied());
        if low > high {
            let rest = pieces.remove(index);
            pieces[index - 1].pop();
            pieces[index - 1].extend(rest.into_iter().skip(1));
        }
    }
    let negated = pieces[0].first() == Some(&'!');
    if negated {
        pieces[0].remove(0);
    }
    let mut ranges = Vec::new();
    let mut low = None;
    for piece in &pieces {
        let mut singles = piece.as_slice();
        if let (Some(low), Some((high, rest))) = (low, singles.split_first()) {
            ranges.push((low, *high));
            singles = rest;
        }
        ranges.extend(singles.iter().map(|c| (*c, *c)));
        low = piece.last().copied();
    }
    match (ranges.is_empty(), negated) {
        (true, true) => Token::Any,
        (true, false) => Token::Never,
        (false, negated) => Token::Set { negated, ranges },
    }
}

/// Cuts at the hyphens that make ranges: each runs from the last character of one piece to the first of the next. A
/// hyphen at either end, or right after a range, is a member.
fn pieces(content: &[char]) -> Vec<Vec<char>> {
    let mut pieces: Vec<Vec<char>> = Vec::new();
    let mut start = 0;
    let mut search = if content.first() == Some(&'!') { 2 } else { 1 };
    while let Some(hyphen) = (search..content.len()).find(|index| content[*index] == '-') {
        pieces.push(content[start..hyphen].to_vec());
        start = hyphen + 1;
        search = hyphen + 3;
    }
    match pieces.last_mut() {
        Some(last) if start == content.len() => last.push('-'),
        _ => pieces.push(content[start..].to_vec()),
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILES: [&str; 8] = [
        "config.json",
        "a.txt",
        "data/a.json",
        "data/b/c.json",
        ".gitattributes",
        "weird[1].bin",
        "Model.Safetensors",
        "data",
    ];

    #[test]
    fn the_table_of_the_python_client() {
        let check = |pattern: &str, expected: &[&str]| {
            let prepared = Pattern::new(pattern);
            let found: Vec<&str> = FILES.into_iter().filter(|path| prepared.matches(path)).collect();
            assert_eq!(found, expected, "{pattern}");
        };
        check("*.json", &["config.json", "data/a.json", "data/b/c.json"]);
        for two in [
            "**/*.json",
            "*/*.json",
            "data/*.json",
            "data/*",
            "data/",
            "data\\*.json",
        ] {
            check(two, &["data/a.json", "data/b/c.json"]);
        }
        check("data", &["data"]);
        check("*", &FILES);
        check("**", &FILES);
        check("?.txt", &["a.txt"]);
        check("[ab].txt", &["a.txt"]);
        check("weird[[]1].bin", &["weird[1].bin"]);
        for none in [
            "[!a].txt",
            "weird[1].bin",
            "*.safetensors",
            "*.{json,txt}",
            "./config.json",
            "/config.json",
            "!*.json",
            "config.json/",
            "",
        ] {
            check(none, &[]);
        }
    }

    #[test]
    fn corners_of_fnmatch() {
        let check = |pattern: &str, path: &str, expected: bool| {
            assert_eq!(Pattern::new(pattern).matches(path), expected, "{pattern:?} {path:?}");
        };
        check("a[b", "a[b", true);
        check("[", "[", true);
        check("[!", "[!", true);
        check("[]]", "]", true);
        check("[!]]", "]", false);
        check("[!]]", "x", true);
        check("[]", "[]", true);
        check("[z-a]", "m", false);
        check("[!z-a]", "m", true);
        check("[z-a!b]", "c", true);
        check("[z-a!b]", "b", false);
        check("[a-]", "-", true);
        check("[-a]", "-", true);
        check("[a-c-e]", "-", true);
        check("[a-c-e]", "d", false);
        check("[--0]", ".", true);
        check("*", "a\nb", true);
        check("?", "/", true);
        check("é?", "éü", true);
        check("a\\b", "a/b", true);
        check("a/b", "a\\b", true);
    }

    #[test]
    fn many_stars_end_soon() {
        let path = "a".repeat(1000);
        assert!(!Pattern::new(&"*a".repeat(500)).matches(&format!("{path}b")));
        assert!(!Pattern::new(&format!("{}b", "*".repeat(5000))).matches(&path));
    }

    /// The definition, told recursively; slow and plain.
    fn oracle(tokens: &[Token], path: &[char]) -> bool {
        match tokens.split_first() {
            None => path.is_empty(),
            Some((Token::Star, rest)) => (0..=path.len()).any(|taken| oracle(rest, &path[taken..])),
            Some((token, rest)) => path
                .split_first()
                .is_some_and(|(c, after)| token.takes(*c) && oracle(rest, after)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[a-c*?/\\[\\]!\\-]{0,12}", path in "[a-c/\\]\\-]{0,12}") {
            let pattern = Pattern::new(&pattern);
            let chars: Vec<char> = path.chars().collect();
            prop_assert_eq!(pattern.matches(&path), oracle(&pattern.tokens, &chars));
        }
    }
}

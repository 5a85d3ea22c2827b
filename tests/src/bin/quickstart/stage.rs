//! What is shown: plain lines, with a little colour where a terminal takes it.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal as _, Write as _},
};

/// Standard output.
pub(crate) struct Stage {
    colour: bool,
}

impl Stage {
    /// Looks at the terminal.
    pub(crate) fn new() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        Self {
            colour: io::stdout().is_terminal() && set("NO_COLOR").is_none() && !dumb,
        }
    }

    /// A new part of the story.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub(crate) fn title(&self, text: &str) -> io::Result<()> {
        self.line(&format!("\n{}", self.painted("1", text)))
    }

    /// A command as one would type it, before it runs.
    ///
    /// # Errors
    /// As [`Stage::title`].
    pub(crate) fn command(&self, words: &[&OsStr], comment: &str) -> io::Result<()> {
        let words: Vec<String> = words.iter().map(|word| quoted(&word.to_string_lossy())).collect();
        let comment = if comment.is_empty() {
            String::new()
        } else {
            self.painted("2", &format!("   # {comment}"))
        };
        self.line(&format!(
            "{}{comment}",
            self.painted("1;36", &format!("$ {}", words.join(" ")))
        ))
    }

    /// A line.
    ///
    /// # Errors
    /// As [`Stage::title`].
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// What was found right, or not.
    ///
    /// # Errors
    /// As [`Stage::title`].
    pub(crate) fn checked(&self, right: bool, text: &str) -> io::Result<()> {
        let mark = if right {
            self.painted("32", "ok   ")
        } else {
            self.painted("1;31", "WRONG")
        };
        self.line(&format!("  {mark} {text}"))
    }

    /// Why it ends early. The reader may be gone already; then there is nobody to tell.
    pub(crate) fn failed(&self, text: &str) {
        let label = self.painted("1;31", "quickstart:");
        io::stdout().flush().ok();
        writeln!(io::stderr(), "{label} {text}").ok();
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A word as a shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `42.7 MiB`, as hfctl writes it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut unit, mut scale) = (0, 1024_u64);
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    while bytes / scale >= 1000 && unit + 1 < UNITS.len() {
        unit += 1;
        scale *= 1024;
    }
    format!("{}.{} {}", bytes / scale, bytes % scale * 10 / scale, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("--include"), "--include");
        assert_eq!(quoted("*.json"), "'*.json'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 999, 1000, 1024, 44_805_120, 2 << 40].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "0.9 KiB", "1.0 KiB", "42.7 MiB", "2.0 TiB"]);
    }
}

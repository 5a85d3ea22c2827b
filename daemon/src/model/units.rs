//! Bytes, ranges, rates, and the one rule for how people write them.
//!
//! Sizes: `10` is ten bytes; `10K`, `10Ki`, `10KiB` are binary (1024) as rclone and systemd read them; `10KB` is decimal
//! (1000). Rates: the same with or without `/s`, and a bare number means KiB/s, as in rclone's `--bwlimit`; `off` is no
//! limit. Bits are refused rather than guessed.

use std::fmt;

/// Bytes `start..end` of a file, `end` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// `start..end`; an `end` before `start` gives an empty range.
    pub fn new(start: u64, end: u64) -> Self {
        Self {
            start,
            end: end.max(start),
        }
    }

    /// Number of bytes.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// No byte at all.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// Why a text is no size or rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSize {
    /// No number in front.
    #[error("`{0}` has no number; write for example 20GiB")]
    NoNumber(String),
    /// A unit that is none of ours.
    #[error(
        "`{text}` has the unknown unit `{unit}`; known: B; K, M, G, T, P and KiB to PiB, by 1024; KB to PB, by 1000"
    )]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The part that is not understood.
        unit: String,
    },
    /// Bits per second, where bytes are meant.
    #[error("`{0}` is in bits; write bytes, for example 12.5MB for 100Mbit")]
    Bits(String),
    /// Larger than can be counted.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Reads a size in bytes; a bare number is bytes.
///
/// # Errors
/// With what is wrong in the text.
pub fn parse_size(text: &str) -> Result<u64, BadSize> {
    parse(text, 1)
}

/// Reads a rate in bytes per second; `None` is `off`. A bare number is KiB/s.
///
/// # Errors
/// With what is wrong in the text.
pub fn parse_rate(text: &str) -> Result<Option<u64>, BadSize> {
    let bare = text.trim();
    if bare.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let bare = bare
        .strip_suffix("/s")
        .or_else(|| bare.strip_suffix("ps"))
        .unwrap_or(bare);
    parse(bare, 1024).map(Some)
}

fn parse(text: &str, bare_unit: u64) -> Result<u64, BadSize> {
    let text = text.trim();
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim();
    let shown = || text.chars().take(60).collect::<String>();
    if unit.to_ascii_lowercase().contains("bit") || (unit.ends_with('b') && unit.len() == 2 && unit != "kb") {
        return Err(BadSize::Bits(shown()));
    }
    let factor = match unit.to_ascii_uppercase().as_str() {
        "" => bare_unit,
        "B" => 1,
        "K" | "KI" | "KIB" => 1 << 10,
        "M" | "MI" | "MIB" => 1 << 20,
        "G" | "GI" | "GIB" => 1 << 30,
        "T" | "TI" | "TIB" => 1 << 40,
        "P" | "PI" | "PIB" => 1 << 50,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "PB" => 1_000_000_000_000_000,
        _ => {
            return Err(BadSize::UnknownUnit {
                text: shown(),
                unit: unit.chars().take(20).collect(),
            });
        }
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(|| BadSize::TooLarge(shown()));
    }
    let value = number.parse::<f64>().map_err(|_| BadSize::NoNumber(shown()))?;
    #[expect(clippy::cast_precision_loss, reason = "factors are powers of ten or two below 2^53")]
    let bytes = value * factor as f64;
    if bytes >= 9.0e18 {
        return Err(BadSize::TooLarge(shown()));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked: 0 <= bytes < 2^63"
    )]
    Ok(bytes as u64)
}

/// Bytes for people: `1.2 GiB`. Rounded down, as `hfctl` does.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{:.1} {unit}", (value * 10.0).floor() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_documented() {
        let check = |text, expected| assert_eq!(parse_size(text), Ok(expected), "{text}");
        check("0", 0);
        check("10", 10);
        check("10B", 10);
        check("10K", 10 << 10);
        check("10 MiB", 10 << 20);
        check("10M", 10 << 20);
        check("10MB", 10_000_000);
        check("1.5G", 3 << 29);
        check("20GiB", 20 << 30);
        check("2TB", 2_000_000_000_000);
        for bad in [
            "",
            "x",
            "10 bananas",
            "-1",
            "1e30",
            "99999999999P",
            "100Mbit",
            "100Mb",
            "1.2.3M",
            "M",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_as_rclone() {
        let check = |text, expected| assert_eq!(parse_rate(text), Ok(expected), "{text}");
        check("off", None);
        check("512", Some(512 << 10));
        check("10M", Some(10 << 20));
        check("80MiB/s", Some(80 << 20));
        check("0", Some(0));
        assert!(parse_rate("100Mbit/s").is_err());
    }

    #[test]
    fn shown_with_one_digit() {
        assert_eq!(show_bytes(0), "0 B");
        assert_eq!(show_bytes(1023), "1023 B");
        assert_eq!(show_bytes(1024), "1.0 KiB");
        assert_eq!(show_bytes((1 << 20) - 1), "1023.9 KiB");
        assert_eq!(show_bytes(3_000_000_000), "2.7 GiB");
        assert_eq!(show_bytes(5 << 30), "5.0 GiB");
    }
}

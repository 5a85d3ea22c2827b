//! The metadata file beside a local directory's file: three lines by which the Python client knows
//! what it has. Pure text.

/// What the three lines say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) commit: String,
    pub(super) etag: String,
    /// Unix time in microseconds.
    pub(super) time_us: i64,
}

/// Longest file that can be one.
pub(super) const MAX_BYTES: u64 = 1024;

impl Metadata {
    /// Reads the file; `None` when it is no such text.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines().map(str::trim);
        let (commit, etag, time) = (lines.next()?, lines.next()?, lines.next()?);
        let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
        let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
        let seconds: i64 = whole.parse().ok()?;
        let micros: i64 = digits.parse().ok()?;
        Some(Self {
            commit: commit.to_owned(),
            etag: etag.to_owned(),
            time_us: seconds.checked_mul(1_000_000)?.checked_add(micros)?,
        })
    }

    /// The file's text.
    pub(super) fn render(&self) -> String {
        let (seconds, micros) = (self.time_us.div_euclid(1_000_000), self.time_us.rem_euclid(1_000_000));
        format!("{}\n{}\n{seconds}.{micros:06}\n", self.commit, self.etag)
    }

    /// The file has not been touched since this was written. The second of slack is the Python client's.
    pub(super) fn is_valid_for(&self, mtime_ns: i64) -> bool {
        mtime_ns / 1000 - 1_000_000 <= self.time_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lines_byte_for_byte() {
        let metadata = Metadata {
            commit: "1".repeat(40),
            etag: "e26ebbd9e1a1f874f6f32b79ab8c02a1e112081446ef6506320e73d3dbc50332".to_owned(),
            time_us: 1_795_300_000_123_456,
        };
        let text = "1111111111111111111111111111111111111111\n\
            e26ebbd9e1a1f874f6f32b79ab8c02a1e112081446ef6506320e73d3dbc50332\n\
            1795300000.123456\n";
        assert_eq!(metadata.render(), text);
        assert_eq!(Metadata::parse(text.as_bytes()).unwrap(), metadata);
    }

    #[test]
    fn times_as_python_prints_them() {
        let time = |text: &str| Metadata::parse(format!("c\ne\n{text}\n").as_bytes()).map(|m| m.time_us);
        assert_eq!(time("1795300000.5"), Some(1_795_300_000_500_000));
        assert_eq!(time("1795300000"), Some(1_795_300_000_000_000));
        assert_eq!(time("1795300000.12345678"), Some(1_795_300_000_123_456));
        for bad in ["", "soon", "1.x", "-", "99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad}");
        }
        assert_eq!(Metadata::parse(b"one line"), None);
        assert_eq!(Metadata::parse(b"\xff\n\n\n"), None);
    }

    #[test]
    fn a_file_touched_later_is_not_described() {
        let metadata = Metadata {
            commit: String::new(),
            etag: String::new(),
            time_us: 10_000_000,
        };
        assert!(metadata.is_valid_for(10_000_000_000));
        assert!(metadata.is_valid_for(11_000_000_000));
        assert!(!metadata.is_valid_for(11_000_001_000));
    }
}

//! The listing of a commit as a file: with it, an offline Python client notices a half snapshot.

use std::io::{self, Read, Write};

use crate::model::{Digest, Manifest, ManifestEntry};

/// Whether it may be written: not when a Xet hash was hidden from us, or the hash of a file is missing.
pub(super) fn is_whole(manifest: &Manifest) -> bool {
    let whole = |entry: &ManifestEntry| !entry.xet_hash_masked && entry.digest.is_some();
    manifest.entries.iter().all(whole)
}

/// Writes the text entry by entry, for there may be hundreds of thousands.
pub(super) fn write(manifest: &Manifest, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"{\n \"format_version\": 1,\n \"files\": {")?;
    for (number, entry) in manifest.entries.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        write!(
            out,
            "{comma}\n  {}: {{\n   \"size\": {}",
            quote(&entry.path),
            entry.size
        )?;
        let blob_id = entry.blob_id.map(|id| Digest::GitSha1(id).to_string());
        write!(out, ",\n   \"blob_id\": \"{}\"", blob_id.unwrap_or_default())?;
        if let Some(sha256 @ Digest::Sha256(_)) = entry.digest {
            write!(
                out,
                ",\n   \"lfs_sha256\": \"{sha256}\",\n   \"lfs_size\": {}",
                entry.size
            )?;
        }
        if let Some(hash) = entry.xet_hash {
            write!(out, ",\n   \"xet_hash\": \"{}\"", Digest::Sha256(hash))?;
        }
        out.write_all(b"\n  }")?;
    }
    out.write_all(if manifest.entries.is_empty() {
        b"}\n}"
    } else {
        b"\n }\n}"
    })
}

/// Whether a reader gives these very bytes and no more.
pub(super) fn is_written(manifest: &Manifest, there: impl Read) -> bool {
    let mut same = Same(io::BufReader::new(there));
    write(manifest, &mut same).is_ok() && matches!(same.0.read(&mut [0]), Ok(0))
}

/// Takes only what its reader gives too.
struct Same<R>(R);

impl<R: Read> Write for Same<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut there = [0; 256];
        let there = &mut there[..bytes.len().min(256)];
        self.0.read_exact(there)?;
        match bytes.starts_with(there) {
            true => Ok(there.len()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A JSON string in ASCII, as Python's `json` writes it.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            ' '..='~' => quoted.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    quoted.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CommitHash;

    fn manifest() -> Manifest {
        let (a, b, c, d) = ("a".repeat(40), "b".repeat(40), "c".repeat(64), "d".repeat(64));
        let plain = ManifestEntry::new("config.json".to_owned(), 420, &a, None, None);
        let large = ManifestEntry::new("model.safetensors".to_owned(), 200_000, &b, Some(&c), Some(&d));
        Manifest {
            commit: CommitHash::parse(&"1".repeat(40)).unwrap(),
            entries: vec![plain, large],
        }
    }

    fn text(manifest: &Manifest) -> String {
        let mut bytes = Vec::new();
        write(manifest, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_text_is_that_of_the_python_client() {
        let expected = format!(
            r#"{{
 "format_version": 1,
 "files": {{
  "config.json": {{
   "size": 420,
   "blob_id": "{}"
  }},
  "model.safetensors": {{
   "size": 200000,
   "blob_id": "{}",
   "lfs_sha256": "{}",
   "lfs_size": 200000,
   "xet_hash": "{}"
  }}
 }}
}}"#,
            "a".repeat(40),
            "b".repeat(40),
            "c".repeat(64),
            "d".repeat(64)
        );
        assert_eq!(text(&manifest()), expected);
        let empty = Manifest {
            entries: Vec::new(),
            ..manifest()
        };
        assert_eq!(text(&empty), "{\n \"format_version\": 1,\n \"files\": {}\n}");
    }

    #[test]
    fn what_is_there_is_compared() {
        let there = text(&manifest());
        assert!(is_written(&manifest(), there.as_bytes()));
        assert!(!is_written(&manifest(), format!("{there}\n").as_bytes()));
        assert!(!is_written(&manifest(), &there.as_bytes()[..there.len() - 1]));
        assert!(!is_written(&manifest(), there.replace("420", "421").as_bytes()));
    }

    #[test]
    fn hostile_names_stay_json() {
        let mut one = manifest();
        one.entries.truncate(1);
        one.entries[0].path = "a\"b\\c\n\u{7f}é日\u{1f600}\u{1}".into();
        let text = text(&one);
        assert!(
            text.contains(r#""a\"b\\c\n\u007f\u00e9\u65e5\ud83d\ude00\u0001""#),
            "{text}"
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["files"][&*one.entries[0].path]["size"], 420);
    }

    #[test]
    fn nothing_is_written_from_a_masked_listing() {
        assert!(is_whole(&manifest()));
        let stars = "*".repeat(64);
        for (sha256, xet) in [("c".repeat(64), Some(stars.as_str())), ("c".repeat(63), None)] {
            let mut doubtful = manifest();
            let entry = ManifestEntry::new("z".to_owned(), 1, &"b".repeat(40), Some(&sha256), xet);
            doubtful.entries.push(entry);
            assert!(!is_whole(&doubtful));
        }
    }
}

//! The listing of a commit as a file (hub-protocol 5.8): with it, an offline Python client notices a half snapshot.

use crate::model::Manifest;

/// The text, or `None` when it must not be written because a Xet hash was hidden from us.
pub(super) fn render(manifest: &Manifest) -> Option<String> {
    let is_hash = |hash: &String| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if manifest
        .entries
        .iter()
        .any(|entry| entry.xet_hash_masked || entry.xet_hash.as_ref().is_some_and(|hash| !is_hash(hash)))
    {
        return None;
    }
    let mut entries: Vec<_> = manifest.entries.iter().collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let files: Vec<String> = entries
        .into_iter()
        .map(|entry| {
            let mut lines = vec![
                format!("   \"size\": {}", entry.size),
                format!("   \"blob_id\": {}", quote(&entry.blob_id)),
            ];
            if let Some(sha256) = &entry.lfs_sha256 {
                lines.push(format!("   \"lfs_sha256\": {}", quote(sha256)));
                lines.push(format!("   \"lfs_size\": {}", entry.size));
            }
            if let Some(hash) = &entry.xet_hash {
                lines.push(format!("   \"xet_hash\": {}", quote(hash)));
            }
            format!("  {}: {{\n{}\n  }}", quote(&entry.path), lines.join(",\n"))
        })
        .collect();
    let files = if files.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{\n{}\n }}", files.join(",\n"))
    };
    Some(format!("{{\n \"format_version\": 1,\n \"files\": {files}\n}}"))
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
    use crate::model::{CommitHash, ManifestEntry};

    fn manifest() -> Manifest {
        let plain = ManifestEntry {
            path: "config.json".to_owned(),
            size: 420,
            blob_id: "a".repeat(40),
            lfs_sha256: None,
            xet_hash: None,
            xet_hash_masked: false,
        };
        let large = ManifestEntry {
            path: "model.safetensors".to_owned(),
            size: 200_000,
            blob_id: "b".repeat(40),
            lfs_sha256: Some("c".repeat(64)),
            xet_hash: Some("d".repeat(64)),
            xet_hash_masked: false,
        };
        Manifest {
            commit: CommitHash::parse(&"1".repeat(40)).unwrap(),
            entries: vec![large, plain],
        }
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
        assert_eq!(render(&manifest()).unwrap(), expected);
        let empty = Manifest {
            entries: Vec::new(),
            ..manifest()
        };
        assert_eq!(render(&empty).unwrap(), "{\n \"format_version\": 1,\n \"files\": {}\n}");
    }

    #[test]
    fn hostile_names_stay_json() {
        let mut one = manifest();
        one.entries.truncate(1);
        one.entries[0].path = "a\"b\\c\n\u{7f}é日\u{1f600}\u{1}".to_owned();
        let text = render(&one).unwrap();
        assert!(
            text.contains(r#""a\"b\\c\n\u007f\u00e9\u65e5\ud83d\ude00\u0001""#),
            "{text}"
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["files"][&one.entries[0].path]["size"], 200_000);
    }

    #[test]
    fn nothing_is_written_from_a_masked_listing() {
        let mut masked = manifest();
        masked.entries[1].xet_hash_masked = true;
        assert!(render(&masked).is_none());
        let mut odd = manifest();
        odd.entries[0].xet_hash = Some("*".repeat(64));
        assert!(render(&odd).is_none());
    }
}

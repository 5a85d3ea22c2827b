//! The .proto files: numbers and their units.

use super::source::root;

/// Types that are numbers.
const NUMBERS: [&str; 8] = [
    "uint32", "uint64", "int32", "int64", "sint32", "sint64", "double", "float",
];
/// What a name or a comment says when it tells the unit.
const UNITS: [&str; 7] = ["byte", "per_sec", "_sec", "_ms", "second", "millisecond", "percent"];
/// Fields that count things, or number them.
const COUNTS: [&str; 26] = [
    "after_seq",
    "blobs_removed",
    "connections",
    "days",
    "downloads",
    "event_seq",
    "files_broken",
    "files_done",
    "files_to_fetch",
    "files_total",
    "jobs_active",
    "jobs_held",
    "jobs_queued",
    "jobs_total",
    "keep_revisions",
    "likes",
    "limit",
    "max_workers",
    "page_size",
    "pid",
    "requests",
    "revisions_changed",
    "schema_version",
    "seq",
    "uid",
    "weight",
];

/// Fields whose unit nobody can tell.
pub(crate) fn numbers_without_units() -> Vec<String> {
    let folder = root().join("proto/hfetch/v1");
    let mut faults = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the protocol") {
        let path = entry.expect("an entry").path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        faults.extend(
            untold(&text)
                .into_iter()
                .map(|(line, field)| format!("{file}:{line}: {field}")),
        );
    }
    faults
}

fn untold(text: &str) -> Vec<(usize, String)> {
    let mut comment = String::new();
    let mut found = Vec::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if let Some(more) = line.strip_prefix("//") {
            comment.push_str(more);
            continue;
        }
        let mut words = line
            .split_whitespace()
            .filter(|word| !["optional", "repeated"].contains(word));
        if let (Some(kind), Some(field)) = (words.next(), words.next())
            && NUMBERS.contains(&kind)
        {
            let told = format!("{field} {comment}").to_lowercase();
            if !COUNTS.contains(&field) && !UNITS.iter().any(|unit| told.contains(unit)) {
                found.push((index + 1, field.to_owned()));
            }
        }
        comment.clear();
    }
    found
}

#[test]
fn a_number_without_a_unit_is_found() {
    let text = "message M {\n  // Bytes.\n  uint64 size = 1;\n  uint64 other = 2;\n  optional uint64 eta_sec = 3;\n}";
    assert_eq!(untold(text), [(4, "other".to_owned())]);
}

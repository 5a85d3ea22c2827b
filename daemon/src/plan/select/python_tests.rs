//! Compares our globs with the real thing: some twenty thousand seeded random pairs, judged by CPython's `fnmatch` itself.

use std::io::Write;
use std::process::{Command, Stdio};

use super::Pattern;

const JUDGE: &str = "
import fnmatch, json, sys
def prepared(pattern):
    pattern = pattern.replace('\\\\', '/')
    return pattern + '*' if pattern.endswith('/') else pattern
pairs = json.load(sys.stdin)
json.dump([fnmatch.fnmatchcase(path.replace('\\\\', '/'), prepared(pattern)) for pattern, path in pairs], sys.stdout)
";

fn pairs() -> Vec<(String, String)> {
    let mut random = fastrand::Rng::with_seed(0x5eed);
    let mut text = |alphabet: &[char], longest: usize| -> String {
        (0..random.usize(..=longest))
            .map(|_| alphabet[random.usize(..alphabet.len())])
            .collect()
    };
    let pattern: Vec<char> = "ab*?[]!-^/.\\z&~|é".chars().collect();
    let brackets: Vec<char> = "az-!]^[b\\&".chars().collect();
    let path: Vec<char> = "ab/.z-]![^é&\\".chars().collect();
    let mut pairs = Vec::new();
    for _ in 0..10_000 {
        pairs.push((text(&pattern, 8), text(&path, 5)));
        pairs.push((format!("*[{}]*", text(&brackets, 7)), text(&path, 3)));
    }
    pairs
}

#[test]
fn agrees_with_cpython() {
    let child = Command::new("python3")
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return hfetch_tests::python::skip("no python3 to compare globs with");
    };
    let pairs = pairs();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&serde_json::to_vec(&pairs).unwrap()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let verdicts: Vec<bool> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdicts.len(), pairs.len());
    for ((pattern, path), expected) in pairs.iter().zip(verdicts) {
        assert_eq!(Pattern::new(pattern).matches(path), expected, "{pattern:?} {path:?}");
    }
}

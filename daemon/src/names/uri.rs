//! `hf://[models/|datasets/|spaces/]owner/name[@revision][/path]`: the owner is compulsory, `refs/pr/N` and
//! `refs/convert/X` stand as they are, any other slash in a revision is percent-encoded.

use percent_encoding::percent_decode_str;

use super::reference::{BadName, Reference, kind, path, shown};
use crate::model::{RepoId, RepoKind, Revision};

/// Reads what follows `hf://`.
pub(super) fn parse(rest: &str) -> Result<Reference, BadName> {
    let first = rest.split('/').next().unwrap_or_default();
    let (kind, location) = match kind(first)? {
        Some(kind) => (
            kind,
            rest.strip_prefix(first).unwrap_or_default().trim_start_matches('/'),
        ),
        None => (RepoKind::Model, rest),
    };
    // An `@` further back belongs to a file's name.
    let (id, revision, file) = match location.split_once('@') {
        Some((id, after)) if id.matches('/').count() <= 1 => {
            let (revision, file) = split_revision(after);
            (id.to_owned(), Some(revision), file)
        }
        _ => {
            let mut parts = location.splitn(3, '/');
            let owner = parts.next().unwrap_or_default();
            let id = match parts.next() {
                Some(name) if !name.is_empty() => format!("{owner}/{name}"),
                _ => owner.to_owned(),
            };
            (id, None, parts.next().unwrap_or_default())
        }
    };
    if !id.contains('/') {
        return Err(BadName::NoOwner(shown(&format!("hf://{rest}"))));
    }
    let revision = match revision {
        Some(text) => {
            let decoded = percent_decode_str(text).decode_utf8_lossy();
            Some(Revision::parse(&decoded)?)
        }
        None => None,
    };
    Ok(Reference {
        kind: Some(kind),
        repo_id: RepoId::parse(&id)?,
        revision,
        path: path(file)?,
    })
}

/// Splits `revision/path`; a special ref keeps its slashes.
pub(super) fn split_revision(text: &str) -> (&str, &str) {
    let slashes = text.match_indices('/').map(|(index, _)| index);
    let length = if is_special_ref(text) { 2 } else { 0 };
    match slashes.into_iter().nth(length) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, ""),
    }
}

/// Begins with `refs/pr/N` or `refs/convert/X`.
pub(super) fn is_special_ref(text: &str) -> bool {
    let mut parts = text.split('/');
    if parts.next() != Some("refs") {
        return false;
    }
    match (parts.next(), parts.next()) {
        (Some("pr"), Some(number)) => !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()),
        (Some("convert"), Some(name)) => !name.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::tests::{check, refused};

    #[test]
    fn addresses_of_the_python_client() {
        check("hf://org/name", "model org/name - -");
        check("hf://models/org/name", "model org/name - -");
        check("hf://datasets/org/name/", "dataset org/name - -");
        check("hf://spaces/org/name@v1", "space org/name v1 -");
        check("hf://org/name/a/b.txt", "model org/name - a/b.txt");
        check("hf://org/name/data/", "model org/name - data/");
        check("hf://org/name@main/a/b.txt", "model org/name main a/b.txt");
        check("hf://org/name@refs/pr/7/a.txt", "model org/name refs/pr/7 a.txt");
        check("hf://org/name@refs/pr/7", "model org/name refs/pr/7 -");
        check(
            "hf://datasets/org/name@refs/convert/parquet/default/0.parquet",
            "dataset org/name refs/convert/parquet default/0.parquet",
        );
        check(
            "hf://org/name@feature%2Fx%20y/a.txt",
            "model org/name feature/x y a.txt",
        );
        check("hf://org/name@refs/heads/a.txt", "model org/name refs heads/a.txt");
        check("hf://org/name/file@1.txt", "model org/name - file@1.txt");
        check("HF://org/name", "model org/name - -");
    }

    #[test]
    fn what_is_refused_here() {
        for bad in [
            "hf://gpt2",
            "hf://datasets/squad",
            "hf://gpt2@main",
            "hf://",
            "hf://datasets",
        ] {
            refused(bad, "lacks the owner");
        }
        refused("hf://buckets/org/name/x", "buckets are not supported");
        refused("hf://kernels/org/name", "kernels are not supported");
        refused("hf://dataset/org/name", "did you mean");
        refused("hf://org/name@", "empty");
        refused("hf://org/name@%2E%2E/x", "not a revision");
        refused("hf://org/name/../x", "not a path");
        refused("hf://org/name//x", "not a path");
        refused("hf://org/-name", "not a repository id");
    }
}

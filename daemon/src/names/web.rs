//! Addresses of web pages, of any host: a mirror's pages look like the Hub's.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use url::Url;

use super::reference::{BadName, FOREIGN, Reference, path, shown};
use super::uri::split_revision;
use crate::model::{RepoId, RepoKind, Revision};

/// Pages that show a revision and a path.
const FILE_ROUTES: [&str; 5] = ["blob", "blame", "raw", "resolve", "tree"];

/// First parts of addresses that are no owner of a repository.
const NOT_OWNERS: [&str; 24] = [
    "api",
    "blog",
    "chat",
    "collections",
    "datasets",
    "docs",
    "enterprise",
    "inference",
    "join",
    "learn",
    "login",
    "models",
    "new",
    "new-dataset",
    "new-space",
    "organizations",
    "papers",
    "posts",
    "pricing",
    "search",
    "settings",
    "spaces",
    "tasks",
    "welcome",
];

/// Reads `http(s)://host/[datasets/|spaces/]owner/name[/tree|blob|raw|resolve|blame/revision[/path]]`. Query and fragment
/// do not matter.
pub(super) fn parse(text: &str) -> Result<Reference, BadName> {
    let address = Url::parse(text).map_err(|_| BadName::Address("it cannot be read"))?;
    if !address.username().is_empty() || address.password().is_some() {
        return Err(BadName::Address("it holds a user name or password"));
    }
    let segments: Vec<Cow<str>> = address
        .path_segments()
        .into_iter()
        .flatten()
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8())
        .collect::<Result<_, _>>()
        .map_err(|_| BadName::Address("it is not in UTF-8"))?;
    let parts: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let (kind, parts) = match parts.split_first() {
        Some((first, rest)) if FOREIGN.contains(first) && !rest.is_empty() => {
            let what = if *first == FOREIGN[0] { FOREIGN[0] } else { FOREIGN[1] };
            return Err(BadName::NotSupported { what });
        }
        Some((first, rest)) if !rest.is_empty() => match RepoKind::parse_plural(first) {
            Some(kind) => (kind, rest),
            None => (RepoKind::Model, parts.as_slice()),
        },
        _ => (RepoKind::Model, parts.as_slice()),
    };
    let Some(first) = parts.first() else {
        return Err(BadName::NoRepository(String::new()));
    };
    if NOT_OWNERS.contains(first) {
        return Err(BadName::NoRepository(shown(first)));
    }
    // A legacy id has one part: `/gpt2/tree/main`.
    let legacy = parts.len() == 1 || (parts.len() > 2 && FILE_ROUTES.contains(&parts[1]));
    let (id, rest) = parts.split_at(if legacy { 1 } else { 2 });
    let folder = rest.first() == Some(&"tree");
    let (revision, file) = match rest.split_first() {
        None => (None, None),
        Some((route, after)) if FILE_ROUTES.contains(route) => place(after, folder)?,
        Some((route, _)) => return Err(BadName::OtherPage { route: shown(route) }),
    };
    Ok(Reference {
        kind: Some(kind),
        repo_id: RepoId::parse(&id.join("/"))?,
        revision,
        path: file,
    })
}

/// Revision and path behind a route. The revision is one segment, its slashes percent-encoded, but people unquote
/// `refs/pr/1`.
fn place(after: &[&str], folder: bool) -> Result<(Option<Revision>, Option<String>), BadName> {
    let Some((first, rest)) = after.split_first() else {
        return Ok((None, None));
    };
    let joined = after.join("/");
    let (revision, file) = match *first {
        "refs" => {
            let (revision, file) = split_revision(&joined);
            (revision, file.to_owned())
        }
        revision => (revision, rest.join("/")),
    };
    let file = if folder && !file.is_empty() {
        format!("{file}/")
    } else {
        file
    };
    Ok((Some(Revision::parse(revision)?), path(&file)?))
}

#[cfg(test)]
mod tests {
    use super::super::reference::tests::{check, refused};

    #[test]
    fn pages_of_any_host() {
        check("https://huggingface.co/org/name", "model org/name - -");
        check("https://huggingface.co/org/name/", "model org/name - -");
        check("https://huggingface.co/gpt2", "model gpt2 - -");
        check("https://huggingface.co/datasets/squad", "dataset squad - -");
        check("https://huggingface.co/gpt2/tree/main", "model gpt2 main -");
        check(
            "https://huggingface.co/datasets/squad/blob/main/a.txt",
            "dataset squad main a.txt",
        );
        check("https://huggingface.co/org/name/tree/main", "model org/name main -");
        check("https://huggingface.co/org/tree", "model org/tree - -");
        check(
            "https://huggingface.co/datasets/org/name/tree/main/data",
            "dataset org/name main data/",
        );
        check(
            "https://hf-mirror.com/spaces/org/name/blob/v1/app.py",
            "space org/name v1 app.py",
        );
        check(
            "http://127.0.0.1:8080/org/name/resolve/main/a%20b/c%23d.bin?download=true#x",
            "model org/name main a b/c#d.bin",
        );
        check(
            "https://h/org/name/raw/refs%2Fpr%2F1/a.txt",
            "model org/name refs/pr/1 a.txt",
        );
        check(
            "https://h/org/name/tree/refs/pr/1/data/sub",
            "model org/name refs/pr/1 data/sub/",
        );
        check(
            "https://h/org/name/blame/feature%2Fx/a.txt",
            "model org/name feature/x a.txt",
        );
        check("https://h/models/org/name", "model org/name - -");
    }

    #[test]
    fn pages_without_files() {
        for route in [
            "commit",
            "commits",
            "discussions",
            "settings",
            "viewer",
            "edit",
            "resolve-cache",
        ] {
            refused(
                &format!("https://huggingface.co/org/name/{route}/main"),
                &format!("`/{route}`"),
            );
        }
        refused("https://huggingface.co", "shows no repository");
        refused("https://huggingface.co/models?search=x", "`/models`");
        refused("https://huggingface.co/datasets", "`/datasets`");
        refused("https://huggingface.co/docs/transformers/index", "`/docs`");
        refused("https://huggingface.co/api/models/org/name", "`/api`");
        refused("https://huggingface.co/buckets/org/name", "buckets are not supported");
        refused("https://huggingface.co/kernels/org/name", "kernels are not supported");
        refused("https://user:pw@huggingface.co/org/name", "password");
        refused("https://h/org/na--me", "not a repository id");
        refused("https://h/org/name/blob/main/%2e%2e%2fx", "not a path");
        refused("https://", "cannot be read");
    }
}

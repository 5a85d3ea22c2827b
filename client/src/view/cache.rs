//! What is on disk, as tables and lines.

use clap::builder::styling::Style;
use hfetch_proto::v1::{CacheVerdict, CachedRepo, CachedRevision, SweptRepo, VerifyCacheResponse};
use jiff::Timestamp;

use super::table::{plain, render, styled};
use super::{Out, human, words};

/// Characters of a commit that are shown.
const SHORT: usize = 12;

/// One line for each revision, and one for each repository that has none.
pub(crate) fn list(out: &Out, repos: &[CachedRepo], now: Timestamp) -> String {
    let head = [
        ("SIZE", true),
        ("FILES", true),
        ("AGE", true),
        ("REVISION", false),
        ("REFS", false),
        ("NOTES", false),
        ("REPOSITORY", false),
    ];
    let mut rows = Vec::new();
    for repo in repos {
        if repo.revisions.is_empty() {
            rows.push(row(repo, None, now));
        }
        rows.extend(repo.revisions.iter().map(|revision| row(repo, Some(revision), now)));
    }
    render(out, &head, rows)
}

fn row(repo: &CachedRepo, revision: Option<&CachedRevision>, now: Timestamp) -> Vec<(String, Style)> {
    let mut notes = Vec::new();
    if repo.busy {
        notes.push("busy".to_owned());
    }
    if revision.is_some_and(|revision| revision.pinned) {
        notes.push("pinned".to_owned());
    }
    if let Some(broken) = revision
        .map(|revision| revision.files_broken)
        .filter(|broken| *broken > 0)
    {
        notes.push(format!("{} broken", human::count(broken)));
    }
    if repo.loose_bytes > 0 {
        notes.push(format!("{} loose", human::bytes(repo.loose_bytes)));
    }
    if repo.partial_bytes > 0 {
        notes.push(format!("{} unfinished", human::bytes(repo.partial_bytes)));
    }
    let age = revision
        .and_then(|revision| human::time(revision.modified_at.as_ref()))
        .map(|then| human::seconds_short(human::age_sec(then, now)));
    let refs = revision.map(|revision| revision.refs.join(",")).unwrap_or_default();
    vec![
        plain(&human::bytes(revision.map_or(repo.bytes, |revision| revision.bytes))),
        plain(
            &revision
                .map(|revision| human::count(revision.files_total))
                .unwrap_or_default(),
        ),
        plain(&age.unwrap_or_default()),
        plain(revision.map_or("-", |revision| short(&revision.commit))),
        plain(&refs),
        styled(&notes.join(", "), Style::new().dimmed()),
        plain(&words::repo_name(repo.repo_type(), &repo.repo_id)),
    ]
}

fn short(commit: &str) -> &str {
    commit.get(..SHORT).unwrap_or(commit)
}

/// The sum below the list.
pub(crate) fn total(repos: &[CachedRepo]) -> String {
    let sum = |of: fn(&CachedRepo) -> u64| human::bytes(repos.iter().map(of).sum());
    let repositories = match repos.len() {
        1 => "1 repository".to_owned(),
        many => format!("{} repositories", human::count(many as u64)),
    };
    // What several have takes room once.
    let shared: u64 = repos.iter().map(|repo| repo.shared_bytes).sum();
    let shared = match shared {
        0 => String::new(),
        _ => format!(" ({} of them in several, which take room once)", human::bytes(shared)),
    };
    format!(
        "{repositories}, {}{shared}; {} that no revision needs, {} unfinished",
        sum(|repo| repo.bytes.saturating_sub(repo.shared_bytes)),
        sum(|repo| repo.loose_bytes),
        sum(|repo| repo.partial_bytes)
    )
}

/// A file that is not sound.
pub(crate) fn verified(file: &VerifyCacheResponse) -> String {
    let verdict = verdict(file.verdict());
    let repo = words::repo_name(file.repo_type(), &file.repo_id);
    human::clean(&format!("{verdict:7}  {repo}@{}  {}", short(&file.commit), file.path))
}

/// The word for people and for JSON.
pub(crate) fn verdict(verdict: CacheVerdict) -> &'static str {
    match verdict {
        CacheVerdict::Sound => "sound",
        CacheVerdict::Wrong => "wrong",
        CacheVerdict::Broken => "broken",
        CacheVerdict::Unknown | CacheVerdict::Unspecified => "unknown",
    }
}

/// What went, or would go, and what does not.
pub(crate) fn swept(repos: &[SweptRepo], done: bool) -> String {
    let verb = if done { "removed" } else { "would remove" };
    let mut lines = Vec::new();
    for repo in repos {
        let name = words::repo_name(repo.repo_type(), &repo.repo_id);
        let commits = repo
            .revisions
            .iter()
            .map(|commit| format!("{verb} {name}@{}", short(commit)));
        lines.extend(commits);
        if repo.blobs_removed > 0 {
            let blobs = human::plural(repo.blobs_removed, "blob");
            let bytes = repo.bytes_freed.saturating_sub(repo.partial_bytes_freed);
            lines.push(format!("{verb} {blobs} of {name}, {}", human::bytes(bytes)));
        }
        if repo.partial_bytes_freed > 0 {
            let bytes = human::bytes(repo.partial_bytes_freed);
            lines.push(format!("{verb} unfinished downloads of {name}, {bytes}"));
        }
        let kept = repo.kept.iter();
        lines.extend(kept.map(|kept| format!("keep {} of {name}: {}", short(&kept.what), kept.why)));
    }
    let freed = repos.iter().map(|repo| repo.bytes_freed).sum();
    lines.push(format!("{} in all", human::bytes(freed)));
    human::clean_lines(&lines.join("\n"))
}

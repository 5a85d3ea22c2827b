//! Whose word a plan is: that of an origin when one can be reached in short time, else a mirror's. A mirror that says
//! something else is not believed, and the user hears of it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    planner,
    shared::{EndpointAccess, JobContext},
    stop::{JobStop, chain},
};
use crate::{
    hub::{HubError, Listing},
    model::{Failure, FailureKind, Manifest, ManifestEntry, Revision, Trust},
};

/// An origin that takes longer to list a repository is as good as away, when a mirror is there.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much longer than the origin a mirror may take, only to be compared.
const COMPARE: Duration = Duration::from_secs(2);
/// An origin that was away is not waited for again so soon.
const AWAY: Duration = Duration::from_secs(5 * 60);

/// What asking both brought.
#[derive(Default)]
pub(super) struct Word {
    /// Number of the endpoint in the job, and its listing.
    pub(super) listing: Option<(usize, Listing)>,
    /// Who failed, and how.
    pub(super) failed: Vec<(usize, HubError)>,
    /// For the user.
    pub(super) notes: Vec<String>,
}

/// Asks the first origin and the first mirror of a job at the same time. Does nothing for a job that has not both.
pub(super) async fn ask(context: &JobContext) -> Word {
    let mut word = Word::default();
    let first = |trust| context.endpoints.iter().position(|access| access.trust == trust);
    let (Some(origin), Some(mirror)) = (first(Trust::Origin), first(Trust::Mirror)) else {
        return word;
    };
    let access = |index: usize| &context.endpoints[index];
    let gate = access(origin).endpoint.origin().ascii_serialization();
    if context.shared.away.closed_until(&gate).is_some() {
        word.notes
            .push(away(access(origin), access(mirror), "it did not answer a moment ago"));
        return match planner::list(context, access(mirror)).await {
            Ok(listing) => found(word, mirror, listing),
            Err(error) => failed(word, mirror, error),
        };
    }
    let mut from_mirror = std::pin::pin!(planner::list(context, access(mirror)));
    let mut from_origin = std::pin::pin!(timeout(PATIENCE, planner::list(context, access(origin))));
    let mut mirrors: Option<Result<Listing, HubError>> = None;
    let origins = loop {
        tokio::select! {
            biased;
            answer = &mut from_origin => break answer,
            answer = &mut from_mirror, if mirrors.is_none() => mirrors = Some(answer),
        }
    };
    let why = match origins {
        Ok(Ok(listing)) => {
            if mirrors.is_none() {
                mirrors = timeout_at(Instant::now() + COMPARE, from_mirror).await.ok();
            }
            if let Some(Ok(other)) = &mirrors {
                let differs = difference(&listing.manifest, &other.manifest);
                word.notes.extend(differs.map(|differs| {
                    let (mirror, origin) = (access(mirror).endpoint.host(), access(origin).endpoint.host());
                    format!("{mirror} {differs}; what {origin} says counts")
                }));
            }
            return found(word, origin, listing);
        }
        Ok(Err(error)) => {
            let why = chain(&error);
            word = failed(word, origin, error);
            why
        }
        Err(_) => format!("it did not answer within {} s", PATIENCE.as_secs()),
    };
    if word.failed.iter().all(|(_, error)| is_silence(error)) {
        context.shared.away.close(&gate, Instant::now() + AWAY);
    }
    let mirrors = match mirrors {
        Some(answer) => answer,
        None => from_mirror.await,
    };
    match mirrors {
        Ok(listing) => {
            word.notes.push(away(access(origin), access(mirror), &why));
            found(word, mirror, listing)
        }
        Err(error) => failed(word, mirror, error),
    }
}

/// Without an origin, holds a mirror's list against that of the next one: two that contradict each other are a question for
/// the user, for one of them lies and nobody here knows which. A mirror that is slow or silent contradicts nothing.
///
/// # Errors
/// When sizes or hashes differ.
pub(super) async fn contradicted(
    context: &JobContext,
    access: &EndpointAccess,
    manifest: &Manifest,
) -> Result<(), JobStop> {
    if access.trust == Trust::Origin {
        return Ok(());
    }
    let another =
        |other: &&EndpointAccess| other.trust == Trust::Mirror && other.endpoint.origin() != access.endpoint.origin();
    let Some(other) = context.endpoints.iter().find(another) else {
        return Ok(());
    };
    let (spec, revision) = (&context.spec, Revision::from(&manifest.commit));
    let listing = planner::listing_of(&context.shared, other, spec.kind, &spec.repo_id, &revision);
    let Ok(Ok(listing)) = context.unless_stopped(timeout(COMPARE, listing)).await? else {
        return Ok(());
    };
    let both: HashSet<&str> = listing
        .manifest
        .entries
        .iter()
        .map(|entry| entry.path.as_str())
        .collect();
    let shared = Manifest {
        commit: manifest.commit.clone(),
        // What one of them does not list is no contradiction.
        entries: manifest
            .entries
            .iter()
            .filter(|entry| both.contains(entry.path.as_str()))
            .cloned()
            .collect(),
    };
    let Some(differs) = difference(&shared, &listing.manifest) else {
        return Ok(());
    };
    let (one, two) = (access.endpoint.host(), other.endpoint.host());
    Err(JobStop::JobFailed(Failure::new(
        FailureKind::Integrity,
        format!("{two} {differs}, as {one} does, and no official endpoint can be asked; nothing was fetched"),
        "submit again with the one `--endpoint` that you trust, or with the official one beside them",
    )))
}

fn found(mut word: Word, index: usize, listing: Listing) -> Word {
    word.listing = Some((index, listing));
    word
}

fn failed(mut word: Word, index: usize, error: HubError) -> Word {
    word.failed.push((index, error));
    word
}

fn away(origin: &EndpointAccess, mirror: &EndpointAccess, why: &str) -> String {
    let (origin, mirror) = (origin.endpoint.host(), mirror.endpoint.host());
    format!("the list of files and their hashes are {mirror}'s word, for {origin} cannot be asked: {why}")
}

/// Nobody was there, as opposed to somebody who says no.
fn is_silence(error: &HubError) -> bool {
    matches!(
        error,
        HubError::Transport { .. } | HubError::TimedOut { .. } | HubError::Stalled { .. }
    )
}

/// The first thing that a mirror says otherwise; the words go on after its name.
fn difference(official: &Manifest, other: &Manifest) -> Option<String> {
    if official.commit != other.commit {
        return Some(format!("has commit {}, not {}", other.commit, official.commit));
    }
    let others: HashMap<&str, &ManifestEntry> =
        other.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    official.entries.iter().find_map(|entry| {
        let path = entry.path.escape_debug();
        let Some(other) = others.get(entry.path.as_str()) else {
            return Some(format!("does not list `{path}`"));
        };
        if entry.size != other.size {
            return Some(format!("lists `{path}` with {} bytes, not {}", other.size, entry.size));
        }
        let (mine, its) = (entry.digest()?, other.digest()?);
        (mine != its).then(|| format!("lists `{path}` with hash {its}, not {mine}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CommitHash;

    fn manifest(commit: &str, entries: &[(&str, u64, &str)]) -> Manifest {
        let entry = |(path, size, digit): &(&str, u64, &str)| ManifestEntry {
            path: (*path).to_owned(),
            size: *size,
            blob_id: digit.repeat(40),
            lfs_sha256: None,
            xet_hash: None,
            xet_hash_masked: false,
        };
        Manifest {
            commit: CommitHash::parse(&commit.repeat(40)).unwrap(),
            entries: entries.iter().map(entry).collect(),
        }
    }

    #[test]
    fn differences_are_told() {
        let official = manifest("1", &[("a", 1, "a"), ("b\n", 2, "b")]);
        let check = |other: &Manifest, expected: Option<&str>| {
            let told = difference(&official, other);
            assert_eq!(told.is_some(), expected.is_some(), "{told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()));
        };
        check(&official, None);
        // More files are no contradiction, and a hash that is not told is none either.
        check(&manifest("1", &[("a", 1, "a"), ("b\n", 2, ""), ("c", 3, "c")]), None);
        check(
            &manifest("2", &[("a", 1, "a"), ("b\n", 2, "b")]),
            Some("has commit 2222"),
        );
        check(&manifest("1", &[("a", 1, "a")]), Some("does not list `b\\n`"));
        check(
            &manifest("1", &[("a", 9, "a"), ("b\n", 2, "b")]),
            Some("with 9 bytes, not 1"),
        );
        check(
            &manifest("1", &[("a", 1, "a"), ("b\n", 2, "c")]),
            Some("with hash cccc"),
        );
    }
}

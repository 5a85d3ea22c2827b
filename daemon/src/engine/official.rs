//! Whose word a plan is: that of an origin when one can be reached in short time, else a mirror's. A mirror that says
//! something else is not believed, and the user hears of it.

use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    gated,
    planner::{self, Found},
    shared::{EndpointAccess, JobContext},
    stop::{JobStop, chain},
};
use crate::{
    hub::HubError,
    model::{Failure, FailureKind, Manifest, Revision, Trust},
};

/// An origin that does not answer for so long is as good as away, when a mirror is there.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much longer than the origin a mirror may take, only to be compared.
const COMPARE: Duration = Duration::from_secs(2);
/// An origin that was away is not waited for again so soon.
const AWAY: Duration = Duration::from_secs(5 * 60);

/// What asking both brought.
#[derive(Default)]
pub(super) struct Word {
    /// Number of the endpoint in the job, and what it said.
    pub(super) found: Option<(usize, Found)>,
    /// Who failed, and how.
    pub(super) failed: Vec<(usize, HubError)>,
    /// For the user.
    pub(super) notes: Vec<String>,
}

/// Whether an endpoint asked for a pause that is not over: nobody asks it anything until then.
pub(super) fn wants_a_pause(context: &JobContext, access: &EndpointAccess) -> bool {
    context.shared.gates.closed_until(&access.gate()).is_some()
}

/// Asks the first origin and the first mirror of a job at the same time, of those that want no pause. Does nothing for a job
/// that has not both.
pub(super) async fn ask(context: &JobContext) -> Word {
    let mut word = Word::default();
    let access = |index: usize| &context.endpoints[index];
    let first = |trust| {
        let mut of_trust = (0..context.endpoints.len()).filter(|index| access(*index).trust == trust);
        let first = of_trust.clone().next()?;
        Some((first, of_trust.find(|index| !wants_a_pause(context, access(*index)))))
    };
    let (Some((origin, open_origin)), Some((_, mirror))) = (first(Trust::Origin), first(Trust::Mirror)) else {
        return word;
    };
    let (origin, mirror) = match (open_origin, mirror) {
        (Some(origin), Some(mirror)) => (origin, mirror),
        (Some(origin), None) => return alone(context, origin, word).await,
        (None, Some(mirror)) => return instead(context, origin, mirror, "it asked us to wait", word).await,
        (None, None) => return word,
    };
    let gate = access(origin).endpoint.origin().ascii_serialization();
    if context.shared.away.closed_until(&gate).is_some() {
        return instead(context, origin, mirror, "it did not answer a moment ago", word).await;
    }
    let mut from_mirror = std::pin::pin!(planner::list(context, access(mirror)));
    let mut from_origin = std::pin::pin!(patiently(
        planner::list(context, access(origin)),
        is_there(context, access(origin))
    ));
    let mut mirrors: Option<Result<Found, HubError>> = None;
    let origins = loop {
        tokio::select! {
            biased;
            answer = &mut from_origin => break answer,
            answer = &mut from_mirror, if mirrors.is_none() => mirrors = Some(answer),
        }
    };
    let why = match origins {
        Some(Ok(Found::Known(known))) => return found(word, origin, Found::Known(known)),
        Some(Ok(Found::Listed(listing))) => {
            if mirrors.is_none() {
                mirrors = timeout_at(Instant::now() + COMPARE, from_mirror).await.ok();
            }
            if let Some(Ok(Found::Listed(other))) = &mirrors {
                let differs = difference(&listing.manifest, &other.manifest);
                word.notes.extend(differs.map(|differs| {
                    let (mirror, origin) = (access(mirror).endpoint.host(), access(origin).endpoint.host());
                    format!("{mirror} {differs}; what {origin} says counts")
                }));
            }
            return found(word, origin, Found::Listed(listing));
        }
        Some(Err(error)) if gated::last_word(access(origin), &error).is_some() => return failed(word, origin, error),
        Some(Err(error)) => {
            let why = chain(&error);
            word = failed(word, origin, error);
            why
        }
        None => format!("it did not answer within {} s", PATIENCE.as_secs()),
    };
    if word.failed.iter().all(|(_, error)| is_silence(error)) {
        context.shared.away.close(&gate, Instant::now() + AWAY);
    }
    let mirrors = match mirrors {
        Some(answer) => answer,
        None => from_mirror.await,
    };
    match mirrors {
        Ok(said) => {
            let note = away(access(origin), access(mirror), &why);
            by_mirror(word, mirror, said, note)
        }
        Err(error) => failed(word, mirror, error),
    }
}

/// Asks the origin alone.
async fn alone(context: &JobContext, origin: usize, word: Word) -> Word {
    match planner::list(context, &context.endpoints[origin]).await {
        Ok(said) => found(word, origin, said),
        Err(error) => failed(word, origin, error),
    }
}

/// Asks the mirror alone, for this reason.
async fn instead(context: &JobContext, origin: usize, mirror: usize, why: &str, word: Word) -> Word {
    let (origin, access) = (&context.endpoints[origin], &context.endpoints[mirror]);
    match planner::list(context, access).await {
        Ok(said) => by_mirror(word, mirror, said, away(origin, access, why)),
        Err(error) => failed(word, mirror, error),
    }
}

/// Waits for a long answer for as long as somebody is there who gives it; `None` when nobody is. The pages of a large listing
/// have time limits of their own.
async fn patiently<T>(answer: impl Future<Output = T>, is_there: impl Future<Output = bool>) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    if let Ok(answer) = timeout(PATIENCE, &mut answer).await {
        return Some(answer);
    }
    tokio::select! {
        biased;
        answer = &mut answer => return Some(answer),
        is_there = timeout(PATIENCE, is_there) => if is_there != Ok(true) {
            return None;
        },
    }
    Some(answer.await)
}

/// Whether an endpoint answers at all, whatever it says.
async fn is_there(context: &JobContext, access: &EndpointAccess) -> bool {
    let (hub, spec, token) = (&context.shared.hub, &context.spec, access.token.as_ref());
    let info = hub.info(&access.endpoint, token, spec.kind, &spec.repo_id, &spec.revision);
    !info.await.is_err_and(|error| is_silence(&error))
}

/// Without an origin, holds a mirror's list against that of the next one: two that contradict each other are a question for
/// the user, for one of them lies and nobody here knows which. A mirror that is slow or silent, or that wants a pause,
/// contradicts nothing.
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
    let another = |other: &&EndpointAccess| another(other) && !wants_a_pause(context, other);
    let Some(other) = context.endpoints.iter().find(another) else {
        return Ok(());
    };
    let (spec, revision) = (&context.spec, Revision::from(&manifest.commit));
    let listing = planner::listing_of(&context.shared, other, spec.kind, &spec.repo_id, &revision);
    let Ok(Ok(listing)) = context.unless_stopped(timeout(COMPARE, listing)).await? else {
        return Ok(());
    };
    let both: HashSet<&str> = listing.manifest.entries.iter().map(|entry| &*entry.path).collect();
    let shared = Manifest {
        commit: manifest.commit.clone(),
        // What one of them does not list is no contradiction.
        entries: manifest
            .entries
            .iter()
            .filter(|entry| both.contains(&*entry.path))
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

fn found(mut word: Word, index: usize, said: Found) -> Word {
    word.found = Some((index, said));
    word
}

/// A mirror named the commit. Whose word the files are of a plan that is known, that plan tells.
fn by_mirror(mut word: Word, index: usize, said: Found, note: String) -> Word {
    word.notes.extend(matches!(said, Found::Listed(_)).then_some(note));
    found(word, index, said)
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
    // Both are in path order.
    let mut others = other.entries.iter().peekable();
    official.entries.iter().find_map(|entry| {
        let path = entry.path.escape_debug();
        while others.next_if(|other| other.path < entry.path).is_some() {}
        let Some(other) = others.next_if(|other| other.path == entry.path) else {
            return Some(format!("does not list `{path}`"));
        };
        if entry.size != other.size {
            return Some(format!("lists `{path}` with {} bytes, not {}", other.size, entry.size));
        }
        let (mine, its) = (entry.digest?, other.digest?);
        (mine != its).then(|| format!("lists `{path}` with hash {its}, not {mine}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CommitHash, ManifestEntry};

    fn manifest(commit: &str, entries: &[(&str, u64, &str)]) -> Manifest {
        let entry = |(path, size, digit): &(&str, u64, &str)| {
            ManifestEntry::new((*path).to_owned(), *size, &digit.repeat(40), None, None)
        };
        Manifest {
            commit: CommitHash::parse(&commit.repeat(40)).unwrap(),
            entries: entries.iter().map(entry).collect(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_listing_is_waited_for_while_somebody_is_there() {
        let takes = |secs| async move {
            tokio::time::sleep(Duration::from_secs(secs)).await;
            secs
        };
        let there = |after, is_there| async move {
            tokio::time::sleep(Duration::from_secs(after)).await;
            is_there
        };
        let began = Instant::now();
        // Not asked while there is no need.
        assert_eq!(patiently(takes(9), async { panic!("asked") }).await, Some(9));
        assert_eq!(patiently(takes(300), there(1, true)).await, Some(300));
        assert_eq!(patiently(takes(12), there(9, true)).await, Some(12));
        assert_eq!(began.elapsed().as_secs(), 9 + 300 + 12);
        assert_eq!(patiently(takes(300), there(1, false)).await, None);
        assert_eq!(patiently(takes(300), there(60, true)).await, None);
        assert_eq!(began.elapsed().as_secs(), 9 + 300 + 12 + 11 + 20);
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

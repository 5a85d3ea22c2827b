//! What of a job's files is left to fetch: without what lies in partial files, as far as a transfer would believe their claims.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    cache::{self, FileStamp},
    engine::{
        shared::{JobContext, blocking},
        transfer::hint,
    },
    model::{Digest, FileRecord},
    store::Claim,
};

/// Whether a claim is about this very file, and a job may go on from it.
pub(in crate::engine) fn may_go_on(
    context: &JobContext,
    claim: &Claim,
    (digest, size): (&Digest, u64),
    found: &FileStamp,
) -> bool {
    // The number of a device may be another after a boot, when all that is claimed is hashed again anyway.
    let place = claim.dev == found.dev || claim.boot != context.shared.boot;
    let same = place && (claim.digest, claim.size, claim.ino) == (*digest, size, found.ino);
    // A forced download takes over only what it fetched itself.
    same && (!context.spec.force_download || claim.job == context.id.as_str())
}

/// Adds up what is left.
#[derive(Default)]
pub(in crate::engine) struct Left {
    /// Bytes in partial files, by what these are to become.
    there: HashMap<Digest, u64>,
    seen: HashSet<Digest>,
    each: bool,
}

impl Left {
    /// With what lies in the partial files of a place.
    pub(in crate::engine) async fn new(context: &JobContext, store: &Arc<cache::Store>) -> Self {
        let listed = store.clone();
        let mut partials = blocking(move || listed.list_partials()).await.unwrap_or_default();
        let usable = |tag: &Option<String>| tag.as_ref().is_none_or(|tag| tag == context.id.as_str());
        partials.retain(|partial| usable(&partial.tag));
        // Where there is one with the plain name, that is taken.
        partials.sort_by_key(|partial| partial.tag.is_none());
        let paths = partials.iter().map(|partial| partial.path.clone()).collect();
        let claims = hint(context.shared.store.claims(paths).await).unwrap_or_default();
        let there = partials.iter().zip(claims).map(|(partial, claim)| {
            let content = (&partial.digest, partial.stamp.size);
            let claim = claim.filter(|claim| may_go_on(context, claim, content, &partial.stamp));
            let ranges = claim.iter().flat_map(|claim| &claim.ranges);
            (partial.digest, ranges.map(|range| range.len()).sum())
        });
        Self {
            there: there.collect(),
            seen: HashSet::new(),
            each: context.spec.force_download,
        }
    }

    /// What the partial files are to become that hold something.
    pub(in crate::engine) fn begun(&self) -> HashSet<Digest> {
        let begun = self.there.iter().filter(|(_, bytes)| **bytes > 0);
        begun.map(|(digest, _)| *digest).collect()
    }

    /// Bytes to fetch of a file that is not in its place. Equal files are fetched once, unless each of them is wanted anew.
    pub(in crate::engine) fn of(&mut self, file: &FileRecord) -> u64 {
        if !self.seen.insert(file.digest) && !self.each {
            return 0;
        }
        let there = self.there.get(&file.digest).copied().unwrap_or(0);
        file.size.saturating_sub(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileId, FileState, RepoPath};

    #[test]
    fn equal_files_and_what_is_there_are_not_fetched() {
        let digest = |number| Digest::Sha256([number; 32]);
        let file = |path: &str, number, size| FileRecord {
            id: FileId(0),
            path: RepoPath::parse(path).unwrap(),
            size,
            digest: digest(number),
            state: FileState::Pending,
            reused: false,
            failure: None,
        };
        let files = [file("a", 1, 100), file("b", 2, 50), file("c", 1, 100), file("d", 3, 7)];
        let there = HashMap::from([(digest(1), 60), (digest(3), 9)]);
        let left = |each| {
            let mut left = Left {
                there: there.clone(),
                each,
                ..Left::default()
            };
            files.iter().map(|file| left.of(file)).collect::<Vec<_>>()
        };
        assert_eq!(left(false), [40, 50, 0, 0]);
        assert_eq!(left(true), [40, 50, 40, 0]);
    }
}

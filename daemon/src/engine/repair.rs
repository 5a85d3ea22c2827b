//! A file that is whole and wrong: which of its blocks are, and who sent them. What is known to be wrong is fetched again, and
//! no more; where it is not known, the suspects are fetched from somebody else, until the digest is right.

use std::collections::{BTreeMap, VecDeque};

use super::{
    checkpoint, doubts::check_now, frontier, retry::Retry, shared::JobContext, stop::JobStop, transfer::FileTransfer,
};
use crate::{
    model::{ByteRange, Trust, units::show_bytes},
    plan::{
        RangeSet,
        blocks::{self, BlockCheck, Suspect, suspects},
    },
};

/// Suspects that are fetched again together at first; twice as many each time.
const FIRST_WAVE: usize = 8;
/// Ranges that a warning names.
const NAMED: usize = 4;

/// What a look at a file gave.
pub(super) enum Verdict {
    Right,
    /// Some of it is to be fetched again.
    Incomplete,
    /// It is wrong, in these words.
    Wrong(String),
}

/// The search for the wrong blocks of one file.
#[derive(Default)]
pub(super) struct Repair {
    /// It was read once more from the disk alone.
    read_again: bool,
    /// Whom to look at next; `None` before the search.
    queue: Option<VecDeque<Suspect>>,
    /// Fetched again just now, and what they were before.
    wave: Vec<(Suspect, BlockCheck)>,
    waves: u32,
    /// What came differently the next time: who sent it, and as what.
    versions: Vec<(Suspect, BlockCheck)>,
    /// How often each place was fetched again, by its first byte.
    again: BTreeMap<u64, usize>,
    /// What is to be doubted in its new version as well, unless the file is right with it.
    doubted: Vec<Suspect>,
}

impl Repair {
    /// All that can be doubted was fetched again, and again from everyone else.
    pub(super) fn is_exhausted(&self) -> bool {
        self.queue.as_ref().is_some_and(VecDeque::is_empty)
    }

    /// Judges a file that was fetched.
    pub(super) async fn look(
        &mut self,
        context: &JobContext,
        transfer: &FileTransfer,
        retry: &mut Retry,
    ) -> Result<Verdict, JobStop> {
        context.progress.file_stage(&transfer.file, "verifying");
        let verdict = self.judge(context, transfer, retry).await;
        if !matches!(verdict, Ok(Verdict::Incomplete)) {
            retry.leave_out(None);
        }
        verdict
    }

    async fn judge(
        &mut self,
        context: &JobContext,
        transfer: &FileTransfer,
        retry: &mut Retry,
    ) -> Result<Verdict, JobStop> {
        let mut hashed_as = None;
        // Without a difference the digest is as wrong as before.
        let nothing_new = !self.wave.is_empty() && transfer.is_complete() && !self.compare(context, transfer).await?;
        if !nothing_new {
            loop {
                let Some(actual) = frontier::finish(context, transfer).await? else {
                    return Ok(Verdict::Incomplete);
                };
                if actual == transfer.file.digest {
                    self.blame(context, transfer, retry).await?;
                    return Ok(Verdict::Right);
                }
                hashed_as = Some(actual);
                if self.read_again {
                    break;
                }
                // A state that was carried over a restart, or memory, may have been wrong instead; and the disk may have
                // changed a block since it was hashed.
                self.read_again = true;
                transfer.frontier.restart().await;
            }
        }
        if self.next_wave(context, transfer, retry).await? {
            return Ok(Verdict::Incomplete);
        }
        let path = transfer.file.path.as_str().escape_debug().to_string();
        let from = transfer.sources().join(", ");
        let expected = transfer.file.digest;
        Ok(Verdict::Wrong(match hashed_as {
            Some(actual) => format!("the bytes of {path} from {from} hash to {actual}, not to {expected}"),
            None => format!("the bytes of {path} from {from} do not hash to {expected}, though they came twice"),
        }))
    }

    /// Compares what came again with what it was; true when one differs, so that hashing has to begin there.
    async fn compare(&mut self, context: &JobContext, transfer: &FileTransfer) -> Result<bool, JobStop> {
        let mut first = None;
        let came_from = transfer.came_from();
        for (suspect, before) in std::mem::take(&mut self.wave) {
            let differs = before != check_now(context, transfer, suspect.range).await?;
            if differs {
                first = first
                    .into_iter()
                    .chain([suspect.range.start / blocks::BLOCK_BYTES])
                    .min();
                self.versions.push((suspect, before));
            }
            // Of two versions one is wrong, and nobody knows which. Of bytes without a source nobody knew whom to ask.
            let again = self.again.entry(suspect.range.start).or_default();
            *again += 1;
            if (differs || suspect.source.is_none()) && *again < context.endpoints.len() {
                self.doubted.extend(blocks::pieces(suspect.range, &came_from));
            }
        }
        if let Some(first) = first {
            transfer.frontier.rewind(first).await;
        }
        Ok(first.is_some())
    }

    /// Gives up the next suspects, so that they are fetched again, from another source where there is one. False when there
    /// are none left.
    async fn next_wave(
        &mut self,
        context: &JobContext,
        transfer: &FileTransfer,
        retry: &mut Retry,
    ) -> Result<bool, JobStop> {
        if transfer.in_one_piece {
            return Ok(false);
        }
        let size = transfer.file.size;
        let queue = self.queue.get_or_insert_with(|| {
            let distrust = |access: &super::shared::EndpointAccess| u32::from(access.trust != Trust::Origin);
            let distrust: Vec<u32> = context.endpoints.iter().map(distrust).collect();
            suspects(size, &transfer.came_from(), &distrust).into()
        });
        queue.extend(std::mem::take(&mut self.doubted));
        let Some(source) = queue.front().map(|suspect| suspect.source) else {
            return Ok(false);
        };
        let most = FIRST_WAVE << self.waves.min(16);
        self.waves += 1;
        let mut wave = Vec::new();
        while let Some(suspect) = queue.pop_front_if(|suspect| suspect.source == source && wave.len() < most) {
            wave.push(suspect);
        }
        for suspect in wave {
            let before = check_now(context, transfer, suspect.range).await?;
            self.wave.push((suspect, before));
        }
        retry.leave_out(source);
        let ranges = self.wave.iter().map(|(suspect, _)| suspect.range).collect();
        give_up(context, transfer, ranges, source).await?;
        tracing::info!(job = %context.id, file = %transfer.file.path, pieces = self.wave.len(), "suspect bytes are fetched again");
        Ok(true)
    }

    /// Names those who sent what was wrong, and asks them no more for this file.
    async fn blame(&mut self, context: &JobContext, transfer: &FileTransfer, retry: &mut Retry) -> Result<(), JobStop> {
        let mut by_source: BTreeMap<Option<usize>, RangeSet> = BTreeMap::new();
        for (suspect, sent_as) in std::mem::take(&mut self.versions) {
            // The file is right: what was something else was wrong.
            if sent_as != check_now(context, transfer, suspect.range).await? {
                by_source.entry(suspect.source).or_default().add(suspect.range);
            }
        }
        for (source, wrong) in by_source {
            let who = match source {
                Some(index) => {
                    retry.lied(index);
                    transfer.source_name(context, index)
                }
                None => "an earlier run".to_owned(),
            };
            let text = format!(
                "wrong bytes of {} came from {who}: {}; they were fetched again{}, and nothing was published before all were right",
                transfer.file.path.as_str().escape_debug(),
                named(&wrong),
                match source {
                    Some(_) if context.endpoints.len() > 1 => " elsewhere, it is not asked for this file any more",
                    _ => "",
                },
            );
            warn(context, transfer, text).await?;
        }
        Ok(())
    }
}

/// A block of a partial file is not what was written there: it is fetched again.
pub(super) async fn changed_on_disk(context: &JobContext, transfer: &FileTransfer, block: u64) -> Result<(), JobStop> {
    let size = transfer.file.size;
    let changed = blocks::range(block, size);
    give_up(context, transfer, vec![changed], None).await?;
    let text = format!(
        "the partial file of {} was changed or damaged on the disk: {}; what is damaged is fetched again, and nothing was published",
        transfer.file.path.as_str().escape_debug(),
        named(&[changed].into_iter().collect()),
    );
    warn(context, transfer, text).await
}

/// Takes ranges for not written. The journal forgets them before they can be written again.
async fn give_up(
    context: &JobContext,
    transfer: &FileTransfer,
    ranges: Vec<ByteRange>,
    from: Option<usize>,
) -> Result<(), JobStop> {
    for range in ranges {
        transfer.forget(range, from);
    }
    checkpoint::claim_anew(context, transfer).await?;
    transfer.linked.notify_one();
    Ok(())
}

async fn warn(context: &JobContext, transfer: &FileTransfer, text: String) -> Result<(), JobStop> {
    tracing::warn!(job = %context.id, "{text}");
    let store = &context.shared.store;
    store.warn(&context.id, transfer.file.path.to_string(), text).await?;
    Ok(())
}

/// Where the wrong bytes lie, for people: blocks of them, for more is not known.
fn named(wrong: &RangeSet) -> String {
    let ranges = wrong.ranges();
    let mut names: Vec<String> = ranges
        .iter()
        .take(NAMED)
        .map(|range| format!("{} from byte {} on", show_bytes(range.len()), range.start))
        .collect();
    if ranges.len() > NAMED {
        names.push(format!("and {} more places", ranges.len() - NAMED));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_shortly() {
        let set = |blocks: &[u64]| -> RangeSet { blocks.iter().map(|block| blocks::range(*block, 1 << 30)).collect() };
        assert_eq!(
            named(&set(&[1, 2, 9])),
            "32.0 MiB from byte 16777216 on, 16.0 MiB from byte 150994944 on"
        );
        let many: Vec<u64> = (0..20).step_by(2).collect();
        assert!(named(&set(&many)).ends_with("and 6 more places"));
    }
}

//! Bytes that came more than once, as the Hubs' journals tell it, and whether there was a cause.

use std::{collections::BTreeMap, ops::Range};

use anyhow::ensure;

use crate::sim::{Ending, Journal, Record, SimHub};

/// What judges an endpoint is a part from the middle of a file, of this size at most; what proves access is one byte. Nobody
/// keeps them.
const JUDGING: u64 = 64 << 10;
/// What may lie in the sockets of a connection to a daemon that has no time to read.
const IN_SOCKETS: u64 = 2 << 20;

/// Bytes of a file that were sent in one of a Hub's first `count` answers, and in a later one again: what an interruption
/// has cost. What connections that share a tail have cost beside it is not in it.
pub fn sent_again(hub: &SimHub, file: &str, count: u64) -> u64 {
    let sent = hub.journal().filter(|record| record.file.as_deref() == Some(file));
    let (before, after): (Vec<_>, Vec<_>) = sent.into_iter().partition(|record| record.seq < count);
    let pairs = after
        .iter()
        .flat_map(|late| before.iter().map(move |early| (&early.sent, &late.sent)));
    pairs
        .map(|(early, late)| early.end.min(late.end).saturating_sub(early.start.max(late.start)))
        .sum()
}

/// Bytes of a file that were sent in a Hub's answers from the `count`-th on, each counted once.
pub fn sent_since(hub: &SimHub, file: &str, count: u64) -> u64 {
    let sent = hub.journal().filter(|record| record.file.as_deref() == Some(file));
    let late = sent.into_iter().filter(|record| record.seq >= count);
    let mut ranges: Vec<Range<u64>> = late.map(|record| record.sent).collect();
    ranges.sort_by_key(|range| range.start);
    let mut counted = 0;
    let mut end = 0;
    for range in ranges {
        counted += range.end.saturating_sub(range.start.max(end));
        end = end.max(range.end);
    }
    counted
}

/// Files of which bytes came twice without a cause: in two answers that were sent to their ends, of whatever Hub, where no
/// fault struck any answer about the file. A connection that is helped, paused, stopped or killed ends before its end; or
/// what is left of its answer lies in sockets, and comes again.
pub(super) fn once(hubs: &[&SimHub]) -> Vec<String> {
    let mut files: BTreeMap<(String, String), Vec<Record>> = BTreeMap::new();
    for record in hubs.iter().flat_map(|hub| hub.journal().records()) {
        if let (Some(repo), Some(file)) = (&record.repo, &record.file) {
            files.entry((repo.clone(), file.clone())).or_default().push(record);
        }
    }
    let twice = |((repo, file), records): ((String, String), Vec<Record>)| {
        if records.iter().any(|record| !record.faults.is_empty()) {
            return None;
        }
        let mut whole: Vec<&Record> = records.iter().filter(|record| is_whole(record)).collect();
        whole.sort_by_key(|record| record.sent.start);
        let mut before = 0..0;
        let overlap = whole.into_iter().find(|record| {
            let Range { start, end } = record.sent;
            let again = before.end.min(end).saturating_sub(start);
            let is_shared = start > before.start && again <= IN_SOCKETS;
            if end > before.end {
                before = start..end;
            }
            again > 0 && !is_shared
        })?;
        let text: String = records.iter().map(|record| record.line() + "\n").collect();
        let (repo, file, seq) = (repo.escape_debug(), file.escape_debug(), overlap.seq);
        Some(format!("{repo}/{file} came twice without a cause, see #{seq}:\n{text}"))
    };
    files.into_iter().filter_map(twice).collect()
}

fn is_whole(record: &Record) -> bool {
    let Range { start, end } = record.sent;
    let judges = start > 0 && end - start <= JUDGING;
    record.ending == Ending::Complete && (200..300).contains(&record.status) && end - start > 1 && !judges
}

/// Fails unless, of every answer about a file that broke off in its body, something was kept: somebody asked for the rest
/// from behind its beginning. For tests whose connections do not help each other (`-x 1`).
///
/// # Errors
/// With the answer that was thrown away.
pub fn kept(journal: &Journal, file: &str) -> anyhow::Result<()> {
    let about = journal.filter(|record| record.file.as_deref() == Some(file));
    let broken = about
        .iter()
        .filter(|record| !record.faults.is_empty() && !record.sent.is_empty())
        .filter(|record| range(record).is_some_and(|(_, last)| record.sent.end <= last));
    for one in broken {
        let goes_on = |later: &&Record| {
            later.seq > one.seq
                && range(later).is_some_and(|(begin, _)| one.sent.start < begin && begin <= one.sent.end)
        };
        ensure!(
            about.iter().any(|later| goes_on(&later)),
            "what came was thrown away: {}\n{}",
            one.line(),
            journal.text()
        );
    }
    Ok(())
}

/// The first and the last byte that a request is for.
fn range(record: &Record) -> Option<(u64, u64)> {
    let (first, last) = record.range()?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

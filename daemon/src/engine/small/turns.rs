//! Small files that other jobs are working on.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, timeout_at};

use crate::{
    cache,
    engine::{shared::JobContext, stop::JobStop, takeover::wait_for_another, turns::Turn},
    model::FileRecord,
};

/// Files that others leave to this job come together.
const TOGETHER: Duration = Duration::from_secs(1);

/// Waits until the other jobs that worked on these files have ended with them, or have left some of them to this one: those come
/// with their turns. Who has one waits no longer for the others: two jobs never wait for each other.
pub(in crate::engine) async fn wait_for_others(
    context: Arc<JobContext>,
    store: Arc<cache::Store>,
    files: Vec<FileRecord>,
) -> Result<Vec<(FileRecord, Option<Turn>)>, JobStop> {
    let wait = async |number: usize, file: &FileRecord| (number, wait_for_another(&context, &store, file).await);
    let mut waits: FuturesUnordered<_> = files
        .iter()
        .enumerate()
        .map(|(number, file)| wait(number, file))
        .collect();
    let mut turns: Vec<Option<Turn>> = files.iter().map(|_| None).collect();
    let mut until = None;
    loop {
        let next = match until {
            Some(until) => timeout_at(until, waits.next()).await.unwrap_or(None),
            None => waits.next().await,
        };
        let Some((number, waited)) = next else { break };
        turns[number] = waited?;
        if turns[number].is_some() {
            until.get_or_insert(Instant::now() + TOGETHER);
        }
    }
    drop(waits);
    Ok(files.into_iter().zip(turns).collect())
}

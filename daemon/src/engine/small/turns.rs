//! Small files that other jobs are working on.

use std::sync::Arc;

use crate::{
    cache,
    engine::{shared::JobContext, stop::JobStop},
    model::FileRecord,
};

/// Waits until the other jobs that worked on these files have ended with them. It holds nothing meanwhile, so two jobs never
/// wait for each other.
pub(in crate::engine) async fn wait_for_others(
    context: Arc<JobContext>,
    store: Arc<cache::Store>,
    files: Vec<FileRecord>,
) -> Result<Vec<FileRecord>, JobStop> {
    for file in &files {
        let turn = context.shared.turns.take(store.staging_key(&file.digest));
        drop(context.unless_stopped(turn).await?);
    }
    Ok(files)
}

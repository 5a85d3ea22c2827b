//! Small files that other jobs are working on.

use std::sync::Arc;

use crate::{
    cache,
    engine::{shared::JobContext, stop::JobStop, takeover::wait_for_another},
    model::FileRecord,
};

/// Waits until the other jobs that worked on these files have ended with them, or left them. It holds nothing meanwhile, so two
/// jobs never wait for each other.
pub(in crate::engine) async fn wait_for_others(
    context: Arc<JobContext>,
    store: Arc<cache::Store>,
    files: Vec<FileRecord>,
) -> Result<Vec<FileRecord>, JobStop> {
    for file in &files {
        drop(wait_for_another(&context, &store, file).await?);
    }
    Ok(files)
}

//! The threads that hash, write and sync: apart from those that serve the network and callers, and behind everyone else's in
//! priority, so that a machine that computes something is not slowed by what it will need tomorrow.

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use crate::cache;

/// A disk that hangs keeps its threads; the others must find some. Writers of one file wait for each other in the kernel
/// anyway.
const THREADS: usize = 24;

/// Threads of low priority for blocking work; those of tokio where the system gives none. Dropped, it leaves behind what
/// hangs.
pub(super) struct DiskPool(Option<Runtime>);

impl DiskPool {
    /// No thread yet: they come as they are needed, and go when idle.
    pub(super) fn new() -> Self {
        // Its only use are its blocking threads: nothing async ever runs on it.
        let runtime = Builder::new_current_thread()
            .thread_name("hfetch-disk")
            .max_blocking_threads(THREADS)
            .on_thread_start(cache::stand_back)
            .build();
        Self(
            runtime
                .map_err(|error| tracing::warn!(%error, "disk work runs at normal priority"))
                .ok(),
        )
    }

    /// Runs blocking work; the caller waits for it.
    pub(super) fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        }
    }

    /// Runs blocking work and waits for it. A panic there is a panic here.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.spawn(work).await {
            Ok(value) => value,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only while the pool is being torn down; nobody waits for the answer then.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for DiskPool {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Not waited for: the last owner may well be an async task.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_threads_stand_back_and_ours_do_not() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let pool = DiskPool::new();
        assert_eq!(pool.run(niceness).await, before.max(10), "on a thread of the pool");
        assert_eq!(niceness(), before, "on this one");
        drop(pool);
    }
}

//! The threads that hash, write and sync: apart from those that serve the network and callers, and behind everyone else's in
//! priority, so that a machine that computes something is not slowed by what it will need tomorrow.

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use crate::cache;

/// A disk that hangs keeps its threads; the others must find some. Writers of one file wait for each other in the kernel
/// anyway.
const DISK_THREADS: usize = 24;
/// How far writing and syncing stands back: a third of a core when others want all of it. Not more, for the network is read
/// no faster than the disk takes it.
const DISK_NICENESS: i32 = 5;
/// How far hashing stands back: a tenth. It may lag, and catches up. As little as writing would be 5 % quicker after a kill, and
/// was felt by everything that keeps to a rate on a busy machine.
const HASHING_NICENESS: i32 = 10;

/// Threads of low priority for blocking work; those of tokio where the system gives none. Dropped, it leaves behind what
/// hangs.
pub(super) struct DiskPool(Option<Runtime>);

impl DiskPool {
    /// For writing and syncing. No thread yet: they come as they are needed, and go when idle.
    pub(super) fn for_writing() -> Self {
        Self::new("hfetch-disk", DISK_THREADS, DISK_NICENESS)
    }

    /// For hashing on so many threads, and for the rare steps that may hash.
    pub(super) fn for_hashing(threads: usize) -> Self {
        Self::new("hfetch-hash", threads + DISK_THREADS, HASHING_NICENESS)
    }

    fn new(name: &str, threads: usize, niceness: i32) -> Self {
        // Its only use are its blocking threads: nothing async ever runs on it.
        let runtime = Builder::new_current_thread()
            .thread_name(name)
            .max_blocking_threads(threads)
            .on_thread_start(move || cache::stand_back(niceness))
            .build();
        let failed = |error| tracing::warn!(%error, name, "work on files runs at normal priority");
        Self(runtime.map_err(failed).ok())
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
        for (pool, least) in [(DiskPool::for_writing(), 5), (DiskPool::for_hashing(2), 10)] {
            assert_eq!(pool.run(niceness).await, before.max(least), "on a thread of the pool");
            assert_eq!(niceness(), before, "on this one");
        }
    }
}

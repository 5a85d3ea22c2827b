//! What the files of a job are begun with: reads them from the plan, hands them out to workers, takes in what came of it.

use tokio::{task::JoinError, time::Instant};

use super::{
    dispatcher::{ActiveJob, Dispatcher, Work},
    finish,
    lane::Step,
    small,
    stop::JobStop,
    takeover::wait_for_another,
    transfer::{self, Carried, Published},
    turns::Turn,
};
use crate::model::{FileId, FileRecord, JobId};

/// Files read from a plan at a time.
const FILES_PAGE: u32 = 500;
/// Files that wait in memory for their turn, beyond which no more are read.
const FILES_READ: usize = 5000;
/// Small files in transfer for each large one that may be, unless the user says how many: their time is that of a round
/// trip, not of a line.
const SMALL_WORKERS: usize = 4;
/// Large files of a job that may wait for other jobs at a time.
const WAITING_LARGE: usize = 64;
/// Bytes of small files in memory, of all jobs together.
const SMALL_MEMORY: u64 = 24 << 20;

/// What workers brought, sorted.
#[derive(Default)]
pub(super) struct Sorted {
    /// Files that are in their places.
    pub(super) published: Vec<(JobId, Published)>,
    pub(super) others: Vec<(JobId, Result<Work, JoinError>)>,
    /// Jobs that may go on.
    pub(super) going_on: Vec<JobId>,
}

impl ActiveJob {
    /// Files of the plan are pending again that were done.
    pub(super) fn read_again(&mut self) {
        self.finishing = false;
        self.all_read = false;
        self.last_read = FileId(0);
    }

    /// It has read so few files ahead that something may have to wait for the next page.
    fn wants_page(&self) -> bool {
        let ahead = self.files.len() + self.lane.waiting_files();
        !self.all_read && (self.files.is_empty() || self.lane.is_hungry()) && ahead < FILES_READ
    }

    /// The next large file was left to this job by another.
    fn is_left_one(&self) -> bool {
        self.files.front().is_some_and(|(_, turn)| turn.is_some())
    }

    /// Whether one more large file may be begun, and how many small ones may be in transfer.
    fn workers(&self, default: usize) -> (bool, usize) {
        let Some(given) = self.context.spec.max_workers else {
            return (self.transfers < default, default * SMALL_WORKERS);
        };
        let given = given.max(1) as usize;
        let small_wait = self.lane.wants_workers();
        // One that waits for another job's file may have it any moment.
        let large_wait = self.transfers > 0 || !self.files.is_empty() || self.waiting_large > 0;
        // Neither kind keeps the other out, where there is room for both.
        let kept_for_small = match (small_wait, given) {
            (false, _) => 0,
            (true, 1) => 1,
            (true, _) => self.lane.fetching().max(1),
        };
        let kept_for_large = match (large_wait, given) {
            (false, _) | (true, 1) => self.transfers,
            (true, _) => self.transfers.max(1),
        };
        (
            self.transfers + kept_for_small < given,
            given.saturating_sub(kept_for_large),
        )
    }
}

impl Dispatcher {
    /// Begins files while the job may have more of them in transfer.
    pub(super) async fn start_files(&mut self, id: &JobId) {
        let default_workers = self.shared.config().transfer.max_workers.max(1) as usize;
        loop {
            let memory = SMALL_MEMORY / (self.jobs.len().max(1) as u64);
            let Some(active) = self.jobs.get_mut(id) else { return };
            if active.plan.is_none() || active.ending.is_some() {
                return;
            }
            if active.wants_page() {
                match self.read_page(id).await {
                    Ok(()) => continue,
                    Err(stop) => return self.end(id, stop).await,
                }
            }
            let (large, small) = active.workers(default_workers);
            if let Some(step) = active.lane.next(small, memory, Instant::now()) {
                self.begin(id, step);
            } else if large
                && (active.waiting_large < WAITING_LARGE || active.is_left_one())
                && let Some((file, turn)) = active.files.pop_front()
            {
                self.begin_large(id, file, turn);
            } else {
                // Without a place for it now, nobody else is kept from it.
                for (_, turn) in active.files.iter_mut().take_while(|(_, turn)| turn.is_some()) {
                    *turn = None;
                }
                break;
            }
        }
        self.finish_when_done(id).await;
    }

    async fn read_page(&mut self, id: &JobId) -> Result<(), JobStop> {
        let Some(active) = self.jobs.get(id) else { return Ok(()) };
        let (row, last_read) = (active.context.row, active.last_read);
        let files = self.shared.store.pending_files(row, last_read, FILES_PAGE).await?;
        if let Some(active) = self.jobs.get_mut(id) {
            active.all_read = files.len() < FILES_PAGE as usize;
            active.last_read = files.last().map_or(last_read, |file| file.id);
            for file in files {
                let large = active.lane.offer(file);
                active.files.extend(large.map(|file| (file, None)));
            }
        }
        Ok(())
    }

    fn begin_large(&mut self, id: &JobId, file: FileRecord, turn: Option<Turn>) {
        let Some(active) = self.jobs.get_mut(id) else { return };
        let Some(plan) = &active.plan else { return };
        let (context, store, commit) = (active.context.clone(), plan.store.clone(), plan.commit.clone());
        let turn = turn.or_else(|| self.shared.turns.try_take(store.staging_key(&file.digest)));
        if let Some(turn) = turn {
            active.transfers += 1;
            self.spawn(id, async move {
                match transfer::run(context, store, commit, file.clone(), turn).await {
                    Ok(Carried::Published(published)) => Work::File(file, Ok(published)),
                    Ok(Carried::Left) => Work::Left(file),
                    Err(stop) => Work::File(file, Err(stop)),
                }
            });
        } else {
            // It takes no worker's place meanwhile.
            active.waiting_large += 1;
            self.spawn(id, async move {
                let _stands_by = context.progress.stands_by();
                let waited = wait_for_another(&context, &store, &file).await;
                Work::Freed(file, waited)
            });
        }
    }

    fn begin(&mut self, id: &JobId, step: Step) {
        let Some(active) = self.jobs.get(id) else { return };
        let Some(plan) = &active.plan else { return };
        let (context, store, commit) = (active.context.clone(), plan.store.clone(), plan.commit.clone());
        match step {
            Step::Look(files) => self.spawn(id, async move {
                Work::Looked(small::look(context, store, commit, files).await.map(Box::new))
            }),
            Step::Wait(files) => self.spawn(id, async move {
                let _stands_by = context.progress.stands_by();
                Work::Waited(small::wait_for_others(context.clone(), store, files).await)
            }),
            Step::Fetch(wanted) => self.spawn(id, async move {
                let (file, fetched) = small::fetch(context, commit, wanted).await;
                Work::Fetched(file, fetched.map(|fetched| fetched.map(Box::new)))
            }),
            Step::Publish(batch) => self.spawn(id, async move {
                Work::Placed(small::publish(context, store, commit, batch).await)
            }),
        }
    }

    /// Brings small files to the disk that are still in memory; true when there are any. For jobs that are ending.
    pub(super) fn keep_small(&mut self, id: &JobId) -> bool {
        let Some(active) = self.jobs.get_mut(id) else {
            return false;
        };
        active.lane.close();
        let step = active.lane.publish().filter(|_| active.plan.is_some());
        let Some(step) = step else { return false };
        self.begin(id, step);
        true
    }

    /// Notes what a worker brought, for the job's further files.
    pub(super) fn take_in(&mut self, id: JobId, result: Result<Work, JoinError>, sorted: &mut Sorted) {
        let Some(active) = self.jobs.get_mut(&id) else { return };
        let gone = |stop| Ok(Work::Stopped(stop));
        match result {
            Ok(Work::File(file, outcome)) => {
                active.transfers -= 1;
                match outcome {
                    Ok(published) => sorted.published.push((id, published)),
                    Err(stop) => sorted.others.push((id, Ok(Work::File(file, Err(stop))))),
                }
            }
            Ok(Work::Left(file)) => {
                active.transfers -= 1;
                active.files.push_front((file, None));
                sorted.going_on.push(id);
            }
            Ok(Work::Freed(file, waited)) => {
                active.waiting_large -= 1;
                match waited {
                    Ok(turn) => {
                        // Those that were left to this job first: others wait for them.
                        let at = active.files.iter().take_while(|(_, turn)| turn.is_some()).count();
                        let turn = turn.filter(|_| active.ending.is_none());
                        active.files.insert(at, (file, turn));
                        sorted.going_on.push(id);
                    }
                    Err(stop) => sorted.others.push((id, gone(stop))),
                }
            }
            Ok(Work::Looked(Ok(mut looked))) => {
                for (_, published) in std::mem::take(&mut looked.reused) {
                    sorted.published.push((id.clone(), published));
                }
                for (file, stop) in std::mem::take(&mut looked.failed) {
                    sorted.others.push((id.clone(), Ok(Work::File(file, Err(stop)))));
                }
                active.lane.looked(Some(*looked));
                sorted.going_on.push(id);
            }
            Ok(Work::Looked(Err(stop))) => {
                active.lane.looked(None);
                sorted.others.push((id, gone(stop)));
            }
            Ok(Work::Waited(Ok(files))) => {
                active.lane.waited(files);
                sorted.going_on.push(id);
            }
            Ok(Work::Waited(Err(stop))) => {
                active.lane.waited(Vec::new());
                sorted.others.push((id, gone(stop)));
            }
            Ok(Work::Fetched(file, Ok(fetched))) => {
                let size = file.size;
                if fetched.is_none() {
                    active.lane.left(file);
                }
                active
                    .lane
                    .fetched(size, fetched.map(|fetched| *fetched), Instant::now());
                sorted.going_on.push(id);
            }
            Ok(Work::Fetched(file, Err(stop))) => {
                active.lane.fetched(file.size, None, Instant::now());
                let twins = active.lane.take_twins(&file.digest);
                if let JobStop::FileFailed(failure) = &stop {
                    // What cannot be had under one name cannot be had under another.
                    for twin in twins {
                        let stop = JobStop::FileFailed(failure.clone());
                        sorted.others.push((id.clone(), Ok(Work::File(twin, Err(stop)))));
                    }
                }
                sorted.others.push((id, Ok(Work::File(file, Err(stop)))));
            }
            Ok(Work::Placed(placed)) => {
                active.lane.published(placed.sizes.iter().copied());
                for (file, outcome) in placed.files {
                    match outcome {
                        Ok(published) => sorted.published.push((id.clone(), published)),
                        Err(stop) => sorted.others.push((id.clone(), Ok(Work::File(file, Err(stop))))),
                    }
                }
                sorted.going_on.push(id);
            }
            other => sorted.others.push((id, other)),
        }
    }

    async fn finish_when_done(&mut self, id: &JobId) {
        let Some(active) = self.jobs.get_mut(id) else { return };
        if active.tasks > 0 || active.finishing || active.ending.is_some() || !active.lane.is_empty() {
            return;
        }
        if let Some(failure) = active.file_failure.take() {
            return self.end(id, JobStop::JobFailed(failure)).await;
        }
        let Some(plan) = &active.plan else { return };
        active.finishing = true;
        let (context, store, commit) = (active.context.clone(), plan.store.clone(), plan.commit.clone());
        self.spawn(id, async move {
            Work::Finished(finish::finish_job(&context, store, commit).await)
        });
    }
}

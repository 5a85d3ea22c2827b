//! Who pays for what comes over the network: each job and each user's calls have an account, and what is counted there is
//! booked every second, with every claim, and at the end of a job.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    Engine, budgets,
    budgets::{BudgetView, Totals},
    error::CallError,
    progress::lock,
    shared::Shared,
    timing,
};
use crate::{
    hub::Ledger,
    model::{Booking, Job, JobId, Owner, Spent},
    store::{Asked, InHand, Scope, Store, StoreError},
};

/// What came is booked so often: a kill takes no more than this from the ledger.
const BOOK: Duration = Duration::from_secs(1);
/// What is booked is brought to where it survives a power cut so often.
const SETTLE: Duration = Duration::from_secs(30);
/// A budget looks back so far at most: a month, and a day for the zone.
const BUDGET_DAYS: i64 = 32;

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Payer {
    Job(JobId),
    /// The calls of a user outside of jobs.
    User(u32),
}

#[derive(Debug, Clone)]
struct Known {
    uid: u32,
    user: String,
    ledger: Arc<Ledger>,
}

/// The accounts.
#[derive(Debug, Default)]
pub(super) struct Ledgers {
    known: Mutex<HashMap<Payer, Known>>,
    /// Held while rows move from memory to a database, or from one to the other: who adds all up must not see a row twice,
    /// or never.
    moving: AsyncMutex<()>,
    /// How often settled rows were forgotten in their first place; changed while `moving` is held.
    forgotten: AtomicU64,
    /// What budgets count. Locked before the accounts: what leaves them is in here at once.
    totals: Mutex<Totals>,
    /// Bytes that a crash took from jobs: they come again.
    lost: Mutex<HashMap<JobId, u64>>,
}

impl Ledgers {
    /// The account of a job; begun when there is none.
    pub(super) fn of_job(&self, job: &Job) -> Arc<Ledger> {
        let begin = || Known {
            uid: job.owner.uid,
            user: job.owner.user.clone(),
            ledger: Arc::default(),
        };
        let mut known = lock(&self.known);
        let account = known.entry(Payer::Job(job.id.clone())).or_insert_with(begin);
        account.ledger.clone()
    }

    /// The account of a user's calls.
    pub(super) fn of_user(&self, uid: u32) -> Arc<Ledger> {
        let begin = || Known {
            uid,
            user: String::new(),
            ledger: Arc::default(),
        };
        lock(&self.known)
            .entry(Payer::User(uid))
            .or_insert_with(begin)
            .ledger
            .clone()
    }

    /// Bytes that a job lost by a crash; told once, to its figures, which are on the board by then.
    pub(super) fn take_lost(&self, id: &JobId) -> u64 {
        lock(&self.lost).remove(id).unwrap_or(0)
    }

    /// Closes the accounts of jobs that nobody works for, and that are booked at last.
    fn close_idle(&self) {
        let is_idle = |account: &Known| Arc::strong_count(&account.ledger) == 1 && account.ledger.read().is_empty();
        lock(&self.known).retain(|payer, account| matches!(payer, Payer::User(_)) || !is_idle(account));
    }

    /// To be held while rows move.
    pub(super) async fn moving(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.moving.lock().await
    }

    fn payers(&self, wanted: impl Fn(&Payer) -> bool) -> Vec<(Payer, Known)> {
        let known = lock(&self.known);
        let chosen = known.iter().filter(|(payer, _)| wanted(payer));
        chosen.map(|(payer, known)| (payer.clone(), known.clone())).collect()
    }

    fn take(&self, today: Date, wanted: impl Fn(&Payer) -> bool) -> Vec<Booking> {
        let mut totals = lock(&self.totals);
        let rows = self.rows(today, wanted, |ledger| ledger.take());
        totals.add(&rows);
        rows
    }

    /// Looks at what was taken and at what is counted since.
    pub(super) fn with_totals<T>(&self, today: Date, look: impl FnOnce(&Totals, &[Booking]) -> T) -> T {
        let totals = lock(&self.totals);
        look(&totals, &self.read(today, |_| true))
    }

    /// What came since the start, by the base address of the endpoint; it only grows.
    pub(super) fn since_start(&self, today: Date) -> BTreeMap<String, Spent> {
        self.with_totals(today, Totals::since_start)
    }

    /// What is counted and not booked.
    fn read(&self, today: Date, wanted: impl Fn(&Payer) -> bool) -> Vec<Booking> {
        self.rows(today, wanted, |ledger| ledger.read())
    }

    fn rows(
        &self,
        today: Date,
        wanted: impl Fn(&Payer) -> bool,
        of: impl Fn(&Ledger) -> Vec<crate::hub::RouteUse>,
    ) -> Vec<Booking> {
        let mut rows = Vec::new();
        for (payer, Known { uid, user, ledger }) in self.payers(wanted) {
            let job = match payer {
                Payer::Job(id) => id.to_string(),
                Payer::User(_) => String::new(),
            };
            let user = if user.is_empty() { uid.to_string() } else { user };
            rows.extend(of(&ledger).into_iter().map(|one| Booking {
                day: today,
                uid,
                user: user.clone(),
                job: job.clone(),
                route: one.route,
                spent: one.spent,
            }));
        }
        rows
    }

    /// Puts back what could not be booked.
    fn put_back(&self, rows: &[Booking]) {
        let mut totals = lock(&self.totals);
        totals.take_off(rows);
        let known = lock(&self.known);
        for row in rows {
            let payer = JobId::parse(&row.job).map_or(Payer::User(row.uid), Payer::Job);
            if let Some(account) = known.get(&payer) {
                account.ledger.put_back(&row.route, row.spent);
            }
        }
    }
}

/// The day that counts now.
pub(super) fn today(shared: &Shared) -> Date {
    let zone = timing::zone(&shared.config());
    zone.to_datetime(shared.clock.now()).date()
}

/// What jobs have of their files.
fn in_hand(shared: &Shared) -> Vec<(JobId, InHand)> {
    let has = |(id, bytes, again)| (id, InHand { bytes, again });
    let mut all: HashMap<JobId, InHand> = shared.board.in_hand().into_iter().map(has).collect();
    // Who has not begun again yet has lost it all the same.
    for (id, lost) in &*lock(&shared.ledgers.lost) {
        all.entry(id.clone()).or_default().again += lost;
    }
    all.into_iter().collect()
}

async fn book(shared: &Shared, wanted: impl Fn(&Payer) -> bool) {
    let _moving = shared.ledgers.moving().await;
    let rows = shared.ledgers.take(today(shared), wanted);
    if rows.is_empty() {
        return;
    }
    let booked = shared.store.book(rows.clone(), in_hand(shared)).await;
    if let Err(error) = booked {
        tracing::warn!(%error, "what came over the network is not booked yet");
        shared.ledgers.put_back(&rows);
    }
}

/// What came for a job and is not booked: to be booked by the caller, who gives it to [`not_booked`] when that fails.
pub(super) fn take_of_job(shared: &Shared, id: &JobId) -> Vec<Booking> {
    let payer = Payer::Job(id.clone());
    shared.ledgers.take(today(shared), |known| *known == payer)
}

pub(super) fn not_booked(shared: &Shared, rows: &[Booking]) {
    shared.ledgers.put_back(rows);
}

/// Books what came for a job.
pub(super) async fn book_job(shared: &Shared, id: &JobId) {
    let payer = Payer::Job(id.clone());
    book(shared, |known| *known == payer).await;
}

/// The same at the end of a job's work; its account is closed when nothing is left in it.
pub(super) async fn close_job(shared: &Shared, id: &JobId) {
    book_job(shared, id).await;
    let gone = Payer::Job(id.clone());
    lock(&shared.ledgers.known).retain(|payer, account| *payer != gone || !account.ledger.read().is_empty());
}

/// Books everything, and brings it to where it stays.
pub(super) async fn settle(shared: &Shared) {
    book(shared, |_| true).await;
    // Not while others wait: the disk's promise takes its time.
    let settled = shared.store.settle().await;
    let forgotten = match settled {
        Ok(Some(number)) => {
            let _moving = shared.ledgers.moving().await;
            shared.ledgers.forgotten.fetch_add(1, Relaxed);
            shared.store.forget_settled(number).await
        }
        settled => settled.map(drop),
    };
    if let Err(error) = forgotten {
        tracing::warn!(%error, "the ledger is brought up to date later");
    }
}

/// What a crash left: it is settled, and what jobs lost is noted, of those that go on and of those that wait.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn recovered(store: &Store, now: Timestamp) -> Result<Ledgers, StoreError> {
    if let Some(number) = store.settle().await? {
        store.forget_settled(number).await?;
    }
    let ledgers = Ledgers::default();
    let today = TimeZone::UTC.to_datetime(now).date();
    let first = today.checked_sub(BUDGET_DAYS.days()).unwrap_or(Date::MIN);
    let (_, booked) = store.in_ledger(Asked::Since(Scope::All, first)).await?;
    lock(&ledgers.totals).add_earlier(&booked);
    for (id, had) in store.in_hand().await? {
        let Ok(known) = JobId::parse(&id) else { continue };
        let job = match store.job(Scope::All, &known).await {
            Ok(job) if !job.state.is_final() => job,
            Ok(_) | Err(StoreError::NoSuchJob(_)) => continue,
            Err(error) => return Err(error),
        };
        let claimed: u64 = store.claimed(id).await?.values().sum();
        let lost = had.bytes.saturating_sub(job.bytes_done + claimed) + had.again;
        if lost > 0 {
            lock(&ledgers.lost).insert(job.id.clone(), lost);
        }
    }
    Ok(ledgers)
}

/// Books every second until the token is cancelled. What comes later is booked by the dispatcher, at its end.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut ticks = interval(BOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut settled = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if settled.elapsed() < SETTLE {
            book(&shared, |_| true).await;
        } else {
            settle(&shared).await;
            shared.ledgers.close_idle();
            settled = Instant::now();
        }
    }
}

/// What is stored, and what is counted and not booked yet: each byte once.
async fn stored_and_counted(
    shared: &Shared,
    asked: Asked,
    wanted: impl Fn(&Payer) -> bool,
) -> Result<(Vec<Booking>, Vec<Booking>), StoreError> {
    loop {
        // The ledger may be large and its readers many: nothing waits for them.
        let forgotten = shared.ledgers.forgotten.load(Relaxed);
        let (settled, mut rows) = shared.store.in_ledger(asked.clone()).await?;
        let _moving = shared.ledgers.moving().await;
        // Else something may have gone from the one place after the other was read.
        if shared.ledgers.forgotten.load(Relaxed) == forgotten {
            rows.extend(shared.store.unsettled(asked, settled).await?);
            return Ok((rows, shared.ledgers.read(today(shared), wanted)));
        }
    }
}

/// What came from a day on: what is stored, and what is counted and not booked yet.
pub(super) async fn since(shared: &Shared, scope: Scope, day: Date) -> Result<Vec<Booking>, StoreError> {
    let (mut rows, counted) = stored_and_counted(shared, Asked::Since(scope, day), |_| true).await?;
    rows.extend(counted.into_iter().filter(|row| match scope {
        Scope::All => true,
        Scope::Uid(uid) => row.uid == uid,
    }));
    name_users(shared, &mut rows).await?;
    Ok(rows)
}

/// A call outside of jobs knows its user by the number alone; the jobs know the names.
async fn name_users(shared: &Shared, rows: &mut [Booking]) -> Result<(), StoreError> {
    let mut names: HashMap<u32, String> = HashMap::new();
    for row in rows.iter_mut().filter(|row| row.user == row.uid.to_string()) {
        let name = match names.get(&row.uid) {
            Some(name) => name.clone(),
            None => {
                let found = shared.store.user_name(row.uid).await?;
                let name = found.unwrap_or_else(|| row.user.clone());
                names.insert(row.uid, name.clone());
                name
            }
        };
        row.user = name;
    }
    Ok(())
}

/// The account of a job.
pub(super) async fn of_job(shared: &Shared, id: &JobId) -> Result<Vec<Booking>, StoreError> {
    let payer = Payer::Job(id.clone());
    let (mut rows, counted) = stored_and_counted(shared, Asked::Job(id.clone()), |known| *known == payer).await?;
    rows.extend(counted);
    Ok(rows)
}

impl Engine {
    /// What came over the network from a local day on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage(&self, scope: Scope, since_day: Date) -> Result<Vec<Booking>, CallError> {
        Ok(since(&self.shared, scope, since_day).await?)
    }

    /// The budgets that a caller may see: those of the users in a scope who had anything this month, and those of endpoints.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn budgets(&self, scope: Scope, caller: &Owner) -> Result<Vec<BudgetView>, CallError> {
        let shared = &self.shared;
        let month = today(shared).first_of_month();
        let mut owners: BTreeMap<u32, Owner> = BTreeMap::from([(caller.uid, caller.clone())]);
        for Booking { uid, user, .. } in since(shared, scope, month).await? {
            owners.entry(uid).or_insert(Owner { uid, user });
        }
        let users = owners.values().filter_map(|owner| budgets::of_user(shared, owner));
        Ok(users.chain(budgets::of_endpoints(shared)).collect())
    }

    /// The local day by `bandwidth.timezone`, and the name of that zone.
    pub fn today(&self) -> (Date, String) {
        let zone = timing::zone(&self.config());
        let name = zone.iana_name().unwrap_or("UTC").to_owned();
        (today(&self.shared), name)
    }
}

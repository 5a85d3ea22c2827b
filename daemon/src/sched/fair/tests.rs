//! The promises of the allocator, under any commands, and shares in scenes that people will meet.

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn payer(user: UserKey, job: JobKey) -> Payer {
    Payer {
        user,
        job,
        caps: [None; 2],
    }
}

/// A connection in a scene: who it is, and how much it reads at a time.
#[derive(Debug, Clone, Copy)]
struct Reader {
    payer: Payer,
    chunk: u64,
    /// Bytes per second that the network gives it.
    speed: u64,
}

/// Readers that take what comes and pay for it, over simulated time. Gives the bytes of each.
fn run(allocator: &mut Allocator, readers: &[Reader], from: Duration, to: Duration) -> Vec<u64> {
    let mut got = vec![0; readers.len()];
    let mut waits: BTreeMap<Ticket, usize> = BTreeMap::new();
    // When the next chunk of each reader that does not wait is there.
    let mut ready: Vec<Option<Duration>> = vec![Some(from); readers.len()];
    let after =
        |now: Duration, reader: &Reader| now + Duration::from_secs(reader.chunk) / u32::try_from(reader.speed).unwrap();
    let mut now = from;
    while now < to {
        for (index, reader) in readers.iter().enumerate() {
            if ready[index].is_some_and(|at| at <= now) {
                got[index] += reader.chunk;
                match allocator.pay(now, reader.payer, reader.chunk) {
                    None => ready[index] = Some(after(now, reader)),
                    Some(ticket) => {
                        ready[index] = None;
                        waits.insert(ticket, index);
                    }
                }
            }
        }
        for ticket in allocator.serve(now) {
            let index = waits.remove(&ticket).unwrap();
            ready[index] = Some(after(now, &readers[index]));
        }
        now += MS;
    }
    waits.into_keys().for_each(|ticket| allocator.withdraw(to, ticket));
    got
}

fn reader(user: UserKey, job: JobKey, chunk: u64) -> Reader {
    Reader {
        payer: payer(user, job),
        chunk,
        speed: 1_000_000_000,
    }
}

/// Bytes per second of each user over ten seconds.
fn by_user(allocator: &mut Allocator, readers: &[Reader]) -> BTreeMap<UserKey, u64> {
    let start = Duration::from_secs(5);
    run(allocator, readers, start, start * 3)
        .iter()
        .zip(readers)
        .fold(BTreeMap::new(), |mut sums, (bytes, reader)| {
            *sums.entry(reader.payer.user).or_default() += bytes / 10;
            sums
        })
}

fn close_to(actual: u64, expected: u64, percent: u64) {
    assert!(
        actual.abs_diff(expected) * 100 <= expected * percent,
        "{actual} is not {expected}"
    );
}

#[test]
fn many_connections_get_no_more_than_one() {
    let mut allocator = Allocator::default();
    allocator.set_all(Duration::ZERO, Some(20_000_000));
    let mut readers = vec![reader(1, 1, 64 << 10)];
    readers.extend((0..64).map(|_| reader(2, 2, 16 << 10)));
    let rates = by_user(&mut allocator, &readers);
    close_to(rates[&1], 10_000_000, 5);
    close_to(rates[&2], 10_000_000, 5);
}

#[test]
fn weights_share_and_the_sum_is_the_limit() {
    let mut allocator = Allocator::default();
    allocator.set_all(Duration::ZERO, Some(70_000_000));
    for (user, weight) in [(1, 1), (2, 2), (3, 4)] {
        allocator.set_weight(user, weight);
    }
    let readers: Vec<Reader> = (1..=3)
        .flat_map(|user| (0..user * 4).map(move |_| reader(user, i64::from(user), 64 << 10)))
        .collect();
    let rates = by_user(&mut allocator, &readers);
    for (user, expected) in [(1, 10_000_000), (2, 20_000_000), (3, 40_000_000)] {
        close_to(rates[&user], expected, 3);
    }
}

#[test]
fn what_one_leaves_another_takes() {
    let mut allocator = Allocator::default();
    allocator.set_all(Duration::ZERO, Some(60_000_000));
    let terms = JobTerms {
        limit: Some(5_000_000),
        ..JobTerms::default()
    };
    allocator.set_job(Duration::ZERO, 2, 2, terms);
    let slow = Reader {
        speed: 1_000_000,
        ..reader(3, 3, 16 << 10)
    };
    let readers = [
        reader(1, 1, 64 << 10),
        reader(1, 1, 64 << 10),
        reader(2, 2, 64 << 10),
        slow,
    ];
    let rates = by_user(&mut allocator, &readers);
    close_to(rates[&2], 5_000_000, 3);
    close_to(rates[&3], 1_000_000, 8);
    close_to(rates[&1], 54_000_000, 3);
}

#[test]
fn priorities_are_shares_of_ones_own() {
    let mut allocator = Allocator::default();
    allocator.set_all(Duration::ZERO, Some(20_000_000));
    for (job, priority) in [
        (1, Priority::High),
        (2, Priority::Normal),
        (3, Priority::Low),
        (4, Priority::High),
    ] {
        let terms = JobTerms { priority, limit: None };
        allocator.set_job(Duration::ZERO, if job == 4 { 2 } else { 1 }, job, terms);
    }
    let readers: Vec<Reader> = (1..=4)
        .flat_map(|job| (0..4).map(move |_| reader(if job == 4 { 2 } else { 1 }, job, 32 << 10)))
        .collect();
    let bytes = run(
        &mut allocator,
        &readers,
        Duration::from_secs(1),
        Duration::from_secs(21),
    );
    let of_job = |job: i64| -> u64 {
        let mine = readers.iter().zip(&bytes).filter(|(reader, _)| reader.payer.job == job);
        mine.map(|(_, bytes)| bytes / 20).sum()
    };
    close_to(of_job(4), 10_000_000, 3);
    close_to(of_job(1), 10_000_000 * 81 / 91, 3);
    close_to(of_job(2), 10_000_000 * 9 / 91, 8);
    assert!(of_job(3) > 50_000, "the lowest gets something too: {}", of_job(3));
}

#[test]
fn limits_across_hold_beside_the_others() {
    let mut allocator = Allocator::default();
    allocator.set_all(Duration::ZERO, Some(30_000_000));
    allocator.set_cap(Duration::ZERO, 7, Some(4_000_000));
    let capped = |user| Reader {
        payer: Payer {
            caps: [Some(7), None],
            ..payer(user, i64::from(user))
        },
        ..reader(user, i64::from(user), 64 << 10)
    };
    let rates = by_user(
        &mut allocator,
        &[capped(1), capped(2), reader(3, 3, 64 << 10), reader(3, 3, 64 << 10)],
    );
    close_to(rates[&1] + rates[&2], 4_000_000, 5);
    close_to(rates[&1], 2_000_000, 10);
    close_to(rates[&3], 26_000_000, 3);
}

#[test]
fn who_was_held_for_long_does_not_take_all_afterwards() {
    let mut allocator = Allocator::default();
    allocator.set_all(Duration::ZERO, Some(20_000_000));
    let terms = |limit| JobTerms {
        limit,
        ..JobTerms::default()
    };
    allocator.set_job(Duration::ZERO, 1, 1, terms(Some(100_000)));
    let readers = [reader(1, 1, 64 << 10), reader(2, 2, 64 << 10), reader(2, 2, 64 << 10)];
    let minute = Duration::from_secs(60);
    run(&mut allocator, &readers, Duration::ZERO, minute);
    allocator.set_job(minute, 1, 1, terms(None));
    let after = run(&mut allocator, &readers, minute, minute + Duration::from_secs(2));
    close_to(after[1] + after[2], 20_000_000, 15);
}

#[test]
fn a_weight_of_one_beside_ten_thousand_is_served_within_seconds() {
    let mut allocator = Allocator::default();
    allocator.set_all(Duration::ZERO, Some(1_000_000));
    allocator.set_weight(1, 10_000);
    allocator.set_weight(2, 1);
    let readers = [reader(1, 1, 16 << 10), reader(1, 1, 16 << 10), reader(2, 2, 4 << 10)];
    let bytes = run(&mut allocator, &readers, Duration::ZERO, Duration::from_secs(2));
    // Its first chunk is paid for; the second has come.
    assert!(bytes[2] >= 8 << 10, "{bytes:?}");
}

#[test]
fn a_change_counts_at_once_in_both_directions() {
    let mut allocator = Allocator::default();
    allocator.set_all(Duration::ZERO, Some(100_000_000));
    let readers: Vec<Reader> = (0..8).map(|_| reader(1, 1, 64 << 10)).collect();
    run(&mut allocator, &readers, Duration::ZERO, Duration::from_secs(2));
    for (rate, from) in [(10_000_000_u64, 2_u64), (100_000_000, 3)] {
        let from = Duration::from_secs(from);
        allocator.set_all(from, Some(rate));
        let bytes: u64 = run(&mut allocator, &readers, from, from + MS * 250).iter().sum();
        close_to(bytes, rate / 4, 12);
    }
}

/// A command of the property test.
#[derive(Debug, Clone)]
enum Command {
    Pay(u8, u64),
    Withdraw(u8),
    All(Option<u64>),
    Cap(Option<u64>),
    Job(u8, Option<u64>, u8),
    Remove(u8),
    Wait(u16),
}

fn rate() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), (1_000_u64..5_000_000).prop_map(Some)]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        8 => (0_u8..6, 1_u64..100_000).prop_map(|(who, bytes)| Command::Pay(who, bytes)),
        1 => (0_u8..8).prop_map(Command::Withdraw),
        1 => rate().prop_map(Command::All),
        1 => rate().prop_map(Command::Cap),
        1 => (0_u8..6, rate(), 0_u8..3).prop_map(|(who, limit, class)| Command::Job(who, limit, class)),
        1 => (0_u8..6).prop_map(Command::Remove),
        4 => (0_u16..2000).prop_map(Command::Wait),
    ]
}

/// Bytes that a limit has allowed so far, kept by the test by itself.
struct Allowed {
    rate: Option<u64>,
    since: Duration,
    /// Over all times with a rate; `None` once it has been without.
    nanobytes: u128,
    granted: u128,
    most_debt: u128,
}

impl Allowed {
    fn new() -> Self {
        Self {
            rate: None,
            since: Duration::ZERO,
            nanobytes: 0,
            granted: 0,
            most_debt: 0,
        }
    }

    /// Begins anew under another rate; what was owed is allowed beforehand.
    fn set(&mut self, now: Duration, rate: Option<u64>) {
        if rate == self.rate {
            return;
        }
        self.rate = rate;
        self.since = now;
        self.nanobytes = 0;
        self.granted = 0;
    }

    fn check(&mut self, now: Duration, bytes: u64, largest: u64) -> Result<(), TestCaseError> {
        self.granted += u128::from(bytes);
        let Some(rate) = self.rate else { return Ok(()) };
        let came = (now - self.since).as_nanos() * u128::from(rate) / 1_000_000_000;
        let most = came + u128::from(burst(rate)) + u128::from(largest);
        prop_assert!(self.granted <= most, "{} granted, {most} allowed", self.granted);
        self.most_debt = self.most_debt.max(self.granted.saturating_sub(came));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Under any commands: no limit grants more than rate x time + burst + the one chunk that overdrew it; while somebody waits
    /// whose limits are all open, nothing is held back; every payment is granted, withdrawn or still waiting, once.
    #[test]
    fn grants_stay_within_every_limit_and_nothing_open_waits(commands in prop::collection::vec(command(), 1..200)) {
        let mut allocator = Allocator::default();
        let mut now = Duration::from_secs(1);
        let mut waiting: BTreeMap<Ticket, (u8, u64)> = BTreeMap::new();
        let (mut all, mut cap) = (Allowed::new(), Allowed::new());
        let largest = 100_000;
        let who_pays = |who: u8| Payer {
            caps: [who.is_multiple_of(2).then_some(1), None],
            ..payer(u32::from(who / 3), i64::from(who))
        };
        for command in commands {
            let mut granted = Vec::new();
            match command {
                Command::Pay(who, bytes) => match allocator.pay(now, who_pays(who), bytes) {
                    None => granted.push((who, bytes)),
                    Some(ticket) => prop_assert!(waiting.insert(ticket, (who, bytes)).is_none()),
                },
                Command::Withdraw(nth) => {
                    if let Some(ticket) = waiting.keys().nth(nth.into()).copied() {
                        waiting.remove(&ticket);
                        allocator.withdraw(now, ticket);
                        // It is counted without being granted: the limits owe less from here on, never more.
                    }
                }
                Command::All(rate) => {
                    allocator.set_all(now, rate);
                    all.set(now, rate);
                }
                Command::Cap(rate) => {
                    allocator.set_cap(now, 1, rate);
                    cap.set(now, rate);
                }
                Command::Job(who, limit, class) => {
                    let terms = JobTerms { priority: Priority::ALL[usize::from(class)], limit };
                    allocator.set_job(now, u32::from(who / 3), i64::from(who), terms);
                }
                Command::Remove(who) => {
                    allocator.remove_job(u32::from(who / 3), i64::from(who));
                    waiting.retain(|_, (waits, _)| *waits != who);
                }
                Command::Wait(ms) => now += MS * ms.into(),
            }
            for ticket in allocator.serve(now) {
                let ask = waiting.remove(&ticket);
                prop_assert!(ask.is_some(), "{ticket} was granted twice, or never asked for");
                granted.extend(ask);
            }
            for (who, bytes) in granted {
                all.check(now, bytes, largest)?;
                if who % 2 == 0 {
                    cap.check(now, bytes, largest)?;
                }
            }
            prop_assert!(allocator.serve(now).is_empty(), "all that is open was granted");
            match allocator.next() {
                None => prop_assert!(waiting.is_empty()),
                // Work conservation: what waits is waited for, and to the right moment.
                Some(next) => {
                    prop_assert!(!waiting.is_empty() && next > now);
                }
            }
        }
        // No starvation: everything that waits is granted in the end.
        while let Some(next) = allocator.next() {
            let granted = allocator.serve(next);
            prop_assert!(!granted.is_empty(), "woken for nothing");
            for ticket in granted {
                prop_assert!(waiting.remove(&ticket).is_some());
            }
        }
        prop_assert!(waiting.is_empty());
    }
}

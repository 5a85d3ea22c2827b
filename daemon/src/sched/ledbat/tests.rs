//! What the controller promises whatever it sees, and how it does on a line with a queue, alone and beside somebody else.

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn seen(load: f64) -> Seen {
    Seen {
        queueing: TARGET.mul_f64(load),
        base: Duration::from_millis(10),
        target: TARGET,
        stale: false,
    }
}

/// A line with a queue, we on it by several connections, and perhaps somebody else by one that takes what it can get.
struct Line {
    now: Duration,
    bytes_per_sec: f64,
    /// Without waiting.
    round_trip: Duration,
    /// Bytes that wait, and how many may.
    waiting: f64,
    room: f64,
    /// The other one's window in bytes, and whether it has lost a packet yet; `None`: nobody is there.
    other: Option<(f64, bool)>,
    /// His window does not grow beyond this.
    other_at_most: f64,
    backed_off: Duration,
    trips: RoundTrips,
    controller: Controller,
    cap: Option<u64>,
    /// Our servers have no more than this.
    ours_at_most: f64,
    /// What came for us in each step of the last second.
    lately: VecDeque<f64>,
}

/// Our share of a line that all have to fight for.
const OURS: f64 = 8.0 / 9.0;

impl Line {
    fn new(bytes_per_sec: f64, queue: Duration) -> Self {
        Self {
            now: Duration::ZERO,
            bytes_per_sec,
            round_trip: Duration::from_millis(20),
            waiting: 0.0,
            room: bytes_per_sec * queue.as_secs_f64(),
            other: None,
            other_at_most: f64::INFINITY,
            backed_off: Duration::ZERO,
            trips: RoundTrips::default(),
            controller: Controller::default(),
            cap: None,
            ours_at_most: f64::INFINITY,
            lately: VecDeque::new(),
        }
    }

    /// Ten milliseconds; gives what came for us and for the other one.
    fn step(&mut self) -> (f64, f64) {
        let dt = 0.01;
        self.now += 10 * MS;
        // Without a cap our connections take their share of the line and a little more, as TCP does.
        let wanted = match self.other {
            Some(_) => self.bytes_per_sec * OURS * 1.05,
            None => self.bytes_per_sec * 1.05,
        };
        let ours = wanted
            .min(self.ours_at_most)
            .min(self.cap.map_or(f64::INFINITY, |cap| cap as f64));
        let trip = self.round_trip.as_secs_f64() + self.waiting / self.bytes_per_sec;
        let other = self.other.map_or(0.0, |(window, _)| window / trip);
        let flow = ours + other;
        self.waiting += (flow - self.bytes_per_sec) * dt;
        let full = self.waiting >= self.room;
        self.waiting = self.waiting.clamp(0.0, self.room);
        if let Some((window, has_lost)) = &mut self.other {
            // Packets are lost: once in a round trip it goes down. Else it grows, and doubles as long as none was lost.
            if full && (self.now - self.backed_off).as_secs_f64() > trip {
                *window *= 0.7;
                (self.backed_off, *has_lost) = (self.now, true);
            } else if *has_lost {
                *window += (self.bytes_per_sec * self.round_trip.as_secs_f64() + self.room) * 0.15 * dt;
            } else {
                *window *= 2.0_f64.powf(dt / trip);
            }
            *window = window.min(self.other_at_most);
        }
        let through = if self.waiting > 0.0 {
            self.bytes_per_sec
        } else {
            flow.min(self.bytes_per_sec)
        };
        let came = through * dt * ours / flow.max(1.0);
        self.lately.push_back(came);
        if self.lately.len() > 100 {
            self.lately.pop_front();
        }
        if self.now.as_millis().is_multiple_of(500)
            || (self.trips.is_in_doubt() && self.now.as_millis().is_multiple_of(100))
        {
            let took = self.round_trip + Duration::from_secs_f64(self.waiting / self.bytes_per_sec);
            self.trips.add(self.now, took, Duration::ZERO);
            let rate = self.lately.iter().sum::<f64>() / (self.lately.len() as f64 * dt);
            self.cap = self.controller.update(self.now, self.trips.seen(self.now), whole(rate));
        }
        (came, through * dt * other / flow.max(1.0))
    }

    /// Shares of the line over a time: ours, and the other one's.
    fn run(&mut self, seconds: u32) -> (f64, f64) {
        let steps = seconds * 100;
        let sums = (0..steps)
            .map(|_| self.step())
            .fold((0.0, 0.0), |sum, step| (sum.0 + step.0, sum.1 + step.1));
        let all = self.bytes_per_sec * f64::from(seconds);
        (sums.0 / all, sums.1 / all)
    }
}

#[test]
fn alone_the_line_is_ours_and_beside_others_it_is_theirs() {
    for rate in [125e3, 2.5e6, 125e6] {
        for queue in [60, 100, 400] {
            let mut line = Line::new(rate, queue * MS);
            line.run(10);
            let (ours, _) = line.run(60);
            assert!(ours > 0.85, "{ours} of {rate} with a queue of {queue} ms");
            // Somebody comes: from a few seconds on he has what he would have had.
            line.other = Some((14_600.0, false));
            line.run(5);
            for _ in 0..3 {
                let (ours, theirs) = line.run(10);
                assert!(
                    theirs > 0.85 && ours < 0.15,
                    "{theirs} beside {ours} of {rate}, {queue} ms"
                );
            }
            // He goes: we are back within half a minute.
            line.other = None;
            line.run(30);
            let (ours, _) = line.run(30);
            assert!(ours > 0.85, "{ours} of {rate} afterwards");
        }
    }
}

/// A line that is full all the same, though packets of his wait for less than we would let them: his window is small, or he is
/// careful himself.
#[test]
fn somebody_who_keeps_the_queue_short_keeps_his_rate() {
    for rate in [125e3, 2.5e6, 125e6] {
        for waits in [10, 15, 20, 25, 40] {
            let mut line = Line::new(rate, 100 * MS);
            line.run(10);
            line.run(30);
            line.other_at_most = rate * (line.round_trip + waits * MS).as_secs_f64();
            line.other = Some((14_600.0, false));
            line.run(15);
            for _ in 0..3 {
                let (ours, theirs) = line.run(20);
                assert!(
                    theirs > 0.85 && ours < 0.15,
                    "{theirs} beside {ours} of {rate}, {waits} ms"
                );
            }
        }
    }
}

/// Without the controller it would be otherwise, or the test above says nothing.
#[test]
fn without_giving_way_others_have_little() {
    let mut line = Line::new(2.5e6, 100 * MS);
    line.controller.looked_at = Some(Duration::ZERO);
    line.other = Some((14_600.0, false));
    let mut theirs = 0.0;
    for _ in 0..1000 {
        line.cap = None;
        theirs += line.step().1;
    }
    assert!(theirs < 0.4 * 2.5e6 * 10.0, "{theirs}");
}

#[test]
fn a_busy_beginning_is_seen_through_by_looking_at_the_line_without_us() {
    // Our own packets wait before the first round trip is measured.
    let mut line = Line::new(2.5e6, 100 * MS);
    line.waiting = line.room;
    line.run(10);
    let base = line.trips.base().unwrap();
    assert!(base < 25 * MS, "{base:?}");
    // For hours the line is full by our own doing, and the quickest round trip is not forgotten.
    line.run(3 * 3600);
    let base = line.trips.base().unwrap();
    assert!(base < 25 * MS, "{base:?}");
}

#[test]
fn who_is_held_by_something_else_has_no_cap() {
    let mut line = Line::new(2.5e6, 100 * MS);
    line.run(20);
    assert!(line.cap.is_some());
    line.ours_at_most = 5e5;
    line.run(20);
    assert_eq!(line.cap, None);
    // And with nothing to see, nothing holds.
    line.ours_at_most = f64::INFINITY;
    line.run(20);
    assert!(line.cap.is_some());
    assert_eq!(line.controller.update(line.now, None, 0), None);
}

#[test]
fn one_late_round_trip_is_chance() {
    let mut trips = RoundTrips::default();
    let add = |trips: &mut RoundTrips, second: u64, millis: u64| {
        trips.add(
            Duration::from_secs(second),
            Duration::from_millis(millis),
            Duration::ZERO,
        );
    };
    for second in 0..3 {
        add(&mut trips, second, 10);
    }
    assert!(!trips.is_in_doubt() && !trips.seen(Duration::from_secs(3)).unwrap().stale);
    add(&mut trips, 3, 500);
    assert!(trips.is_in_doubt());
    assert_eq!(trips.queueing(), Some(Duration::ZERO));
    add(&mut trips, 4, 90);
    add(&mut trips, 5, 90);
    assert!(!trips.is_in_doubt());
    assert_eq!(trips.queueing(), Some(80 * MS));
    // Not seen for long, and in the end forgotten: the way may be another one.
    assert!(trips.seen(Duration::from_secs(200)).unwrap().stale);
    for minute in 1..40 {
        add(&mut trips, minute * 60, 90);
    }
    assert_eq!((trips.base(), trips.queueing()), (Some(90 * MS), Some(Duration::ZERO)));
    assert!(!trips.seen(Duration::from_secs(2400)).unwrap().stale);
    // What is new while packets wait elsewhere is not slow.
    let mut fresh = RoundTrips::default();
    fresh.add(Duration::ZERO, 90 * MS, 80 * MS);
    assert_eq!((fresh.base(), fresh.queueing()), (Some(10 * MS), Some(80 * MS)));
    // A long way varies more.
    let mut far = RoundTrips::default();
    far.add(Duration::ZERO, 400 * MS, Duration::ZERO);
    assert_eq!(far.seen(Duration::ZERO).unwrap().target, 50 * MS);
}

proptest! {
    /// Whatever is seen: it never goes up while packets wait too long, never down while they do not, never up by more than a
    /// quarter of the line in a second, and never below its least.
    #[test]
    fn it_goes_the_right_way(steps in prop::collection::vec((0_u64..2000, 0.0_f64..4.0, 0_u64..100_000_000), 1..200)) {
        let mut controller = Controller { looked_at: Some(Duration::ZERO), ..Controller::default() };
        let (mut now, mut before) = (LOOK, None::<u64>);
        for (millis, load, rate) in steps {
            now += Duration::from_millis(millis);
            let at_first = controller.clone();
            let cap = controller.update(now, Some(seen(load)), rate);
            // Beside our part of the line.
            let load = Controller { peak: controller.peak, ..at_first }.load(&seen(load), rate as f64);
            if let Some(cap) = cap {
                prop_assert!(cap as f64 >= controller.least() - 1.0);
            }
            match (before, cap) {
                (None, Some(_)) => prop_assert!(load > 1.0),
                (Some(_), None) => prop_assert!(load <= 1.0),
                (Some(before), Some(cap)) if load > 1.0 => {
                    prop_assert!(cap <= before || cap as f64 <= controller.least() + 1.0);
                }
                (Some(before), Some(cap)) => {
                    let most = before as f64 + RISE.1 * controller.peak * Duration::from_millis(millis).min(LONGEST_STEP).as_secs_f64();
                    prop_assert!(cap >= before && cap as f64 <= most.max(controller.least()) + 1.0);
                }
                (None, None) => {}
            }
            before = cap;
        }
    }

    /// The longer packets wait, the less we take.
    #[test]
    fn more_waiting_never_means_more_for_us(low in 0.0_f64..4.0, more in 0.0_f64..4.0, cap in 20_000_u32..100_000_000, rate in 0_u64..100_000_000) {
        let begin = Controller {
            looked_at: Some(Duration::ZERO),
            cap: Some(f64::from(cap)),
            at: Some(LOOK),
            ..Controller::default()
        };
        let next = |load| begin.clone().update(LOOK + 500 * MS, Some(seen(load)), rate);
        prop_assert!(next(low + more).unwrap_or(u64::MAX) <= next(low).unwrap_or(u64::MAX));
    }

    /// From wherever it is: a quarter of a minute of trouble leaves the least, and a minute without gives all back.
    #[test]
    fn trouble_and_quiet_both_end(cap in 20_000_u32..100_000_000, line in 1_000_000_u32..100_000_000) {
        let line = f64::from(line);
        let mut controller = Controller {
            looked_at: Some(Duration::ZERO),
            cap: Some(f64::from(cap)),
            peak: line,
            at: Some(LOOK),
            ..Controller::default()
        };
        let mut now = LOOK;
        let mut go = |controller: &mut Controller, load: f64, steps: u32| {
            for _ in 0..steps {
                now += 500 * MS;
                let rate = controller.cap.unwrap_or(line).min(line);
                controller.update(now, Some(seen(load)), whole(rate));
            }
            controller.cap
        };
        let least = go(&mut controller, 3.0, 30);
        prop_assert!(least.is_some_and(|cap| cap <= controller.least() + 1.0), "{least:?}");
        let back = go(&mut controller, 0.0, 120);
        prop_assert!(back.is_none_or(|cap| cap >= line), "{back:?} of {line}");
    }
}

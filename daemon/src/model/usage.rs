//! What came over the network, as it is booked and as it is told.

use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};

use jiff::civil::Date;

/// Requests and the bytes of their answers' bodies. Headers, TLS and what is sent are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Requests that were sent.
    pub requests: u64,
    /// Bytes that came, whatever became of them.
    pub bytes: u64,
    /// Those of them that were thrown away: wrong ones, refusals, what nobody asked for.
    pub wasted: u64,
    /// Those of them that were right and came more than once.
    pub repeated: u64,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.wasted = self.wasted.saturating_add(other.wasted);
        self.repeated = self.repeated.saturating_add(other.repeated);
    }
}

impl SubAssign for Spent {
    fn sub_assign(&mut self, other: Self) {
        self.requests = self.requests.saturating_sub(other.requests);
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.wasted = self.wasted.saturating_sub(other.wasted);
        self.repeated = self.repeated.saturating_sub(other.repeated);
    }
}

/// Where bytes came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficRoute {
    /// Base address of the endpoint that was asked, or that led to the host.
    pub endpoint: String,
    /// The host, with its port when it is not the usual one.
    pub host: String,
    /// `DIRECT`, or the name of a proxy.
    pub way: String,
    /// The rule that decided last.
    pub rule: String,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// The local day on which the bytes came.
    pub day: Date,
    /// Who pays.
    pub uid: u32,
    /// The user's name; the number in digits where no name was known.
    pub user: String,
    /// The job; empty for calls outside of jobs, and for jobs that are forgotten.
    pub job: String,
    /// From where.
    pub route: TrafficRoute,
    /// How much.
    pub spent: Spent,
}

/// What the lines of a report are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UsageBy {
    /// The local day.
    Day,
    /// The user.
    User,
    /// The endpoint.
    Endpoint,
    /// The host.
    Host,
    /// The way: directly, or by which proxy.
    Route,
}

/// A line of a report. What it is not told apart by is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageLine {
    /// The local day.
    pub day: Option<Date>,
    /// The user's name.
    pub user: Option<String>,
    /// Base address of the endpoint.
    pub endpoint: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// `DIRECT`, or the name of a proxy.
    pub way: Option<String>,
    /// How much.
    pub spent: Spent,
}

/// Adds bookings up, told apart by some keys; in the order of the keys' values.
pub fn report(bookings: &[Booking], by: &[UsageBy]) -> Vec<UsageLine> {
    // Digits sort before letters: the name, where one was known at any time.
    let mut names: BTreeMap<u32, &str> = BTreeMap::new();
    for booking in bookings {
        let name = names.entry(booking.uid).or_default();
        *name = (*name).max(&booking.user);
    }
    let mut lines: BTreeMap<_, Spent> = BTreeMap::new();
    for booking in bookings {
        let has = |key| by.contains(&key);
        let key = (
            has(UsageBy::Day).then_some(booking.day),
            has(UsageBy::User).then_some((names[&booking.uid], booking.uid)),
            has(UsageBy::Endpoint).then_some(booking.route.endpoint.as_str()),
            has(UsageBy::Host).then_some(booking.route.host.as_str()),
            has(UsageBy::Route).then_some(booking.route.way.as_str()),
        );
        *lines.entry(key).or_default() += booking.spent;
    }
    let mut told = Vec::with_capacity(lines.len());
    for ((day, user, endpoint, host, way), spent) in lines {
        told.push(UsageLine {
            day,
            user: user.map(|(name, _)| name.to_owned()),
            endpoint: endpoint.map(str::to_owned),
            host: host.map(str::to_owned),
            way: way.map(str::to_owned),
            spent,
        });
    }
    told
}

/// The sum of some bookings.
pub fn total(bookings: &[Booking]) -> Spent {
    let mut all = Spent::default();
    bookings.iter().for_each(|booking| all += booking.spent);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booking(day: i8, (uid, user): (u32, &str), host: &str, bytes: u64) -> Booking {
        Booking {
            day: Date::constant(2026, 3, day),
            uid,
            user: user.to_owned(),
            job: String::new(),
            route: TrafficRoute {
                endpoint: "https://hub".to_owned(),
                host: host.to_owned(),
                way: "DIRECT".to_owned(),
                rule: String::new(),
            },
            spent: Spent {
                requests: 1,
                bytes,
                wasted: 1,
                repeated: 0,
            },
        }
    }

    #[test]
    fn lines_are_told_apart_by_their_keys_alone() {
        let all = [
            booking(2, (7, "ann"), "cdn", 10),
            booking(1, (7, "7"), "hub", 20),
            booking(1, (8, "bob"), "hub", 40),
        ];
        let told = |by: &[UsageBy]| -> Vec<String> {
            let text = |line: UsageLine| {
                let day = line.day.map(|day| day.to_string());
                let parts = [day, line.user, line.endpoint, line.host, line.way];
                let parts: Vec<String> = parts.into_iter().flatten().collect();
                format!("{} {}/{}", parts.join(" "), line.spent.bytes, line.spent.wasted)
            };
            report(&all, by).into_iter().map(text).collect()
        };
        assert_eq!(told(&[]), [" 70/3"]);
        assert_eq!(told(&[UsageBy::Day]), ["2026-03-01 60/2", "2026-03-02 10/1"]);
        // One whose name was not known at first is one user all the same.
        assert_eq!(told(&[UsageBy::User]), ["ann 30/2", "bob 40/1"]);
        assert_eq!(
            told(&[UsageBy::Host, UsageBy::User]),
            ["ann cdn 10/1", "ann hub 20/1", "bob hub 40/1"]
        );
        assert_eq!(report(&[], &[UsageBy::Day]), []);
        assert_eq!((total(&all).requests, total(&all).bytes), (3, 70));
    }
}

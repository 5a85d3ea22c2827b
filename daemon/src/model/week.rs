//! Times of a week: the days, when a limit changes, when a window is open. Plain data; `sched::calendar` says what holds when.

/// Days of a week; Monday is the lowest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weekdays(u8);

impl Weekdays {
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);

    /// Whether a day is among them; 0 is Monday, 6 is Sunday.
    pub fn contains(self, days_from_monday: u8) -> bool {
        days_from_monday < 7 && self.0 & (1 << days_from_monday) != 0
    }

    /// From one day through another (0 is Monday), over Sunday if need be.
    pub fn through(first: u8, last: u8) -> Self {
        let count = (last % 7 + 7 - first % 7) % 7;
        Self((0..=count).fold(0, |days, step| days | 1 << ((first + step) % 7)))
    }
}

/// A limit in bytes per second, or when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// None at all.
    Off,
    /// Always the same.
    Rate(u64),
    /// In the order as written; what holds is the last change, and at the beginning of the week that of the last week.
    Timetable(Vec<Change>),
}

/// From this time on these days another limit holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The days.
    pub days: Weekdays,
    /// Minutes after midnight.
    pub minute: u16,
    /// Bytes per second; `None` is no limit.
    pub bytes_per_sec: Option<u64>,
}

/// A span of time on some days.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Period {
    /// The days on which it begins.
    pub days: Weekdays,
    /// Minutes after midnight.
    pub start_minute: u16,
    /// Minutes after midnight; 1440 is the day's end. Not after `start_minute`: on the next day.
    pub end_minute: u16,
}

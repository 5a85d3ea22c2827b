//! Bounds on what may come over the network in a day or a month. Plain data; `sched::budget` says what is left.

/// A bound on bytes that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// So many.
    pub bytes: u64,
    /// In this time.
    pub period: BudgetPeriod,
}

/// How often a budget begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetPeriod {
    /// At midnight.
    Day,
    /// At the midnight before the first.
    Month,
}

impl BudgetPeriod {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

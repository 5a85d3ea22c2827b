//! The situations that are measured.

use clap::ValueEnum;
use tokio::time::Duration;

pub(crate) const MIB: u64 = 1 << 20;
/// The repository of every row.
pub(crate) const REPO: &str = "bench/model";

/// One situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// One large file, no limit.
    Big,
    /// Eight shards, no limit.
    Shards,
    /// A limit for each connection.
    PerConnection,
    /// The same, and no more than four answers at a time.
    Refusing,
    /// A limit for all connections together.
    TotalCap,
    /// Thousands of small files, far away.
    Small,
    /// Every response is reset.
    Resets,
    /// One response in three stalls.
    Stalls,
    /// Killed in the middle, and once more.
    Kill,
    /// Two places with a limit each.
    TwoHubs,
    /// Everything is there already.
    Warm,
}

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// nginx: as fast as it goes.
    Nginx,
    /// One simulated Hub, with these further arguments.
    Sim(&'static [&'static str]),
    /// Two of them with the same repository.
    TwoSims(&'static [&'static str]),
}

impl Row {
    pub(crate) const ALL: [Self; 11] = [
        Self::Big,
        Self::Shards,
        Self::PerConnection,
        Self::Refusing,
        Self::TotalCap,
        Self::Small,
        Self::Resets,
        Self::Stalls,
        Self::Kill,
        Self::TwoHubs,
        Self::Warm,
    ];

    pub(crate) fn key(self) -> String {
        self.to_possible_value()
            .map_or(String::new(), |value| value.get_name().to_owned())
    }

    /// What a reader of the table is told.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Big => "one file of 2 GiB, no limit",
            Self::Shards => "8 shards of 256 MiB, no limit",
            Self::PerConnection => "256 MiB, 8 MB/s per connection",
            Self::Refusing => "the same, 503 beyond 4 connections",
            Self::TotalCap => "256 MiB through 50 MB/s in all",
            Self::Small => "3,000 files of 2-20 kB, 40 ms a request",
            Self::Resets => "512 MiB, every response reset at 8-64 MiB",
            Self::Stalls => "256 MiB, one response in three stalls for ever",
            Self::Kill => "SIGKILL at half of 1 GiB, the second run",
            Self::TwoHubs => "256 MiB, two hubs of 20 MB/s each",
            Self::Warm => "8 shards of 256 MiB, all there already",
        }
    }

    pub(crate) fn served(self) -> Served {
        match self {
            Self::Big | Self::Shards | Self::Warm => Served::Nginx,
            Self::PerConnection => Served::Sim(&["--connection-rate", "8MB"]),
            Self::Refusing => Served::Sim(&["--connection-rate", "8MB", "--max-answers", "4"]),
            Self::TotalCap => Served::Sim(&["--rate", "50MB"]),
            Self::Small => Served::Sim(&["--latency-ms", "40", "--direct"]),
            Self::Resets => Served::Sim(&["--reset-after", "8MiB-64MiB"]),
            Self::Stalls => Served::Sim(&["--stall-one-in", "3"]),
            Self::Kill => Served::Sim(&[]),
            Self::TwoHubs => Served::TwoSims(&["--rate", "20MB"]),
        }
    }

    /// Paths and sizes.
    pub(crate) fn files(self, divide: u64) -> Vec<(String, u64)> {
        let one = |bytes: u64| vec![("model.safetensors".to_owned(), bytes / divide)];
        match self {
            Self::Big => one(2048 * MIB),
            Self::Shards | Self::Warm => (1..=8)
                .map(|number| (format!("model-{number:05}-of-00008.safetensors"), 256 * MIB / divide))
                .collect(),
            Self::PerConnection | Self::Refusing | Self::TotalCap | Self::Stalls | Self::TwoHubs => one(256 * MIB),
            Self::Resets => one(512 * MIB),
            Self::Kill => one(1024 * MIB),
            // As sim-hub makes them.
            Self::Small => (0..3000 / divide)
                .map(|number| {
                    let length = 2000 + number * 7919 % 18_001;
                    (format!("data/{:03}/{number:06}.json", number / 1000), length)
                })
                .collect(),
        }
    }

    /// How long one run of one tool may take.
    pub(crate) fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Stalls => 40,
            Self::Small => 180,
            _ => 90,
        })
    }
}

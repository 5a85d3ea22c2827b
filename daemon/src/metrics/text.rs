//! The numbers as Prometheus reads them. One registry a scrape: what is told is what is, and nothing is kept here.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::prometheus_text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::engine::Figures;

/// Of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

type Labels = [(&'static str, String); 1];
type Whole = Gauge<u64, AtomicU64>;
type Seconds = Gauge<f64, AtomicU64>;

/// All of them.
pub(super) fn of(figures: &Figures) -> String {
    let mut registry = Registry::with_prefix("hfetch");
    daemon(&mut registry, figures);
    jobs(&mut registry, figures);
    endpoints(&mut registry, figures);
    disks(&mut registry, figures);
    let mut text = String::new();
    // A String takes everything.
    if let Err(error) = encode(&mut text, &registry) {
        tracing::error!(%error, "metrics cannot be written");
    }
    text
}

fn daemon(registry: &mut Registry, figures: &Figures) {
    gauges(
        registry,
        ("build_info", "The running version"),
        [("version", env!("CARGO_PKG_VERSION").to_owned(), 1)],
    );
    gauge(
        registry,
        ("download_bytes_per_second", "What all jobs together download now"),
        figures.bytes_per_sec,
    );
    // Without a limit there is no number for it.
    if let Some(limit) = figures.limit_bytes_per_sec {
        gauge(
            registry,
            ("limit_bytes_per_second", "The limit of all downloads together"),
            limit,
        );
    }
    let latency = Seconds::default();
    latency.set(figures.answered_in.as_secs_f64());
    let help = "In what time the scheduler and the database answered this scrape";
    registry.register("store_latency_seconds", help, latency);
}

fn jobs(registry: &mut Registry, figures: &Figures) {
    let open = figures
        .jobs
        .iter()
        .map(|(state, count)| ("state", state.to_string(), *count));
    gauges(registry, ("jobs", "Jobs that are not over, by state"), open);
    let held = figures.held.iter();
    let held = held.map(|(reason, count)| ("reason", reason.as_str().to_owned(), *count));
    gauges(registry, ("jobs_held", "Held jobs, by what they wait for"), held);
    let ended = figures
        .ended
        .iter()
        .map(|(state, count)| ("state", state.to_string(), *count));
    counters(registry, ("jobs_ended", "Jobs that ended, by their last state"), ended);
    let failed = figures
        .failed
        .iter()
        .map(|(kind, count)| ("kind", kind.to_string(), *count));
    counters(registry, ("jobs_failed", "Jobs that failed, by why"), failed);
}

fn endpoints(registry: &mut Registry, figures: &Figures) {
    let each = |of: fn(&crate::engine::EndpointFigures) -> u64| {
        let all = figures.endpoints.iter();
        all.map(move |(name, one)| ("endpoint", name.clone(), of(one)))
            .collect::<Vec<_>>()
    };
    counters(
        registry,
        ("requests", "Requests that were sent"),
        each(|one| one.spent.requests),
    );
    counters(
        registry,
        (
            "received_bytes",
            "Bytes of answers' bodies that came, whatever became of them",
        ),
        each(|one| one.spent.bytes),
    );
    counters(
        registry,
        (
            "wasted_bytes",
            "Those of them that were thrown away: wrong, refusals, not asked for",
        ),
        each(|one| one.spent.wasted),
    );
    counters(
        registry,
        (
            "repeated_bytes",
            "Those of them that were right and came more than once",
        ),
        each(|one| one.spent.repeated),
    );
    gauges(
        registry,
        ("connections", "Connections that bring bytes"),
        each(|one| one.connections.into()),
    );
    gauges(
        registry,
        ("connections_limit", "Connections that pay, as far as is found out"),
        each(|one| one.connections_limit.into()),
    );
}

fn disks(registry: &mut Registry, figures: &Figures) {
    let each = |of: fn(&(std::path::PathBuf, u64, u64)) -> u64| {
        let all = figures.disks.iter();
        all.map(move |disk| ("cache", disk.0.display().to_string(), of(disk)))
            .collect::<Vec<_>>()
    };
    gauges(
        registry,
        ("disk_free_bytes", "What is free where a cache is"),
        each(|disk| disk.1),
    );
    gauges(
        registry,
        ("disk_size_bytes", "The file system where a cache is"),
        each(|disk| disk.2),
    );
}

fn gauge(registry: &mut Registry, (name, help): (&str, &str), value: u64) {
    let gauge = Whole::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

type Labelled = (&'static str, String, u64);

fn gauges(registry: &mut Registry, (name, help): (&str, &str), values: impl IntoIterator<Item = Labelled>) {
    let family = Family::<Labels, Whole>::default();
    for (label, value, number) in values {
        family.get_or_create(&[(label, value)]).set(number);
    }
    registry.register(name, help, family);
}

fn counters(registry: &mut Registry, (name, help): (&str, &str), values: impl IntoIterator<Item = Labelled>) {
    let family = Family::<Labels, Counter>::default();
    for (label, value, number) in values {
        family.get_or_create(&[(label, value)]).inc_by(number);
    }
    registry.register(name, help, family);
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{
        engine::EndpointFigures,
        model::{FailureKind, HoldReason, JobState, Spent},
    };

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mirror = EndpointFigures {
            spent: Spent {
                requests: 3,
                bytes: 12,
                wasted: 2,
                repeated: 1,
            },
            connections: 4,
            connections_limit: 8,
        };
        let figures = Figures {
            jobs: vec![(JobState::Queued, 3), (JobState::Active, 0)],
            held: vec![(HoldReason::Disk, 2)],
            ended: vec![(JobState::Done, 7)],
            failed: vec![(FailureKind::Gated, 1)],
            endpoints: BTreeMap::from([("hf-mirror".to_owned(), mirror)]),
            bytes_per_sec: 5,
            limit_bytes_per_sec: Some(6),
            disks: vec![("/a \"b\"".into(), 7, 9)],
            answered_in: Duration::from_millis(1500),
        };
        let text = of(&figures);
        for line in [
            concat!("hfetch_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# TYPE hfetch_jobs gauge",
            "hfetch_jobs{state=\"queued\"} 3",
            "hfetch_jobs{state=\"active\"} 0",
            "hfetch_jobs_held{reason=\"disk\"} 2",
            "hfetch_jobs_ended_total{state=\"done\"} 7",
            "hfetch_jobs_failed_total{kind=\"gated\"} 1",
            "hfetch_requests_total{endpoint=\"hf-mirror\"} 3",
            "# TYPE hfetch_received_bytes_total counter",
            "hfetch_received_bytes_total{endpoint=\"hf-mirror\"} 12",
            "hfetch_wasted_bytes_total{endpoint=\"hf-mirror\"} 2",
            "hfetch_repeated_bytes_total{endpoint=\"hf-mirror\"} 1",
            "hfetch_connections{endpoint=\"hf-mirror\"} 4",
            "hfetch_connections_limit{endpoint=\"hf-mirror\"} 8",
            "hfetch_download_bytes_per_second 5",
            "hfetch_limit_bytes_per_second 6",
            "hfetch_disk_free_bytes{cache=\"/a \\\"b\\\"\"} 7",
            "hfetch_disk_size_bytes{cache=\"/a \\\"b\\\"\"} 9",
            "hfetch_store_latency_seconds 1.5",
        ] {
            assert!(text.lines().any(|printed| printed == line), "{line} is not in\n{text}");
        }
        assert!(
            !of(&Figures::default()).contains("limit_bytes"),
            "no limit is not a number"
        );
    }
}

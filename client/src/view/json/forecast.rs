//! JSON of what is foreseen for a job.

use jiff::Timestamp;
use serde::Serialize;

use super::{present, time};

/// Part of a job.
#[derive(Debug, Serialize)]
pub(super) struct ForecastJson {
    ready_by: Option<Timestamp>,
    forecast_at: Option<Timestamp>,
    late: bool,
    forecast: Option<String>,
}

impl ForecastJson {
    pub(super) fn new(
        ready_by: Option<prost_types::Timestamp>,
        forecast_at: Option<prost_types::Timestamp>,
        late: bool,
        forecast: String,
    ) -> ForecastJson {
        ForecastJson {
            ready_by: time(ready_by),
            forecast_at: time(forecast_at),
            late,
            forecast: present(forecast),
        }
    }
}

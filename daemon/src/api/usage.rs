//! `UsageService`.

use hfetch_proto::v1;
use jiff::{Span, civil::Date};
use tonic::{Request, Response, Status};

use super::{convert, identity::Caller};
use crate::{
    engine::{BudgetView, CallError, Engine},
    model::{
        Spent, UsageBy, UsageLine,
        usage::{report, total},
    },
};

/// Days of a report that says nothing of them.
const DAYS: u32 = 30;

pub(super) struct UsageApi {
    pub(super) engine: Engine,
}

fn by(number: i32) -> Result<UsageBy, CallError> {
    match v1::UsageKey::try_from(number) {
        Ok(v1::UsageKey::Day) => Ok(UsageBy::Day),
        Ok(v1::UsageKey::User) => Ok(UsageBy::User),
        Ok(v1::UsageKey::Endpoint) => Ok(UsageBy::Endpoint),
        Ok(v1::UsageKey::Host) => Ok(UsageBy::Host),
        Ok(v1::UsageKey::Route) => Ok(UsageBy::Route),
        Ok(v1::UsageKey::Unspecified) | Err(_) => Err(CallError::invalid("by", format!("{number} is no key"))),
    }
}

fn first_day(since: &str, days: u32, today: Date) -> Result<Date, CallError> {
    if !since.is_empty() {
        let first = since.parse();
        let first = first.map_err(|_| CallError::invalid("since", "is no day; write it as 2026-08-01"))?;
        return match first > today {
            true => Err(CallError::invalid(
                "since",
                format!("is a day to come; today is {today}"),
            )),
            false => Ok(first),
        };
    }
    let before = i64::from(if days == 0 { DAYS } else { days }) - 1;
    let first = Span::new().try_days(before).and_then(|span| today.checked_sub(span));
    first.map_err(|_| CallError::invalid("days", "reach back before the calendar begins"))
}

fn line(line: UsageLine) -> v1::UsageLine {
    let Spent {
        requests,
        bytes,
        wasted,
        repeated,
    } = line.spent;
    v1::UsageLine {
        day: line.day.map(|day| day.to_string()).unwrap_or_default(),
        user: line.user.unwrap_or_default(),
        endpoint: line.endpoint.unwrap_or_default(),
        host: line.host.unwrap_or_default(),
        way: line.way.unwrap_or_default(),
        requests,
        bytes,
        wasted_bytes: wasted,
        repeated_bytes: repeated,
    }
}

fn budget(view: BudgetView) -> v1::Budget {
    v1::Budget {
        name: view.name,
        of_endpoint: view.of_endpoint,
        budget_bytes: view.budget.bytes,
        used_bytes: view.used_bytes,
        period: view.budget.period.as_str().to_owned(),
        resets_at: Some(convert::timestamp(view.resets_at)),
    }
}

#[tonic::async_trait]
impl v1::usage_service_server::UsageService for UsageApi {
    async fn get_usage(&self, request: Request<v1::GetUsageRequest>) -> Result<Response<v1::GetUsageResponse>, Status> {
        let caller = Caller::of(&request)?;
        let scope = caller.scope();
        let request = request.into_inner();
        let keys = request.by.into_iter().map(by).collect::<Result<Vec<_>, _>>()?;
        let (today, timezone) = self.engine.today();
        let since = first_day(&request.since, request.days, today)?;
        let mut rows = self.engine.usage(scope, since).await?;
        if !request.user.is_empty() {
            rows.retain(|row| row.user == request.user || row.uid.to_string() == request.user);
        }
        let budgets = self.engine.budgets(scope, &caller.owner).await?;
        let all = UsageLine {
            spent: total(&rows),
            ..UsageLine::default()
        };
        Ok(Response::new(v1::GetUsageResponse {
            lines: report(&rows, &keys).into_iter().map(line).collect(),
            total: Some(line(all)),
            since: since.to_string(),
            until: today.to_string(),
            timezone,
            budgets: budgets.into_iter().map(budget).collect(),
        }))
    }
}

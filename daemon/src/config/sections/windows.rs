//! `[windows.NAME]`: times of the week that jobs can be bound to.

use std::collections::BTreeMap;

use crate::config::{
    section::Reader,
    settings::{Header, key_text},
    shape::{Checked, fault},
    tree::{Node, Table},
    values,
    week::{BadText, Part, parse_days, parse_time},
};
use crate::model::{Period, Weekdays};

/// One of `[windows]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowOptions {
    /// When it is open. Never empty.
    pub periods: Vec<Period>,
    /// Bytes per second while it is open; `None` is no limit.
    pub limit: Option<u64>,
}

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table) -> Option<BTreeMap<String, WindowOptions>> {
    let mut complete = true;
    let mut windows = BTreeMap::new();
    for (name, at, table) in reader.named(root, "windows") {
        let path = format!("windows.{}", key_text(&name));
        let header = Header::Table(vec!["windows".to_owned(), name.clone()]);
        let mut section = reader.open(header, "windows.NAME", path, at, table);
        let periods = section.read_required("periods", periods);
        let limit = section.read("limit", "off", values::rate);
        section.finish();
        match (periods, limit) {
            (Some(periods), Some(limit)) => {
                windows.insert(name, WindowOptions { periods, limit });
            }
            _ => complete = false,
        }
    }
    complete.then_some(windows)
}

fn periods(node: &Node) -> Checked<Vec<Period>> {
    let periods = values::each(node, |node| values::parsed(node, parse_period))?;
    match periods.is_empty() {
        true => Err(fault(node, "needs at least one, such as [\"Mon-Fri 00:30-07:00\"]")),
        false => Ok(periods),
    }
}

/// `Mon-Fri 00:30-07:00`, or every day without days.
///
/// # Errors
/// With the place of the mistake.
pub fn parse_period(text: &str) -> Result<Period, BadText> {
    let whole = Part::whole(text);
    let words = whole.words(char::is_whitespace);
    let (days, times) = match words.as_slice() {
        [times] => (Weekdays::ALL, *times),
        [days, times] => (parse_days(*days)?, *times),
        _ => return Err(whole.bad(format!("`{text}` is no period, such as Mon-Fri 00:30-07:00"))),
    };
    let (start, end) = times
        .split_once('-')
        .ok_or_else(|| times.bad(format!("`{}` is no span of time, such as 00:30-07:00", times.text)))?;
    let (start_minute, end_minute) = (parse_time(start, false)?, parse_time(end, true)?);
    if start_minute == end_minute {
        return Err(times.bad("begins when it ends; a whole day is 00:00-24:00"));
    }
    Ok(Period {
        days,
        start_minute,
        end_minute,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_write_them() {
        let check = |text: &str, monday: bool, sunday: bool, start: u16, end: u16| {
            let period = parse_period(text).unwrap_or_else(|bad| panic!("{text}: {bad}"));
            let found = (period.days.contains(0), period.days.contains(6));
            assert_eq!(found, (monday, sunday), "{text}");
            assert_eq!((period.start_minute, period.end_minute), (start, end), "{text}");
        };
        check("Mon-Fri 00:30-07:00", true, false, 30, 420);
        check(" Sunday  22:00-06:00 ", false, true, 1320, 360);
        check("00:00-24:00", true, true, 0, 1440);
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, at, fragment) in [
            ("", 0, "no period"),
            ("Mon Tue 00:00-01:00", 0, "no period"),
            ("Mon-Fri", 0, "no time"),
            ("Mon-Fri 07:00", 8, "no span"),
            ("Mon-Fri 00:30-25:00", 14, "no time of a day"),
            ("Mon-Fri 24:00-07:00", 8, "no time of a day"),
            ("Mon-Fry 00:30-07:00", 4, "no day"),
            ("07:00-07:00", 0, "begins when it ends"),
        ] {
            let bad = parse_period(text).expect_err(text);
            assert!(bad.at == at && bad.why.contains(fragment), "{text}: {bad:?}");
        }
    }
}

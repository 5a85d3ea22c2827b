//! Limits that change with the time of the week, in the syntax of rclone's `--bwlimit`:
//! `08:00,512k 19:00,10M 23:00,off`, `Mon-00:00,512 Fri-23:59,10M`, and with spans of days `Mon-Fri 08:00,10M`.

use super::{
    values::limit,
    week::{BadText, Part, parse_days, parse_time},
};
use crate::model::{Change, Limit, Weekdays};

/// Reads `off`, a rate, or a timetable.
///
/// # Errors
/// With the place of the mistake.
pub fn parse_limit(text: &str) -> Result<Limit, BadText> {
    let whole = Part::whole(text).trim();
    if whole.text.is_empty() {
        return Err(whole.bad("is empty; write `off` for no limit"));
    }
    if !whole.text.contains(',') {
        return Ok(parse_rate(whole)?.map_or(Limit::Off, Limit::Rate));
    }
    let mut changes: Vec<Change> = Vec::new();
    let mut days: Option<(Part<'_>, Weekdays)> = None;
    for word in whole.words(|c| c.is_whitespace() || c == ';') {
        let Some((when, rate)) = word.split_once(',') else {
            // `Mon-Fri` of `Mon-Fri 08:00,10M`.
            if let Some((other, _)) = days {
                return Err(other.bad(format!("`{}` needs a time and a rate, such as 08:00,10M", other.text)));
            }
            let unlike_days = word.text.starts_with(|c: char| c.is_ascii_digit());
            if unlike_days {
                return Err(word.bad(format!("`{}` needs a time and a rate, such as 08:00,10M", word.text)));
            }
            days = Some((word, parse_days(word)?));
            continue;
        };
        // rclone's own `Mon-08:00,10M`.
        let (own_days, time) = match when.rsplit_once('-') {
            Some((days, time)) => (Some(parse_days(days)?), time),
            None => (None, when),
        };
        if let (Some(_), Some((before, _))) = (own_days, days) {
            return Err(before.bad(format!("`{}` and `{}` both name days", before.text, when.text)));
        }
        let before = days.take().map(|(_, days)| days);
        let change = Change {
            days: own_days.or(before).unwrap_or(Weekdays::ALL),
            minute: parse_time(time, false)?,
            bytes_per_sec: parse_rate(rate)?,
        };
        changes.push(change);
    }
    match days {
        Some((part, _)) => Err(part.bad(format!("`{}` needs a time and a rate, such as 08:00,10M", part.text))),
        None => Ok(Limit::Timetable(changes)),
    }
}

/// A rate; of rclone's `UPLOAD:DOWNLOAD` the second one.
fn parse_rate(part: Part<'_>) -> Result<Option<u64>, BadText> {
    let down = match part.split_once(':') {
        Some((up, down)) => {
            limit(up.text).map_err(|why| up.bad(why))?;
            down
        }
        None => part,
    };
    limit(down.text).map_err(|why| down.bad(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse_limit(text).unwrap_or_else(|bad| panic!("{text}: {bad}")) {
            Limit::Off => "off".to_owned(),
            Limit::Rate(rate) => rate.to_string(),
            Limit::Timetable(changes) => {
                let show = |change: &Change| {
                    let days: String = (0..7)
                        .map(|day| if change.days.contains(day) { 'x' } else { '.' })
                        .collect();
                    let rate = change.bytes_per_sec.map_or("off".to_owned(), |rate| rate.to_string());
                    format!("{days} {} {rate}", change.minute)
                };
                changes.iter().map(show).collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn as_rclone_reads_it() {
        let check = |text: &str, expected: &str| assert_eq!(shown(text), expected, "{text}");
        check("off", "off");
        check(" OFF ", "off");
        check("512", "524288");
        check("80MiB/s", "83886080");
        check("10M:1M", "1048576");
        check("08:00,512k 19:00,off", "xxxxxxx 480 524288; xxxxxxx 1140 off");
        check("08:00,512k;19:00,off", "xxxxxxx 480 524288; xxxxxxx 1140 off");
        check(
            "Mon-00:00,512 Friday-23:59,10M:off",
            "x...... 0 524288; ....x.. 1439 off",
        );
        check(
            "Mon-Fri 08:00,10M Mon-Fri 19:00,off Sat-Sun 00:00,off",
            "xxxxx.. 480 10485760; xxxxx.. 1140 off; .....xx 0 off",
        );
        check("Mon-Fri-08:00,1k", "xxxxx.. 480 1024");
        check("Sat 10:00,1k 11:00,2k", ".....x. 600 1024; xxxxxxx 660 2048");
    }

    #[test]
    fn mistakes_have_a_place() {
        let check = |text: &str, at: usize, fragment: &str| {
            let bad = parse_limit(text).expect_err(text);
            assert!(bad.at == at && bad.why.contains(fragment), "{text}: {bad:?}");
        };
        check("", 0, "empty");
        check("fast", 0, "unit");
        check("0", 0, "`off`");
        check("10Mbit", 0, "bits");
        check("10M:x", 4, "unit");
        check("08:00,512k 25:00,off", 11, "no time of a day");
        check("08:00,512k 9,off", 11, "HH:MM");
        check("08:00,512k 19:00,slow", 17, "unit");
        check("08:00,512k 19:00", 11, "needs a time and a rate");
        check("Mon-Fry 08:00,10M", 4, "no day");
        check("Mon-Fri 08:00,10M Sat", 18, "needs a time and a rate");
        check("Mon-Fri Sat 08:00,10M", 0, "needs a time and a rate");
        check("Mon Tue-08:00,10M", 0, "both name days");
        check("Feb-08:00,10M", 0, "no day");
        check("08:00,1M,2M", 6, "unit");
        assert_eq!(
            parse_limit("08:00,x").unwrap_err().to_string().split(':').next(),
            Some("at character 7")
        );
    }
}

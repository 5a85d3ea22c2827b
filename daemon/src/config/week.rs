//! Days and times of a week as people write them, shared by timetables and windows. A mistake carries its place in the text.

use crate::model::Weekdays;

/// A mistake in a text, and where it begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {}: {why}", .at + 1)]
pub struct BadText {
    /// In characters, from 0.
    pub at: usize,
    /// What is wrong there.
    pub why: String,
}

/// A part of a text that knows where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'t> {
    pub(super) text: &'t str,
    /// In characters, from 0.
    pub(super) at: usize,
}

impl<'t> Part<'t> {
    pub(super) fn whole(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn bad(self, why: impl ToString) -> BadText {
        BadText {
            at: self.at,
            why: why.to_string(),
        }
    }

    /// What begins at a byte.
    fn from(self, start: usize) -> Self {
        let (before, text) = self.text.split_at(start);
        Self {
            text,
            at: self.at + before.chars().count(),
        }
    }

    /// Both sides of the first separator.
    pub(super) fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let (before, _) = self.text.split_once(separator)?;
        let before = Self { text: before, ..self };
        Some((before, self.from(before.text.len() + separator.len_utf8())))
    }

    /// Both sides of the last separator.
    pub(super) fn rsplit_once(self, separator: char) -> Option<(Self, Self)> {
        let (before, _) = self.text.rsplit_once(separator)?;
        let before = Self { text: before, ..self };
        Some((before, self.from(before.text.len() + separator.len_utf8())))
    }

    /// Without blanks around it.
    pub(super) fn trim(self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        let part = self.from(start);
        Self {
            text: part.text.trim_end(),
            ..part
        }
    }

    /// What blanks, or separators of the caller's, separate.
    pub(super) fn words(self, is_separator: impl Fn(char) -> bool) -> Vec<Self> {
        let mut words = Vec::new();
        let mut rest = self;
        loop {
            let Some(start) = rest.text.find(|c| !is_separator(c)) else {
                return words;
            };
            rest = rest.from(start);
            let end = rest.text.find(&is_separator).unwrap_or(rest.text.len());
            let text = &rest.text[..end];
            words.push(Self { text, ..rest });
            rest = rest.from(end);
        }
    }
}

/// `Mon`, `monday`, `Mon-Fri`.
pub(super) fn parse_days(part: Part<'_>) -> Result<Weekdays, BadText> {
    match part.split_once('-') {
        Some((first, last)) => Ok(Weekdays::through(parse_day(first)?, parse_day(last)?)),
        None => parse_day(part).map(|day| Weekdays::through(day, day)),
    }
}

fn parse_day(part: Part<'_>) -> Result<u8, BadText> {
    const DAYS: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let day = part.text.to_ascii_lowercase();
    let fits = |known: &&str| day == **known || day == known[..3];
    let found = (0_u8..).zip(&DAYS).find(|(_, known)| fits(known));
    found.map(|(number, _)| number).ok_or_else(|| {
        let days = "Mon, Tue, Wed, Thu, Fri, Sat, Sun";
        part.bad(format!("`{}` is no day; the days are {days}", part.text))
    })
}

/// `HH:MM` as minutes after midnight. `24:00` is allowed where something ends.
pub(super) fn parse_time(part: Part<'_>, may_be_end: bool) -> Result<u16, BadText> {
    let bad = || part.bad(format!("`{}` is no time; write HH:MM, such as 08:30", part.text));
    let (hour, minute) = part.text.split_once(':').ok_or_else(bad)?;
    let number = |text: &str| {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour).ok_or_else(bad)?, number(minute).ok_or_else(bad)?);
    match (hour, minute) {
        (0..=23, 0..=59) => Ok(hour * 60 + minute),
        (24, 0) if may_be_end => Ok(24 * 60),
        _ => Err(part.bad(format!("`{}` is no time of a day", part.text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_spans() {
        let check = |text: &str, expected: &str| {
            let days = parse_days(Part::whole(text)).unwrap_or_else(|bad| panic!("{text}: {bad}"));
            let shown: String = (0..7).map(|day| if days.contains(day) { 'x' } else { '.' }).collect();
            assert_eq!(shown, expected, "{text}");
        };
        check("Mon", "x......");
        check("SUNDAY", "......x");
        check("Mon-Fri", "xxxxx..");
        check("sat-sun", ".....xx");
        check("Fri-Mon", "x...xxx");
        check("Tue-Tue", ".x.....");
        check("Mon-Sun", "xxxxxxx");
        for (bad, at) in [("Mo", 0), ("Mon-", 4), ("Mon-Frii", 4), ("", 0)] {
            assert_eq!(parse_days(Part::whole(bad)).unwrap_err().at, at, "{bad}");
        }
        assert!(!Weekdays::ALL.contains(7));
    }

    #[test]
    fn times() {
        let check = |text: &str, expected: Option<u16>| assert_eq!(parse_time(Part::whole(text), true).ok(), expected);
        check("00:00", Some(0));
        check("8:05", Some(485));
        check("23:59", Some(1439));
        check("24:00", Some(1440));
        for bad in ["24:01", "12:60", "12", "12:", ":30", "012:00", "+1:00", "noon"] {
            check(bad, None);
        }
        assert!(parse_time(Part::whole("24:00"), false).is_err());
    }

    #[test]
    fn parts_know_their_characters() {
        let words = Part::whole(" é bc;d ").words(|c| c == ' ' || c == ';');
        let found: Vec<_> = words.iter().map(|part| (part.text, part.at)).collect();
        assert_eq!(found, [("é", 1), ("bc", 3), ("d", 6)]);
        let (left, right) = Part::whole("é, x ").split_once(',').unwrap();
        assert_eq!((left.text, right.trim().text, right.trim().at), ("é", "x", 3));
    }
}

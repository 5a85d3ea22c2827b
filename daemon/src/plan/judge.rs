//! Whether an endpoint does its part for one commit: what it answered, compared with the plan.

use std::{collections::HashMap, time::Duration};

use crate::model::{CommitHash, Digest, EndpointFault, Finding, ManifestEntry, Serves};

/// A planned file, as far as it can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Path in the repository.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// What the content must hash to.
    pub digest: Digest,
}

/// What an endpoint answered. A fault ends the questions, so what comes after it is not known.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The commit that it says it has.
    pub commit: Option<CommitHash>,
    /// Its listing of the commit.
    pub listing: Option<SeenListing>,
    /// What came for a small part of a planned file.
    pub part: Option<SeenPart>,
    /// The question that went wrong, and how.
    pub trouble: Option<Trouble>,
}

/// A listing, or its beginning.
#[derive(Debug, Clone)]
pub struct SeenListing {
    /// Files.
    pub entries: Vec<ManifestEntry>,
    /// There is no more; else it was not read to its end.
    pub complete: bool,
}

/// The answer to a range that does not begin at 0, whose bytes and headers fit the plan.
#[derive(Debug, Clone, Default)]
pub struct SeenPart {
    /// The whole file came.
    pub whole: bool,
    /// Host where the bytes lie.
    pub ends_at: String,
    /// One of the redirects led to an origin that has the same files anyway: this one.
    pub through_origin: Option<String>,
}

/// A question that got no good answer.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// What was asked.
    pub asked: Question,
    /// What it shows.
    pub fault: EndpointFault,
    /// The error, for people.
    pub detail: String,
}

impl Trouble {
    /// A description or listing that cannot be had says nothing about the bytes: those are hashed anyway.
    pub fn spares_bytes(&self) -> bool {
        let of_words = matches!(self.fault, EndpointFault::NoListing | EndpointFault::BadAnswer);
        of_words && self.asked != Question::Part
    }
}

/// The questions, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Which commit.
    Commit,
    /// Which files.
    Listing,
    /// Some bytes.
    Part,
}

/// Judges. `plan` holds some or all of the planned files.
pub fn judge(commit: &CommitHash, plan: &[PlannedFile], seen: &Seen) -> Finding {
    let ends_at = seen.part.as_ref().map(|part| part.ends_at.clone()).unwrap_or_default();
    let found = |fault: EndpointFault, serves, lists, detail: String| Finding {
        fault: Some(fault),
        detail,
        lists,
        serves,
        ends_at: ends_at.clone(),
    };
    if let Some(other) = seen.commit.as_ref().filter(|other| *other != commit) {
        let detail = format!("it answers for commit {other}, planned is {commit}");
        return found(EndpointFault::OtherCommit, Serves::Nothing, false, detail);
    }
    let (spared, fatal) = match &seen.trouble {
        Some(trouble) if trouble.spares_bytes() => (Some(trouble), None),
        other => (None, other.as_ref()),
    };
    if let Some(trouble) = fatal {
        let serves = match trouble.fault {
            EndpointFault::NoRanges => Serves::WholeFiles,
            _ => Serves::Nothing,
        };
        let lists = seen
            .listing
            .as_ref()
            .is_some_and(|listing| listing.complete && hashless(listing) == 0);
        return found(trouble.fault, serves, lists, trouble.detail.clone());
    }
    let serves = match &seen.part {
        Some(part) if part.whole => Serves::WholeFiles,
        _ => Serves::Parts,
    };
    let mut lists = false;
    if let Some(listing) = &seen.listing {
        let compared = compare(plan, listing);
        if let Some(detail) = compared.other {
            return found(EndpointFault::OtherContent, Serves::Nothing, false, detail);
        }
        if let Some(detail) = compared.missing {
            // What it has may be had from it; what it lacks is refused file by file.
            return found(EndpointFault::MissingFiles, serves, false, detail);
        }
        let hashless = hashless(listing);
        if hashless > 0 {
            let detail = format!(
                "{hashless} of {} files are listed without a hash",
                listing.entries.len()
            );
            return found(EndpointFault::NoHashes, serves, false, detail);
        }
        lists = listing.complete;
    }
    if let Some(origin) = seen.part.as_ref().and_then(|part| part.through_origin.as_ref()) {
        let detail = format!("it redirects to {origin}");
        return found(EndpointFault::LeadsToOrigin, serves, lists, detail);
    }
    if serves == Serves::WholeFiles {
        let detail = format!("{ends_at} answered a range with the whole file");
        return found(EndpointFault::NoRanges, serves, lists, detail);
    }
    if let Some(trouble) = spared {
        return found(trouble.fault, serves, false, trouble.detail.clone());
    }
    Finding {
        fault: None,
        detail: String::new(),
        lists,
        serves,
        ends_at,
    }
}

/// How long a finding is believed, unless the server said how long to wait.
pub fn lifetime(fault: Option<EndpointFault>) -> Duration {
    use EndpointFault as Fault;
    let minutes = match fault {
        None => 6 * 60,
        // It may be back any moment, and gets its share again within the minute, the questions included.
        Some(Fault::Unreachable) => return Duration::from_secs(40),
        Some(Fault::RateLimited) => 5,
        // A mirror may be about to fetch what it lacks.
        Some(Fault::NoRepository | Fault::OtherCommit | Fault::MissingFiles | Fault::Refused) => 10,
        Some(Fault::NotTheFile | Fault::BadRedirect | Fault::BadAnswer | Fault::WrongRange) => 15,
        Some(Fault::Certificate) => 30,
        Some(Fault::OtherContent | Fault::NoHashes | Fault::NoListing | Fault::NoRanges | Fault::LeadsToOrigin) => 60,
    };
    Duration::from_secs(minutes * 60)
}

fn hashless(listing: &SeenListing) -> usize {
    listing.entries.iter().filter(|entry| entry.digest.is_none()).count()
}

/// What differs from the plan, each in one sentence.
#[derive(Debug, Default)]
struct Compared {
    other: Option<String>,
    missing: Option<String>,
}

fn compare(plan: &[PlannedFile], listing: &SeenListing) -> Compared {
    let listed: HashMap<&str, &ManifestEntry> = listing.entries.iter().map(|entry| (&*entry.path, entry)).collect();
    let mut compared = Compared::default();
    let mut lacks = 0_usize;
    for file in plan {
        let shown = file.path.escape_debug();
        let Some(entry) = listed.get(file.path.as_str()) else {
            if listing.complete {
                lacks += 1;
                compared
                    .missing
                    .get_or_insert_with(|| format!("`{shown}` is not listed"));
            }
            continue;
        };
        if entry.size != file.size {
            let size = entry.size;
            compared.other = Some(format!(
                "`{shown}` is listed with {size} bytes, planned are {}",
                file.size
            ));
            break;
        }
        if let Some(digest) = entry.digest.filter(|digest| *digest != file.digest) {
            compared.other = Some(format!(
                "`{shown}` is listed with hash {digest}, planned is {}",
                file.digest
            ));
            break;
        }
    }
    if let Some(missing) = compared.missing.as_mut().filter(|_| lacks > 1) {
        missing.push_str(&format!(", and {} more", lacks - 1));
    }
    compared
}

#[cfg(test)]
mod tests;

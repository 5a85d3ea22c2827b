//! Which jobs a call means, and how many of them an answer tells.

use hfetch_proto::v1;

use super::identity::Caller;
use crate::{
    engine::CallError,
    model::{HoldReason, JobState},
    store::{Filter, Scope},
};

/// Jobs that one call may name.
const MOST_IDS: usize = 1000;
/// Jobs that an answer names, which stays well below the size of a message.
const MOST_TOLD: usize = 10_000;
/// Bytes of jobs that a page has at most, unless one job alone is larger.
const LARGEST_PAGE: usize = 16 << 20;
/// What a job is without its selection, generously.
const PLAIN_JOB: usize = 2 << 10;
/// Jobs that are read at a time.
const PAGE: u32 = 1000;

/// What a selector means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// These ids, or beginnings of ids.
    Ids(Vec<String>),
    /// All of these users.
    All(Scope),
    /// All of another user, by name.
    AllOf(String),
}

/// Reads a selector. "All" are the caller's own: an operator who means everybody's has to say so.
pub(super) fn selection(caller: &Caller, selector: Option<v1::Selector>) -> Result<Selection, CallError> {
    let invalid = |what: &str| Err(CallError::invalid("selector", what));
    let v1::Selector {
        ids,
        all,
        user,
        all_users,
    } = selector.unwrap_or_default();
    if !all {
        return match ids.len() {
            _ if all_users || !user.is_empty() => invalid("names users without all"),
            0 => invalid("names no job"),
            count if count > MOST_IDS => invalid(&format!("more than {MOST_IDS} ids")),
            _ => Ok(Selection::Ids(ids)),
        };
    }
    if !ids.is_empty() {
        return invalid("either ids or all");
    }
    if all_users && !user.is_empty() {
        return invalid("either one user or all of them");
    }
    let others = all_users || !(user.is_empty() || user == caller.owner.user);
    if others && !caller.operator {
        return Err(CallError::NotAllowed("only operators act on the jobs of others".into()));
    }
    Ok(match (all_users, others) {
        (true, _) => Selection::All(Scope::All),
        (false, true) => Selection::AllOf(user),
        (false, false) => Selection::All(Scope::Uid(caller.owner.uid)),
    })
}

/// All jobs of a scope, or of one user in it, in some states; of held ones those for some reasons, if any is named.
pub(super) fn all(scope: Scope, user: String, (states, held_for): (&[JobState], &[HoldReason])) -> Filter {
    Filter {
        scope,
        states: states.to_vec(),
        held_for: held_for.to_vec(),
        user,
        repo: String::new(),
        before_row: None,
        limit: PAGE,
    }
}

/// Jobs as the answer of a verb tells them: the first ones, without their selections, which may be long.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) jobs: Vec<v1::Job>,
    pub(super) refusals: Vec<v1::Refusal>,
    /// Of the jobs.
    pub(super) total: u64,
}

impl Told {
    pub(super) fn add(&mut self, mut job: v1::Job) {
        self.total += 1;
        if self.jobs.len() < MOST_TOLD {
            job.files.clear();
            job.include.clear();
            job.exclude.clear();
            self.jobs.push(job);
        }
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.jobs.iter().map(|job| job.id.clone()).collect()
    }
}

/// The answer of a verb, of this message type: what became of each job, and whom the audit line names.
macro_rules! answer {
    ($told:expr, $message:ident) => {{
        let told = $told;
        let ids = told.ids();
        let message = v1::$message {
            jobs: told.jobs,
            refusals: told.refusals,
            jobs_total: told.total,
        };
        $crate::api::gate::about(message, ids)
    }};
}
pub(super) use answer;

/// Cuts a page after what fits into an answer; true when it did.
pub(super) fn cut(jobs: &mut Vec<v1::Job>) -> bool {
    let mut bytes = 0;
    let too_much = jobs.iter().position(|job| {
        bytes += weight(job);
        bytes > LARGEST_PAGE
    });
    match too_much {
        None => false,
        Some(at) => {
            let kept = at.max(1);
            let is_shorter = kept < jobs.len();
            jobs.truncate(kept);
            is_shorter
        }
    }
}

fn weight(job: &v1::Job) -> usize {
    let selected = job.files.iter().chain(&job.include).chain(&job.exclude);
    let paths = job.path.len() + job.local_dir.len() + job.cache_dir.len();
    PLAIN_JOB + paths + selected.map(|text| text.len() + 8).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Owner;

    fn caller(operator: bool) -> Caller {
        Caller {
            owner: Owner {
                uid: 7,
                user: "ann".into(),
            },
            operator,
            remote: false,
        }
    }

    #[test]
    fn all_are_ones_own_unless_an_operator_says_otherwise() {
        let all = v1::Selector {
            all: true,
            ..v1::Selector::default()
        };
        let of = |user: &str| v1::Selector {
            user: user.into(),
            ..all.clone()
        };
        let everybodys = v1::Selector {
            all_users: true,
            ..all.clone()
        };
        let read = |operator, selector: &v1::Selector| selection(&caller(operator), Some(selector.clone())).ok();
        let own = Some(Selection::All(Scope::Uid(7)));
        for operator in [false, true] {
            assert_eq!(read(operator, &all), own);
            assert_eq!(read(operator, &of("ann")), own);
        }
        assert_eq!(read(true, &of("ben")), Some(Selection::AllOf("ben".into())));
        assert_eq!(read(true, &everybodys), Some(Selection::All(Scope::All)));
        for others in [of("ben"), everybodys.clone()] {
            assert!(matches!(
                selection(&caller(false), Some(others)),
                Err(CallError::NotAllowed(_))
            ));
        }
        for bad in [
            v1::Selector::default(),
            v1::Selector {
                ids: vec!["x".into()],
                ..all.clone()
            },
            v1::Selector {
                user: "ben".into(),
                ..everybodys.clone()
            },
            v1::Selector {
                ids: vec!["x".into()],
                all: false,
                ..everybodys
            },
            v1::Selector {
                ids: vec!["x".into(); MOST_IDS + 1],
                ..v1::Selector::default()
            },
        ] {
            assert_eq!(read(true, &bad), None, "{bad:?}");
        }
    }

    #[test]
    fn answers_stay_below_the_size_of_a_message() {
        let large = v1::Job {
            id: "x".into(),
            include: vec!["*".repeat(250 << 10)],
            ..v1::Job::default()
        };
        let mut told = Told::default();
        for _ in 0..=MOST_TOLD {
            told.add(large.clone());
        }
        assert_eq!((told.jobs.len(), told.total), (MOST_TOLD, MOST_TOLD as u64 + 1));
        assert!(told.jobs.iter().map(weight).sum::<usize>() < 40 << 20);
        let mut page = vec![large; 100];
        assert!(cut(&mut page));
        assert!(page.len() > 50 && page.iter().map(weight).sum::<usize>() <= LARGEST_PAGE);
        assert!(!cut(&mut page));
        let mut one = vec![v1::Job {
            include: vec!["*".repeat(2 * LARGEST_PAGE)],
            ..v1::Job::default()
        }];
        assert!(!cut(&mut one) && one.len() == 1);
    }
}

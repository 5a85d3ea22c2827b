//! The configuration files as they are now, beside what is in force: for those who ask how the daemon is.

use std::{sync::Arc, time::Duration};

use hfetch_proto::v1;
use jiff::{Timestamp, tz::TimeZone};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// Compares the files with what is in force. Blocks on the disk.
pub type Look = Arc<dyn Fn() -> OnDisk + Send + Sync>;

/// A disk that does not answer keeps nobody from an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found in the files.
#[derive(Debug, Clone)]
pub struct OnDisk {
    /// When the configuration in force was read.
    pub read_at: Timestamp,
    /// The keys that differ, or all mistakes, a line each.
    pub differs: Result<Vec<String>, String>,
}

/// Looks at the files for all who ask, one look at a time: a disk that hangs keeps one thread, however many ask.
#[derive(Clone)]
pub(super) struct Files {
    look: Look,
    last: Arc<Mutex<Option<Looked>>>,
}

/// The last look.
struct Looked {
    began: Instant,
    found: OnDisk,
}

impl Files {
    pub(super) fn new(look: Look) -> Self {
        Self {
            look,
            last: Arc::default(),
        }
    }

    /// What they say; `None` when the disk does not answer.
    pub(super) async fn look(&self) -> Option<OnDisk> {
        self.look_within(PATIENCE).await
    }

    async fn look_within(&self, patience: Duration) -> Option<OnDisk> {
        let asked = Instant::now();
        timeout(patience, async {
            let mut last = self.last.clone().lock_owned().await;
            // One that began before may have missed what the caller has just written.
            if let Some(looked) = last.as_ref().filter(|looked| looked.began >= asked) {
                return Some(looked.found.clone());
            }
            let look = self.look.clone();
            // The turn goes with it: who loses patience leaves it to the thread.
            let looking = tokio::task::spawn_blocking(move || {
                let began = Instant::now();
                let found = look();
                *last = Some(Looked {
                    began,
                    found: found.clone(),
                });
                found
            });
            looking.await.ok()
        })
        .await
        .ok()?
    }
}

/// What the files say, as far as a caller may know: mistakes quote them, keys name users, and others than operators may not
/// be able to read either.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// When the configuration in force was read.
    pub(super) read_at: Option<Timestamp>,
    /// A line each; empty when there are none.
    pub(super) mistakes: String,
    /// The files differ from what is in force.
    pub(super) changed: bool,
    /// In these keys.
    pub(super) keys: Vec<String>,
}

impl Told {
    pub(super) fn new(found: OnDisk, operator: bool) -> Self {
        let (mistakes, changed, keys) = match found.differs {
            Err(mistakes) if operator => (mistakes, true, Vec::new()),
            Err(_) => ("their text is for operators".to_owned(), true, Vec::new()),
            Ok(keys) if operator => (String::new(), !keys.is_empty(), keys),
            Ok(keys) => (String::new(), !keys.is_empty(), Vec::new()),
        };
        Self {
            read_at: Some(found.read_at),
            mistakes,
            changed,
            keys,
        }
    }
}

/// What `doctor` says of them.
pub(super) fn findings(found: Option<OnDisk>, operator: bool) -> Vec<v1::Finding> {
    let finding = |status: &str, message: String, hint: &str| v1::Finding {
        check: "config".to_owned(),
        status: status.to_owned(),
        message,
        hint: hint.to_owned(),
    };
    let Some(found) = found else {
        let text = "the configuration files cannot be read: the disk does not answer".to_owned();
        return vec![finding("warning", text, "look whether it is mounted")];
    };
    let read_at = found.read_at.to_zoned(TimeZone::system());
    let read_at = read_at.strftime("%Y-%m-%d %H:%M:%S");
    let told = Told::new(found, operator);
    if !told.mistakes.is_empty() {
        let each = told.mistakes.lines().map(|mistake| {
            finding(
                "broken",
                format!(
                    "the files have mistakes now, and the daemon would not start with them (78); what was read at {read_at} is \
                     in force: {mistake}"
                ),
                "correct it, then `hfctl daemon reload`; `hfetchd --check-config` tells the same",
            )
        });
        return each.collect();
    }
    let text = format!("the files say other than what is in force, which was read at {read_at}");
    match (told.changed, operator) {
        (false, _) => Vec::new(),
        (true, true) => vec![finding(
            "warning",
            format!("{text}: {}", told.keys.join(", ")),
            "`hfctl daemon reload`, and for what that leaves `hfctl daemon restart`",
        )],
        (true, false) => vec![finding(
            "warning",
            text,
            "an operator loads them: `hfctl daemon reload`",
        )],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    };

    use super::*;

    fn found(differs: Result<&[&str], &str>) -> OnDisk {
        let keys = differs.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect());
        OnDisk {
            read_at: Timestamp::UNIX_EPOCH,
            differs: keys.map_err(str::to_owned),
        }
    }

    #[test]
    fn what_the_files_say_is_for_operators() {
        for (differs, secret) in [
            (Ok(&["users.ann.weight"][..]), "ann"),
            (Err("line 3: proxy = \"http://ann\""), "ann"),
        ] {
            for operator in [true, false] {
                let told = Told::new(found(differs), operator);
                assert!(told.changed);
                assert_eq!(format!("{told:?}").contains(secret), operator, "{told:?}");
                let findings = findings(Some(found(differs)), operator);
                assert_eq!(findings.len(), 1);
                assert_eq!(findings[0].message.contains(secret), operator, "{findings:?}");
            }
        }
        assert!(findings(Some(found(Ok(&[]))), false).is_empty());
        assert!(!Told::new(found(Ok(&[])), true).changed);
    }

    #[tokio::test]
    async fn a_disk_that_hangs_keeps_one_thread() {
        let (looks, (began, mut begins)) = (Arc::new(AtomicUsize::new(0)), tokio::sync::mpsc::channel(8));
        let (go_on, hangs) = mpsc::channel::<()>();
        let (counted, hangs) = (looks.clone(), std::sync::Mutex::new(hangs));
        let files = Files::new(Arc::new(move || {
            let number = counted.fetch_add(1, SeqCst);
            began.try_send(()).expect("somebody counts");
            // The first two hang.
            if number < 2 {
                hangs.lock().expect("one at a time").recv().expect("an end");
            }
            found(Ok(&[]))
        }));
        let moment = Duration::from_millis(1);
        let (first, begun) = tokio::join!(files.look_within(moment), begins.recv());
        assert!(first.is_none() && begun.is_some());
        let others = (0..20).map(|_| files.look_within(moment));
        let others = futures_util::future::join_all(others).await;
        assert!(others.iter().all(Option::is_none));
        assert_eq!(looks.load(SeqCst), 1);
        go_on.send(()).expect("it hangs still");
        // Its answer is too old for who asks now; what these share is not.
        let hour = Duration::from_secs(3600);
        let now = futures_util::future::join_all((0..20).map(|_| files.look_within(hour)));
        let (now, ()) = tokio::join!(now, async {
            begins.recv().await.expect("a look");
            go_on.send(()).expect("it hangs");
        });
        assert!(now.iter().all(Option::is_some));
        assert!((2..=3).contains(&looks.load(SeqCst)), "{}", looks.load(SeqCst));
    }
}

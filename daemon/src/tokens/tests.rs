//! What is kept, for whom, and for how long; and what a file tells who finds it.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn bound(token: &str, origin: &str) -> BoundToken {
    BoundToken {
        origin: origin.into(),
        token: Token::new(token).unwrap(),
    }
}

impl TokenStore {
    fn keep_unused(&self, uid: u32, bound: &BoundToken) -> Result<String, TokenError> {
        self.keep(uid, bound, &HashSet::new(), Timestamp::UNIX_EPOCH)
    }
}

#[test]
fn a_token_is_private_to_its_user_and_survives() {
    let dir = tempfile::tempdir().unwrap();
    let reference = TokenStore::new(dir.path(), None)
        .keep_unused(7, &bound("hf_a", "https://huggingface.co"))
        .unwrap();
    let store = TokenStore::new(dir.path(), None);
    assert_eq!(
        store.keep_unused(7, &bound("hf_a", "https://huggingface.co")).unwrap(),
        reference
    );
    assert_ne!(
        store.keep_unused(7, &bound("hf_a", "https://other.example")).unwrap(),
        reference
    );
    assert_eq!(store.get(7, &reference).unwrap().unwrap().token.reveal(), "hf_a");
    assert!(store.get(8, &reference).unwrap().is_none());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("tokens")), 0o700);
    assert_eq!(mode(&dir.path().join("tokens/7.json")), 0o600);
}

#[test]
fn a_login_is_for_one_user_and_one_origin() {
    let dir = tempfile::tempdir().unwrap();
    let store = TokenStore::new(dir.path(), None);
    let origin = "https://huggingface.co";
    store.log_in(7, &bound("hf_old", origin)).unwrap();
    store.log_in(7, &bound("hf_a", origin)).unwrap();
    let reference = store.keep_unused(7, &bound("hf_a", origin)).unwrap();
    let other = store.keep_unused(7, &bound("hf_b", origin)).unwrap();
    let found = |uid, origin: &str| store.login(uid, origin).unwrap().map(|token| token.reveal().to_owned());
    assert_eq!(found(7, origin).as_deref(), Some("hf_a"));
    assert_eq!((found(8, origin), found(7, "https://hf-mirror.com")), (None, None));
    assert!(store.log_out(7, origin).unwrap() && !store.log_out(7, origin).unwrap());
    assert_eq!(found(7, origin), None);
    // Jobs lose it too; another token of the same user stays.
    assert!(store.get(7, &reference).unwrap().is_none());
    assert!(store.get(7, &other).unwrap().is_some());
}

#[test]
fn only_so_many_are_kept_and_numbers_are_not_reused() {
    let dir = tempfile::tempdir().unwrap();
    let store = TokenStore::new(dir.path(), None);
    let first = store.keep_unused(1, &bound("hf_0", "o")).unwrap();
    let all: Vec<String> = (1..=KEPT)
        .map(|n| store.keep_unused(1, &bound(&format!("hf_{n}"), "o")).unwrap())
        .collect();
    assert!(store.get(1, &first).unwrap().is_none());
    assert!(!all.contains(&first));
    // What an open job needs stays, whatever its age.
    let in_use = HashSet::from([all[0].clone()]);
    let now = Timestamp::UNIX_EPOCH;
    store.keep(1, &bound("hf_new", "o"), &in_use, now).unwrap();
    assert!(store.get(1, &all[0]).unwrap().is_some() && store.get(1, &all[1]).unwrap().is_none());
    assert_eq!(
        store.get(1, &all[KEPT - 1]).unwrap().unwrap().token.reveal(),
        format!("hf_{KEPT}")
    );
}

#[test]
fn what_no_open_job_needs_is_forgotten_unless_it_is_young() {
    let dir = tempfile::tempdir().unwrap();
    let store = TokenStore::new(dir.path(), None);
    let at = |minutes: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
    let none = HashSet::new();
    let keep = |name: &str, minutes| store.keep(7, &bound(name, "o"), &none, at(minutes)).unwrap();
    let (old, open, again) = (keep("hf_old", 0), keep("hf_open", 0), keep("hf_again", 0));
    store.log_in(7, &bound("hf_login", "o")).unwrap();
    // Brought once more: by the same reference, and young again.
    assert_eq!(keep("hf_again", 20), again);
    let young = keep("hf_young", 25);
    let in_use = HashSet::from([open.clone()]);
    assert_eq!(store.forget(7, &in_use, at(29)).unwrap(), 1);
    let is_kept = |reference: &str| store.get(7, reference).unwrap().is_some();
    assert_eq!(
        [&old, &open, &again, &young].map(|reference| is_kept(reference)),
        [false, true, true, true]
    );
    assert_eq!(store.forget(7, &in_use, at(36)).unwrap(), 2);
    assert_eq!(
        [&open, &again, &young].map(|reference| is_kept(reference)),
        [true, false, false]
    );
    let text = fs::read_to_string(dir.path().join("tokens/7.json")).unwrap();
    assert!(!text.contains("hf_old") && !text.contains("hf_young"), "{text}");
    // What was left for all jobs stays, and nobody else's file is made.
    assert!(store.login(7, "o").unwrap().is_some());
    assert_eq!((store.forget(8, &none, at(36)).unwrap(), store.users()), (0, vec![7]));
    assert_ne!(keep("hf_old", 40), old);
}

#[test]
fn a_damaged_file_is_an_error_that_quotes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tokens")).unwrap();
    fs::write(dir.path().join("tokens/1.json"), "hf_secret").unwrap();
    let error = TokenStore::new(dir.path(), None)
        .keep_unused(1, &bound("hf_b", "o"))
        .unwrap_err();
    assert!(!format!("{error:?}").contains("hf_secret"));
}

#[test]
fn with_a_key_nothing_is_in_the_clear_and_without_it_nothing_is_readable() {
    let dir = tempfile::tempdir().unwrap();
    let origin = "https://huggingface.co";
    let key = |byte| SealKey::new(&[byte; 32]);
    let on_disk = || fs::read_to_string(dir.path().join("tokens/7.json")).unwrap();
    fs::create_dir(dir.path().join("tokens")).unwrap();
    let before =
        "{\"next\":1,\"tokens\":{\"t0000000000\":{\"origin\":\"https://huggingface.co\",\"token\":\"hf_old\"}}}";
    fs::write(dir.path().join("tokens/7.json"), before).unwrap();
    let sealing = TokenStore::new(dir.path(), key(1));
    assert!(
        sealing.put_in_order().is_empty() && !on_disk().contains("hf_old"),
        "{}",
        on_disk()
    );
    sealing.log_in(7, &bound("hf_new", origin)).unwrap();
    assert!(on_disk().starts_with("{\"version\":1,\"sealed\":"), "{}", on_disk());
    assert!(
        !on_disk().contains("hf_") && !on_disk().contains("huggingface"),
        "{}",
        on_disk()
    );
    let read = |store: &TokenStore| {
        let old = store
            .get(7, "t0000000000")?
            .map(|bound| bound.token.reveal().to_owned());
        let new = store.login(7, origin)?.map(|token| token.reveal().to_owned());
        Ok::<_, TokenError>((old, new))
    };
    let both = (Some("hf_old".to_owned()), Some("hf_new".to_owned()));
    assert_eq!(read(&TokenStore::new(dir.path(), key(1))).unwrap(), both);
    for (other, word) in [(None, "no key"), (key(2), "another key")] {
        let store = TokenStore::new(dir.path(), other);
        let told = |error: &TokenError| error.source.to_string();
        assert!(told(&read(&store).unwrap_err()).contains(word));
        let error = store.log_in(7, &bound("hf_newer", origin)).unwrap_err();
        assert!(told(&error).contains("token-key"), "{error:?}");
        assert_eq!(store.put_in_order().len(), 1);
        assert_eq!(store.unreadable().len(), 1);
    }
    assert_eq!(read(&TokenStore::new(dir.path(), key(1))).unwrap(), both);
    // One user's file is nobody else's.
    fs::copy(dir.path().join("tokens/7.json"), dir.path().join("tokens/8.json")).unwrap();
    assert_eq!(TokenStore::new(dir.path(), key(1)).unreadable().len(), 1);
    fs::write(dir.path().join("tokens/8.json"), "{\"version\":2,\"anything\":[]}").unwrap();
    let newer = TokenStore::new(dir.path(), None).login(8, origin).unwrap_err();
    assert!(format!("{newer:?}").contains("newer"), "{newer:?}");
}

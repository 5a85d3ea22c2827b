//! The one rule for where the control socket is, shared by both ends.

use std::path::PathBuf;

/// Socket of the system daemon.
pub const SYSTEM_SOCKET: &str = "/run/hfetch/hfetchd.sock";

/// State directory of a user's daemon: `$XDG_STATE_HOME/hfetch`, else `~/.local/state/hfetch`. Takes a lookup of
/// environment variables so that it can be tested; empty values count as unset, as XDG says. `None` without a home.
pub fn user_state_dir(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .map(|dir| dir.join("hfetch"))
}

/// Socket of a user's daemon: `$XDG_RUNTIME_DIR/hfetch/hfetchd.sock`; without that variable in the state directory.
pub fn user_socket(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let runtime = env("XDG_RUNTIME_DIR").filter(|value| value.starts_with('/'));
    match runtime {
        Some(dir) => Some(PathBuf::from(dir).join("hfetch/hfetchd.sock")),
        None => user_state_dir(env).map(|dir| dir.join("hfetchd.sock")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_xdg_then_home() {
        let check = |vars: &[(&str, &str)], expected: Option<&str>| {
            let env = |name: &str| {
                vars.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(user_socket(env), expected.map(PathBuf::from), "{vars:?}");
        };
        check(
            &[("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/h")],
            Some("/run/user/7/hfetch/hfetchd.sock"),
        );
        check(
            &[("XDG_STATE_HOME", "/s"), ("HOME", "/h")],
            Some("/s/hfetch/hfetchd.sock"),
        );
        check(
            &[("XDG_RUNTIME_DIR", ""), ("HOME", "/h")],
            Some("/h/.local/state/hfetch/hfetchd.sock"),
        );
        check(&[], None);
    }
}

//! Which daemon this is, and where its files, its state and its socket are.

use std::path::{Path, PathBuf};

use hfetch_proto::socket::{SYSTEM_SOCKET, user_socket, user_state_dir};

use super::{inputs::Inputs, mistakes::Mistake, origin::Origin};

/// Whose daemon it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One user's, for that user alone.
    User,
    /// Started by systemd, for all users of the group.
    System,
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) mode: Mode,
    pub(super) state_dir: PathBuf,
    pub(super) socket: PathBuf,
    /// In the order of reading.
    pub(super) files: Vec<PathBuf>,
    /// Named on the command line.
    pub(super) files_must_exist: bool,
    /// A folder whose `*.toml` come after the files.
    pub(super) drop_ins: Option<PathBuf>,
}

/// Finds the places; what cannot be found is told, and the rest goes on.
pub(super) fn find(inputs: &Inputs) -> (Places, Vec<Mistake>) {
    let environment = &inputs.environment;
    let look_up = |name: &str| environment.get(name).map(str::to_owned);
    let absolute = |path: &PathBuf| inputs.current_dir.join(path);
    let mut mistakes = Vec::new();

    // systemd separates several directories by colons.
    let from_systemd = environment
        .get("STATE_DIRECTORY")
        .and_then(|list| list.split(':').find(|path| !path.is_empty()))
        .map(PathBuf::from);
    let mode = if from_systemd.is_some() {
        Mode::System
    } else {
        Mode::User
    };

    let given = inputs.state_dir.as_ref().map(absolute);
    let state_dir = given
        .clone()
        .or_else(|| from_systemd.as_ref().map(absolute))
        .or_else(|| user_state_dir(look_up));
    let socket = match (&inputs.socket, &given, mode) {
        (Some(socket), _, _) => Some(absolute(socket)),
        (None, Some(state_dir), _) => Some(state_dir.join("hfetchd.sock")),
        (None, None, Mode::System) => Some(PathBuf::from(SYSTEM_SOCKET)),
        (None, None, Mode::User) => user_socket(look_up),
    };
    if state_dir.is_none() {
        let message = "there is no home directory to keep state in: set HOME, or give --state-dir";
        mistakes.push(Mistake::new(Origin::Default, "", message));
    }

    let (files, drop_ins) = match (inputs.config.as_slice(), mode) {
        ([], Mode::System) => {
            let folder = Path::new("/etc/hfetch");
            (vec![folder.join("config.toml")], Some(folder.join("conf.d")))
        }
        ([], Mode::User) => {
            let folder = environment
                .get("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .or_else(|| Some(Path::new(environment.get("HOME")?).join(".config")));
            let file = folder.map(|folder| folder.join("hfetch/config.toml"));
            (file.into_iter().collect(), None)
        }
        (given, _) => (given.to_vec(), None),
    };
    let places = Places {
        mode,
        state_dir: state_dir.unwrap_or_default(),
        socket: socket.unwrap_or_default(),
        files,
        files_must_exist: !inputs.config.is_empty(),
        drop_ins,
    };
    (places, mistakes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::inputs::Environment;

    struct Given<'a> {
        config: &'a [&'a str],
        state_dir: Option<&'a str>,
        socket: Option<&'a str>,
        variables: &'a [(&'a str, &'a str)],
    }

    const NOTHING: Given<'static> = Given {
        config: &[],
        state_dir: None,
        socket: None,
        variables: &[],
    };

    /// `mode state socket files drop-ins`.
    fn check(given: &Given<'_>, expected: &str) {
        let inputs = Inputs {
            config: given.config.iter().map(PathBuf::from).collect(),
            state_dir: given.state_dir.map(PathBuf::from),
            socket: given.socket.map(PathBuf::from),
            environment: Environment::of(given.variables),
            current_dir: PathBuf::from("/cwd"),
            bad_proxies: Vec::new(),
        };
        let (places, mistakes) = find(&inputs);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let files: Vec<_> = places.files.iter().map(|path| path.display().to_string()).collect();
        let found = format!(
            "{:?} {} {} {}{} {}",
            places.mode,
            places.state_dir.display(),
            places.socket.display(),
            files.join(","),
            if places.files_must_exist { "!" } else { "" },
            places.drop_ins.map_or("-".into(), |path| path.display().to_string())
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn users_and_systems() {
        let home = &[("HOME", "/h")];
        check(
            &Given {
                variables: home,
                ..NOTHING
            },
            "User /h/.local/state/hfetch /h/.local/state/hfetch/hfetchd.sock /h/.config/hfetch/config.toml -",
        );
        let all_xdg = &[
            ("HOME", "/h"),
            ("XDG_STATE_HOME", "/s"),
            ("XDG_CONFIG_HOME", "/c"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("STATE_DIRECTORY", ""),
        ];
        check(
            &Given {
                variables: all_xdg,
                ..NOTHING
            },
            "User /s/hfetch /r/hfetch/hfetchd.sock /c/hfetch/config.toml -",
        );
        check(
            &Given {
                variables: all_xdg,
                state_dir: Some("st"),
                config: &["a.toml", "/b.toml"],
                ..NOTHING
            },
            "User /cwd/st /cwd/st/hfetchd.sock a.toml,/b.toml! -",
        );
        check(
            &Given {
                variables: all_xdg,
                socket: Some("/x.sock"),
                ..NOTHING
            },
            "User /s/hfetch /x.sock /c/hfetch/config.toml -",
        );
        let system = &[("STATE_DIRECTORY", "/var/lib/hfetch:/var/lib/other")];
        check(
            &Given {
                variables: system,
                ..NOTHING
            },
            "System /var/lib/hfetch /run/hfetch/hfetchd.sock /etc/hfetch/config.toml /etc/hfetch/conf.d",
        );
        check(
            &Given {
                variables: system,
                state_dir: Some("/t"),
                ..NOTHING
            },
            "System /t /t/hfetchd.sock /etc/hfetch/config.toml /etc/hfetch/conf.d",
        );
    }

    #[test]
    fn without_a_home() {
        let inputs = Inputs {
            config: vec![],
            state_dir: None,
            socket: None,
            environment: Environment::default(),
            current_dir: PathBuf::from("/cwd"),
            bad_proxies: Vec::new(),
        };
        let (_, mistakes) = find(&inputs);
        assert!(mistakes[0].to_string().contains("--state-dir"), "{mistakes:?}");
    }
}

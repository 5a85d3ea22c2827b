//! The caller's Hub token: where it comes from, in the order of huggingface_hub. The value lives in a type that cannot be
//! printed, and leaves it only into a request.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::{self, Env};

/// A Hub token. Has neither Debug nor Display of the value on purpose.
pub(crate) struct Token(String);

impl Token {
    /// Blanks and line ends around it are dropped; an empty one is none.
    pub(crate) fn parse(text: &str) -> Option<Token> {
        let text = text.trim();
        (!text.is_empty()).then(|| Token(text.to_owned()))
    }

    /// For the field of a request, and nothing else.
    pub(crate) fn for_wire(token: Option<Token>) -> String {
        token.map(|token| token.0).unwrap_or_default()
    }
}

/// Finds the token. `file` is `--token-file` (`-` is standard input), `inline` the value of `--token` or `--hf_token`;
/// `read` reads a whole file.
///
/// # Errors
/// When the command line names two tokens, an empty one, or a file that cannot be read. A token file that nobody asked
/// for may be missing or unreadable: the download is then anonymous, as in Python.
pub(crate) fn find(
    file: Option<&str>,
    inline: Option<&str>,
    cwd: &Path,
    env: Env<'_>,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Option<Token>, CliError> {
    match (file, inline) {
        (Some(_), Some(_)) => Err(CliError::usage(
            "--token-file and --token both name a token; give one of them",
        )),
        (Some(file), None) => {
            let path = if file == "-" {
                PathBuf::from("-")
            } else {
                paths::absolute(file, cwd, env)
            };
            let text = read(&path).map_err(|error| {
                CliError::new(
                    Exit::Failed,
                    format!("cannot read the token from {}: {error}", path.display()),
                )
            })?;
            match Token::parse(&text) {
                Some(token) => Ok(Some(token)),
                None => Err(CliError::usage(format!("there is no token in {}", path.display()))),
            }
        }
        (None, Some(text)) => match Token::parse(text) {
            Some(token) => Ok(Some(token)),
            None => Err(CliError::usage("the given token is empty")),
        },
        (None, None) => Ok(implicit(cwd, env, read)),
    }
}

fn implicit(cwd: &Path, env: Env<'_>, read: &dyn Fn(&Path) -> io::Result<String>) -> Option<Token> {
    if paths::is_true(env, "HF_HUB_DISABLE_IMPLICIT_TOKEN") {
        return None;
    }
    ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]
        .into_iter()
        .find_map(|name| env(name).as_deref().and_then(Token::parse))
        .or_else(|| {
            token_file(cwd, env)
                .and_then(|path| read(&path).ok())
                .as_deref()
                .and_then(Token::parse)
        })
}

/// The file where `hf auth login` puts the token.
fn token_file(cwd: &Path, env: Env<'_>) -> Option<PathBuf> {
    if let Some(path) = paths::non_empty(env, "HF_TOKEN_PATH") {
        return Some(paths::absolute(&paths::expand_vars(&path, env), cwd, env));
    }
    paths::hf_home(cwd, env)
        .or_else(|| paths::non_empty(env, "XDG_CACHE_HOME").map(|cache| Path::new(&cache).join("huggingface")))
        .or_else(|| paths::non_empty(env, "HOME").map(|home| Path::new(&home).join(".cache/huggingface")))
        .map(|dir| dir.join("token"))
}

/// Reads a token file; `-` is standard input.
pub(crate) fn read_file(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case<'a> {
        file: Option<&'a str>,
        inline: Option<&'a str>,
        vars: &'a [(&'a str, &'a str)],
        files: &'a [(&'a str, &'a str)],
    }

    fn run(case: &Case<'_>) -> Result<String, CliError> {
        let env = |name: &str| {
            case.vars
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let read = |path: &Path| {
            let found = case.files.iter().find(|(name, _)| Path::new(name) == path);
            found
                .map(|(_, text)| (*text).to_owned())
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        find(case.file, case.inline, Path::new("/w"), &env, &read).map(Token::for_wire)
    }

    #[test]
    fn order_is_that_of_huggingface_hub() {
        let files: &[(&str, &str)] = &[
            ("-", "stdin\n"),
            ("/w/mine", " file \r\n"),
            ("/t/path", "by-path"),
            ("/hf/token", "in-home"),
            ("/x/huggingface/token", "in-xdg"),
            ("/h/.cache/huggingface/token", "default\n"),
        ];
        let check = |file, inline, vars: &[(&str, &str)], expected: &str| {
            let got = run(&Case {
                file,
                inline,
                vars,
                files,
            })
            .expect("a token or none");
            assert_eq!(got, expected, "{file:?} {vars:?}");
        };
        let all = [
            ("HF_TOKEN", "first"),
            ("HUGGING_FACE_HUB_TOKEN", "second"),
            ("HF_TOKEN_PATH", "/t/path"),
            ("HF_HOME", "/hf"),
            ("XDG_CACHE_HOME", "/x"),
            ("HOME", "/h"),
        ];
        check(Some("-"), None, &all, "stdin");
        check(Some("mine"), None, &all, "file");
        check(None, Some(" hf_x "), &all, "hf_x");
        check(None, None, &all, "first");
        check(None, None, &all[1..], "second");
        check(None, None, &all[2..], "by-path");
        check(None, None, &all[3..], "in-home");
        check(None, None, &all[4..], "in-xdg");
        check(None, None, &all[5..], "default");
        check(None, None, &[], "");
        check(None, None, &[("HF_TOKEN", " \n"), ("HOME", "/h")], "default");
        check(
            None,
            None,
            &[("HF_TOKEN", "first"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")],
            "",
        );
        let by_variable = [("HF_TOKEN_PATH", "$HF_HOME/token"), ("HF_HOME", "/hf")];
        check(None, None, &by_variable, "in-home");
        check(None, Some("given"), &[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], "given");
    }

    #[test]
    fn what_was_asked_for_must_be_there() {
        let fails = |file, inline| {
            run(&Case {
                file,
                inline,
                vars: &[],
                files: &[("/w/empty", "\n")],
            })
            .unwrap_err()
        };
        assert_eq!(fails(Some("gone"), None).exit(), Exit::Failed);
        assert_eq!(fails(Some("empty"), None).exit(), Exit::Usage);
        assert_eq!(fails(None, Some("  ")).exit(), Exit::Usage);
        let both = fails(Some("a"), Some("hf_secret"));
        assert!(both.exit() == Exit::Usage && !both.to_string().contains("hf_secret"));
    }
}

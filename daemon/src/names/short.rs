//! How short names are compared, and what may be one.

/// Longest short name in characters.
const LONGEST: usize = 96;

/// Why a text cannot be an alias.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAliasName {
    /// Nothing there.
    #[error("an alias needs a name")]
    Empty,
    /// Too long.
    #[error("an alias has at most {LONGEST} characters")]
    TooLong,
    /// A slash, an `@` and the like would make it look like something else.
    #[error("an alias is made of letters, digits, `.`, `-`, `_` and blanks; an id with a slash always means itself")]
    Character,
}

/// The form in which names are compared: lower case, and `_` and blanks are `-`.
pub fn same_name(name: &str) -> String {
    name.trim()
        .chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c == '_' || c == ' ' { '-' } else { c })
        .collect()
}

/// Whether a text may be an alias.
///
/// # Errors
/// With the rule that it breaks.
pub fn check_alias_name(name: &str) -> Result<(), BadAliasName> {
    let name = name.trim();
    if name.is_empty() {
        return Err(BadAliasName::Empty);
    }
    if name.chars().count() > LONGEST {
        return Err(BadAliasName::TooLong);
    }
    match name.chars().all(|c| c.is_alphanumeric() || "._- +".contains(c)) {
        true => Ok(()),
        false => Err(BadAliasName::Character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_separators_do_not_matter() {
        for spelling in ["llama-2", "LLAMA_2", " Llama 2 "] {
            assert_eq!(same_name(spelling), "llama-2");
        }
    }

    #[test]
    fn an_alias_looks_like_nothing_else() {
        for good in ["llama-2", "our model", "qwen2.5", "模型", "c++"] {
            assert_eq!(check_alias_name(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "a/b", "a@b", "hf:x", "a\nb", "../x", &"x".repeat(97)] {
            assert!(check_alias_name(bad).is_err(), "{bad}");
        }
    }
}

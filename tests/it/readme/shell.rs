//! Which programs a line of shell runs.

/// The programs of a line, in order: also those behind `|`, `&&`, `;` and inside `$(…)`.
pub(crate) fn programs(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for command in commands(line) {
        let mut words = command.split_whitespace();
        // `NAME=value program`
        let program = words.find(|word| !word.split_once('=').is_some_and(|(name, _)| is_name(name)));
        found.extend(program.map(|word| word.trim_matches('"').to_owned()));
    }
    found
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
}

fn commands(line: &str) -> Vec<String> {
    let mut commands = vec![String::new()];
    let (mut single, mut double, mut before) = (false, false, ' ');
    for c in line.chars() {
        match c {
            '\'' if !double => single = !single,
            '"' if !single => double = !double,
            '#' if !single && !double && before.is_whitespace() => break,
            '(' if !single && before == '$' => commands.push(String::new()),
            '|' | '&' | ';' | ')' if !single && !double => commands.push(String::new()),
            c => commands.last_mut().expect("one").push(c),
        }
        before = c;
    }
    commands
}

#[test]
fn programs_are_found() {
    let check = |line: &str, expected: &[&str]| assert_eq!(programs(line), expected, "{line}");
    check(
        "hfctl list --json | jq -r '.jobs[] | select(.a == \"b\")'",
        &["hfctl", "jq"],
    );
    check("ls \"$(hfctl download gpt2 --include '*.json')\"", &["ls", "hfctl"]);
    check(
        "HF_ENDPOINT=http://x hfctl wait 1 && echo ready   # hm; rm",
        &["hfctl", "echo"],
    );
    check("sim-hub --rate 5MB &", &["sim-hub"]);
}

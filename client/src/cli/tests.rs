//! What can be typed, and what it means.

use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn submit(line: &str) -> SubmitArgs {
    match parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).command {
        Command::Submit(args) | Command::Download(args) => *args,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn whose_jobs_all_are() {
    let ids = |line: &str| match parse(line).map(|cli| cli.command) {
        Ok(Command::Cancel(ids)) => Some((ids.ids.len(), ids.all, ids.user, ids.all_users)),
        _ => None,
    };
    assert_eq!(ids("hfctl cancel a b"), Some((2, false, None, false)));
    assert_eq!(ids("hfctl cancel --all"), Some((0, true, None, false)));
    let bens = Some((0, true, Some("ben".to_owned()), false));
    assert_eq!(ids("hfctl cancel --all --user ben"), bens);
    assert_eq!(ids("hfctl cancel --all-users"), Some((0, false, None, true)));
    for bad in [
        "",
        " --user ben",
        " --all a",
        " --all-users a",
        " --all-users --all --user ben",
    ] {
        assert_eq!(ids(&format!("hfctl cancel{bad}")), None, "{bad}");
    }
}

#[test]
fn include_takes_several_values_and_repeated_flags() {
    let check = |line: &str, include: &[&str], exclude: &[&str], files: &[&str]| {
        let args = submit(line);
        assert_eq!(
            (args.name.as_str(), args.include, args.exclude, args.files),
            (
                "org/x",
                include.iter().map(|p| (*p).to_owned()).collect(),
                exclude.iter().map(|p| (*p).to_owned()).collect(),
                files.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>(),
            ),
            "{line}"
        );
    };
    check(
        "hfctl submit org/x --include *.json *.txt",
        &["*.json", "*.txt"],
        &[],
        &[],
    );
    check(
        "hfctl submit org/x --include *.json --include *.txt",
        &["*.json", "*.txt"],
        &[],
        &[],
    );
    check(
        "hfctl submit org/x --include=*.json --exclude a b --include c",
        &["*.json", "c"],
        &["a", "b"],
        &[],
    );
    check("hfctl download org/x a b --include c", &["c"], &[], &["a", "b"]);
    check("hfctl download org/x --include c --revision v1", &["c"], &[], &[]);
    check("hfctl submit --include c --revision v1 org/x a", &["c"], &[], &["a"]);
    check("hfctl submit --include c -- org/x a", &["c"], &[], &["a"]);
}

#[test]
fn a_name_swallowed_by_include_is_a_usage_error() {
    let error = parse("hfctl submit --include *.json org/x").unwrap_err();
    assert_eq!(
        (error.kind(), error.exit_code()),
        (ErrorKind::MissingRequiredArgument, 2)
    );
}

#[test]
fn habits_of_older_tools_parse() {
    submit("hfctl download org/x --resume-download --local-dir-use-symlinks False --local-dir d --quiet");
    submit("hfctl download org/x --hf_username u --hf_token t --tool aria2c -x 4 -j 5 --dataset");
    submit("hfctl download org/x --no-force-download --max-workers 8 --cache-dir c --token t");
    assert!(!submit("hfctl download org/x --force-download --no-force-download").force_download);
    assert!(submit("hfctl download org/x --no-force-download --force-download").force_download);
}

#[test]
fn a_run_of_a_schedule_is_what_would_be_submitted() {
    let line = [
        "hfctl",
        "schedule",
        "add",
        "org/x",
        "a/",
        "--cron",
        "30 0 * * *",
        "--window",
        "night",
        "--keep",
        "2",
    ];
    let more = [
        "--hold-above",
        "50GiB",
        "--priority",
        "low",
        "--dataset",
        "--endpoint",
        "m1",
        "-x",
        "4",
    ];
    let command = Cli::try_parse_from(line.into_iter().chain(more))
        .expect("parses")
        .command;
    let Command::Schedule(ScheduleCommand::Add(args)) = command else {
        panic!("{command:?}");
    };
    assert_eq!(
        (args.cron.as_str(), args.keep, args.timezone.as_deref()),
        ("30 0 * * *", Some(2), None)
    );
    let run = args.one_run();
    assert_eq!(
        (
            run.name.as_str(),
            run.files,
            run.window.as_deref(),
            run.hold_above.as_deref()
        ),
        ("org/x", vec!["a/".to_owned()], Some("night"), Some("50GiB"))
    );
    assert_eq!(
        (run.priority, run.repo.dataset, run.connections),
        (Some(PriorityArg::Low), true, Some(4))
    );
    assert!(!run.wait && !run.dry_run && run.at.is_none() && run.endpoint == ["m1"]);
}

#[test]
fn contradictions_are_usage_errors() {
    for line in [
        "hfctl",
        "hfctl submit",
        "hfctl nonsense",
        "hfctl submit x --local-dir a --cache-dir b",
        "hfctl submit x --repo-type kernel",
        "hfctl submit x --token a --hf_token b",
        "hfctl submit x -x 0",
        "hfctl pause",
        "hfctl pause a --all",
        "hfctl wait",
        "hfctl wait a --timeout soon",
        "hfctl list --state odd",
        "hfctl search",
        "hfctl set a",
        "hfctl set --limit 1M",
        "hfctl limit --for 2h",
        "hfctl limit 1M --reset",
        "hfctl schedule",
        "hfctl schedule add org/x",
        "hfctl schedule add --cron @daily",
        "hfctl schedule add org/x --cron @daily --keep 1 --local-dir d",
        "hfctl schedule run",
        "hfctl usage --by colour",
        "hfctl usage --since yesterday",
        "hfctl usage --days 3 --since 2026-08-01",
    ] {
        assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
    }
}

#[test]
fn states_may_be_listed_with_commas() {
    let Command::List(args) = parse("hfctl list --state active,held --state done -n 5")
        .expect("parses")
        .command
    else {
        panic!("not a list");
    };
    assert_eq!(
        (args.state, args.limit_rows),
        (vec![StateArg::Active, StateArg::Held, StateArg::Done], Some(5))
    );
}

#[test]
fn durations() {
    let timeout = |text: &str| match parse(&format!("hfctl wait a --timeout {text}")).expect(text).command {
        Command::Wait(args) => args.timeout.map(|limit| limit.as_secs()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        ["90", "90s", "30m", "1h30m"].map(timeout),
        [Some(90), Some(90), Some(1800), Some(5400)]
    );
}

#[test]
fn global_options_work_after_the_verb() {
    let cli = parse("hfctl list --json -q --address unix:/x --color never").expect("parses");
    assert!(cli.global.json && cli.global.quiet && cli.global.color == ColorArg::Never);
    assert_eq!(cli.global.address.as_deref(), Some("unix:/x"));
}

#[test]
fn every_shown_command_has_examples() {
    use clap::CommandFactory;
    fn walk(command: &clap::Command) {
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{}", sub.get_name());
            walk(sub);
        }
    }
    walk(&Cli::command());
}

//! README.md as data: sections with what can be run in them, and the marks that say how.
//!
//! A mark is a comment in front of a block: `<!-- test: KIND; DETAIL; DETAIL -->`. A block of shell, Python or TOML without
//! one is a mistake.

/// A part under a heading of the second level.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

/// A fenced block, or a table, with its mark.
#[derive(Debug)]
pub(crate) struct Block {
    /// Where it begins.
    pub(crate) line: usize,
    /// Of the fence; `table` for a table.
    pub(crate) language: String,
    pub(crate) lines: Vec<String>,
    pub(crate) mark: Mark,
}

/// How a block is tested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) kind: String,
    pub(crate) details: Vec<String>,
}

impl Mark {
    /// The rest of the detail that begins with a word: `4` for `exit` in `exit 4`.
    pub(crate) fn after(&self, word: &str) -> Option<&str> {
        self.details
            .iter()
            .find_map(|detail| detail.strip_prefix(word))
            .map(str::trim)
    }

    fn parse(line: &str) -> Option<Self> {
        let text = line.strip_prefix("<!-- test:")?.strip_suffix("-->")?;
        let mut parts = text.split(';').map(|part| part.trim().to_owned());
        Some(Self {
            kind: parts.next()?,
            details: parts.collect(),
        })
    }
}

/// Languages of blocks that do something.
const RUNNABLE: [&str; 5] = ["sh", "console", "bash", "python", "toml"];

/// The text of the file.
pub(crate) fn text() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    std::fs::read_to_string(path).expect("README.md")
}

/// Reads the file apart.
///
/// # Panics
/// When a block or a mark is not as it should be.
pub(crate) fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut lines = text.lines().enumerate().peekable();
    let mut mark = None;
    while let Some((index, line)) = lines.next() {
        let last = sections.last_mut().expect("one");
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section {
                title: title.to_owned(),
                blocks: Vec::new(),
            });
        } else if line.starts_with("<!-- test:") {
            mark = Some(Mark::parse(line).unwrap_or_else(|| panic!("README.md:{}: a bad mark", index + 1)));
        } else if let Some(language) = line.strip_prefix("```") {
            let block = Block {
                line: index + 1,
                language: language.to_owned(),
                lines: lines
                    .by_ref()
                    .map(|(_, line)| line)
                    .take_while(|line| *line != "```")
                    .map(str::to_owned)
                    .collect(),
                mark: mark.take().unwrap_or_default(),
            };
            let marked = !block.mark.kind.is_empty();
            assert!(
                marked || !RUNNABLE.contains(&language),
                "README.md:{}: no mark",
                index + 1
            );
            if marked {
                last.blocks.push(block);
            }
        } else if line.starts_with('|') {
            let mut rows = vec![line.to_owned()];
            while let Some((_, row)) = lines.next_if(|(_, line)| line.starts_with('|')) {
                rows.push(row.to_owned());
            }
            if let Some(mark) = mark.take() {
                last.blocks.push(Block {
                    line: index + 1,
                    language: "table".to_owned(),
                    lines: rows,
                    mark,
                });
            }
        } else {
            assert!(
                line.is_empty() || mark.is_none(),
                "README.md:{}: nothing to mark",
                index + 1
            );
        }
    }
    sections
}

/// A command and what the reader is told that it prints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) shown: Vec<String>,
}

impl Block {
    /// The commands of a block of shell, or of the last column of a table.
    pub(crate) fn steps(&self) -> Vec<Step> {
        match self.language.as_str() {
            "console" => self.console(),
            "table" => self.table(),
            _ => self.script(),
        }
    }

    fn console(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            match line.strip_prefix("$ ") {
                Some(command) => steps.push(self.step(index, command)),
                None => steps
                    .last_mut()
                    .expect("a block begins with a command")
                    .shown
                    .push(line.clone()),
            }
        }
        steps
    }

    fn script(&self) -> Vec<Step> {
        let lines = self.lines.iter().enumerate().filter(|(_, line)| !line.is_empty());
        lines.map(|(index, line)| self.step(index, line)).collect()
    }

    fn table(&self) -> Vec<Step> {
        let rows = self.lines.iter().enumerate().skip(2);
        rows.map(|(index, row)| {
            let cell = row
                .trim_end_matches(['|', ' '])
                .rsplit(" | ")
                .next()
                .unwrap_or_default();
            let code = cell.split('`').nth(1).expect("a command in the last column");
            self.step(index, code)
        })
        .collect()
    }

    fn step(&self, index: usize, command: &str) -> Step {
        Step {
            line: self.line + index + usize::from(self.language != "table"),
            command: command.to_owned(),
            shown: Vec::new(),
        }
    }
}

#[test]
fn blocks_are_read() {
    let text = "# t\n\n## A\n\n<!-- test: run; exit 4; slow hub -->\n```console\n$ a b\nc\n$ d\n```\n\n<!-- test: table -->\n\
                | x | y |\n| --- | --- |\n| `old` | `new -x` (more) |\n";
    let sections = sections(text);
    let blocks = &sections[1].blocks;
    assert_eq!((sections.len(), blocks.len()), (2, 2));
    assert_eq!(
        (blocks[0].mark.after("exit"), blocks[0].mark.after("until")),
        (Some("4"), None)
    );
    let told: Vec<_> = blocks
        .iter()
        .flat_map(Block::steps)
        .map(|step| (step.line, step.command, step.shown))
        .collect();
    let step = |line: usize, command: &str, shown: &[&str]| {
        let shown = shown.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        (line, command.to_owned(), shown)
    };
    assert_eq!(
        told,
        [step(7, "a b", &["c"]), step(9, "d", &[]), step(15, "new -x", &[])]
    );
}

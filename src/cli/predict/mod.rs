//! `wattn predict`: what a trained model makes of lines.

mod tag;
mod translate;

use std::io::Read;
use std::path::{Path, PathBuf};

use super::train::options::count;
use super::train::tag::Tag;
use super::train::translate::Translate;
use super::{Session, Verdict, picture, unknown};
use crate::autograd::Device;
use crate::cli::picture::Heatmap;
use crate::io::checkpoint;
use crate::tasks::read;
use crate::{Error, Result};

/// Lines that are pictured at most: more would be a wall that nobody looks at.
const PICTURED: usize = 20;

/// Letters in a line where stderr is no terminal.
const WIDTH: usize = 100;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The directory that `wattn train` wrote.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// One text on each line; `-`, or nothing, for what comes on stdin. A model of `wattn train tag` takes the tokens with spaces between
    /// them, and where it is told the predicate, that is written as *token*.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Draw what was attended to, of the first 20 lines: .svg, .png or .html.
    #[arg(long, value_name = "FILE")]
    attention: Option<PathBuf>,
    /// Show what was attended to in the terminal.
    #[arg(long)]
    show_attention: bool,
    /// Lines that are worked on at a time.
    #[arg(long, value_name = "N", default_value = "64", value_parser = count(65_536))]
    batch: usize,
    #[command(flatten)]
    translate: translate::SearchArgs,
    #[command(flatten)]
    tag: tag::ColumnArgs,
}

impl Args {
    /// Whether anybody wants to see the attention.
    fn is_seen(&self) -> bool {
        self.show_attention || self.attention.is_some()
    }
}

/// What came of the lines: one for each of them, and for some a picture.
struct Answers {
    lines: Vec<String>,
    maps: Vec<Heatmap>,
    /// Texts that there could be a picture of.
    texts: usize,
}

impl Answers {
    fn new(lines: usize, texts: usize) -> Self {
        Answers { lines: vec![String::new(); lines], maps: vec![], texts }
    }
}

/// What the lines are, and how a fault in one of them is told.
struct Input {
    name: PathBuf,
    bytes: Vec<u8>,
}

impl Input {
    /// The file, or what is on stdin.
    fn read(path: &Path) -> Result<Self> {
        if path != Path::new("-") {
            return Ok(Input { name: path.into(), bytes: read::bytes(path)? });
        }
        let mut bytes = vec![];
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(|source| Error::Io { path: "stdin".into(), source })?;
        Ok(Input { name: "stdin".into(), bytes })
    }

    fn lines(&self) -> Result<Vec<&str>> {
        read::parse_lines(&self.bytes).map_err(|message| self.fault(message))
    }

    fn fault(&self, message: String) -> Error {
        Error::Format { path: self.name.clone(), message }
    }
}

/// Runs the command.
pub(super) fn execute(session: &mut Session, args: &Args) -> Result<Verdict> {
    args.attention.as_deref().map_or(Ok(()), picture::check_place)?;
    let predict = match checkpoint::task(&args.dir)?.as_str() {
        Translate::NAME => {
            args.tag.refuse()?;
            translate::predict as fn(&Device, &Args, &Input) -> Result<Answers>
        }
        Tag::NAME => {
            args.translate.refuse()?;
            tag::predict
        }
        other => return Err(unknown("predict", "DIR", other, [Translate::NAME, Tag::NAME])),
    };
    let input = Input::read(&args.file)?;
    let answers = predict(&session.device()?, args, &input)?;
    for line in &answers.lines {
        session.line(line)?;
    }
    if args.is_seen() && answers.maps.is_empty() {
        let expected = "a text that something is made of".into();
        return Err(Error::Argument { op: "predict", key: "--attention".into(), expected, got: "empty answers alone".into() });
    }
    if args.is_seen() && answers.texts > answers.maps.len() {
        session.note(format!("the attention of the first {} of {} lines is shown", answers.maps.len(), answers.texts));
    }
    if args.show_attention {
        let width = console::Term::stderr().size_checked().map_or(WIDTH, |(_, columns)| columns.into());
        for map in &answers.maps {
            let text = picture::terminal::text(map, width)?;
            // Where stderr is closed nobody reads it.
            let _ = writeln!(session.err, "{text}");
        }
    }
    if let Some(path) = &args.attention {
        picture::save(path, &answers.maps)?;
    }
    Ok(Verdict::Right)
}

/// The error for an option that belongs to models of another task.
fn misplaced(option: &str, task: &str) -> Error {
    let (expected, got) = (format!("a model of `wattn train {task}` with it"), "one of another task".into());
    Error::Argument { op: "predict", key: option.into(), expected, got }
}

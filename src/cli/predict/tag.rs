//! Predictions of `wattn train tag`'s models.

use super::super::train::tag::{Marker, Tag};
use super::{Answers, Input, PICTURED, misplaced};
use crate::autograd::Device;
use crate::cli::picture::Heatmap;
use crate::io::checkpoint;
use crate::models::tagger::Tags;
use crate::tasks::read;
use crate::{Error, Result};

#[derive(clap::Args)]
pub(super) struct ColumnArgs {
    /// The input has columns, as the examples that the model learned from: a token first on each line, an empty line between sentences,
    /// and, if there was one, the column of the predicate. The answer is a tag on each line.
    #[arg(long)]
    columns: bool,
}

impl ColumnArgs {
    /// Refuses options where the model has no use for them.
    pub fn refuse(&self) -> Result<()> {
        if self.columns { Err(misplaced("--columns", Tag::NAME)) } else { Ok(()) }
    }
}

/// A sentence of the input.
#[derive(Default)]
struct Sentence {
    /// Where it begins, from 0.
    line: usize,
    tokens: Vec<String>,
    predicate: Vec<bool>,
}

pub(super) fn predict(device: &Device, args: &super::Args, input: &Input) -> Result<Answers> {
    let marker = Marker::new(device, &args.dir, checkpoint::load(&args.dir, Tag::NAME)?)?;
    if args.is_seen() && marker.saved.config.model.score.is_none() {
        let expected = "a model that was trained with --score or --heads".to_string();
        return Err(Error::Argument { op: "predict", key: "--attention".into(), expected, got: "one without attention".into() });
    }
    let count = input.lines()?.len();
    let sentences = if args.tag.columns { columns(&marker, input)? } else { lines(&marker, input)? };
    let words: Vec<Vec<i32>> = sentences.iter().map(|sentence| marker.encode(&sentence.tokens)).collect();
    let words: Vec<&[i32]> = words.iter().map(Vec::as_slice).collect();
    let marks: Vec<&[bool]> = sentences.iter().map(|sentence| &sentence.predicate[..]).collect();
    let found = marker.mark(&words, &marks, args.batch)?;
    let mut answers = Answers::new(count, sentences.len());
    for (sentence, found) in sentences.iter().zip(&found) {
        let (tags, own) = (marker.tags(found), &mut answers.lines[sentence.line..]);
        if args.tag.columns {
            own.iter_mut().zip(tags).for_each(|(line, tag)| *line = tag.to_string());
        } else {
            own[0] = tags.join(" ");
        }
    }
    if args.is_seen() {
        answers.maps = sentences.iter().zip(&found).take(PICTURED).filter_map(|(sentence, found)| heatmap(sentence, found)).collect();
    }
    Ok(answers)
}

/// A sentence on each line.
fn lines(marker: &Marker, input: &Input) -> Result<Vec<Sentence>> {
    let mut sentences = vec![];
    for (line, text) in input.lines()?.into_iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let mut sentence = Sentence { line, ..Default::default() };
        for token in text.split_whitespace() {
            let marked = token.strip_prefix('*').and_then(|token| token.strip_suffix('*')).filter(|token| !token.is_empty());
            let marked = marked.filter(|_| marker.asks_for_predicate());
            sentence.tokens.push(marked.unwrap_or(token).to_string());
            sentence.predicate.push(marked.is_some());
        }
        if marker.asks_for_predicate() && !sentence.predicate.contains(&true) {
            let message = "no token is marked as the predicate that is asked about, as in `Anna *gave* him a hat .`";
            return Err(input.fault(format!("line {}: {message}", line + 1)));
        }
        sentences.push(sentence);
    }
    Ok(sentences)
}

/// A token on each line.
fn columns(marker: &Marker, input: &Input) -> Result<Vec<Sentence>> {
    let column = marker.saved.config.options.predicate_column.filter(|_| marker.asks_for_predicate());
    let sentence = |rows: read::Rows| {
        let mut sentence = Sentence { line: rows.line - 1, ..Default::default() };
        for (row, number) in rows.rows.iter().zip(rows.line..) {
            if let Some(column) = column {
                let short = || input.fault(format!("line {number}: there is no column {column}, where the model has the predicate"));
                sentence.predicate.push(read::is_predicate(row.get(column - 1).ok_or_else(short)?));
            }
            sentence.tokens.push(row[0].clone());
        }
        Ok(sentence)
    };
    let rows = read::parse_rows(&input.bytes).map_err(|message| input.fault(message))?;
    rows.into_iter().map(sentence).collect()
}

fn heatmap(sentence: &Sentence, found: &Tags) -> Option<Heatmap> {
    Some(Heatmap {
        title: sentence.tokens.join(" "),
        down: "query".into(),
        across: "key".into(),
        rows: sentence.tokens.clone(),
        columns: sentence.tokens.clone(),
        weights: found.weights.as_ref()?.concat(),
    })
}

//! Predictions of `wattn train tag`'s models.

use super::super::train::tag::{Marker, Tag};
use super::{Answers, Input, PICTURED, misplaced};
use crate::autograd::Device;
use crate::cli::picture::Heatmap;
use crate::io::checkpoint;
use crate::models::tagger::{Sentences, Tags};
use crate::tasks::{Batches, read};
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
    let mut answers = vec![String::new(); count];
    let mut maps = vec![];
    for batch in Batches::new(sentences.iter().map(|sentence| sentence.tokens.len()).collect(), args.batch, 0).sorted() {
        let words: Vec<Vec<i32>> = batch.iter().map(|&i| marker.encode(&sentences[i].tokens)).collect();
        let marks: Vec<Vec<bool>> = batch.iter().map(|&i| sentences[i].predicate.clone()).collect();
        let marks = marker.asks_for_predicate().then_some(&marks[..]);
        let found = marker.model.predict(&Sentences::new(device, &words, marks)?)?;
        for (&i, found) in batch.iter().zip(&found) {
            let (sentence, tags) = (&sentences[i], marker.tags(found));
            if args.tag.columns {
                answers[sentence.line..].iter_mut().zip(&tags).for_each(|(answer, tag)| *answer = tag.to_string());
            } else {
                answers[sentence.line] = tags.join(" ");
            }
            if args.is_seen() && i < PICTURED {
                maps.extend(heatmap(sentence, found).map(|map| (i, map)));
            }
        }
    }
    maps.sort_by_key(|(i, _)| *i);
    Ok(Answers { lines: answers, maps: maps.into_iter().map(|(_, map)| map).collect(), texts: sentences.len() })
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

//! Predictions of `wattn train translate`'s models.

use super::super::train::options::count;
use super::super::train::translate::{Translate, Translator};
use super::{Answers, Input, PICTURED, misplaced};
use crate::autograd::Device;
use crate::cli::picture::Heatmap;
use crate::io::checkpoint;
use crate::models::seq2seq::{Decoded, SearchOptions};
use crate::{Error, Result};

#[derive(clap::Args)]
pub(super) struct SearchArgs {
    /// Translations that are followed at a time (beam search); 1, the default, goes on with the likeliest alone.
    #[arg(long, value_name = "N", value_parser = count(1_000))]
    beam: Option<usize>,
    /// The most characters or words of a translation. Twice the longest that was learned from, if it is left out.
    #[arg(long, value_name = "N", value_parser = count(100_000))]
    max_length: Option<usize>,
    /// Compare translations by log p / lengthᵅ with this α: above 0, longer ones have a better chance.
    #[arg(long, value_name = "ALPHA")]
    length_penalty: Option<f64>,
}

impl SearchArgs {
    /// Refuses options where the model has no use for them.
    pub fn refuse(&self) -> Result<()> {
        let given = [
            ("--beam", self.beam.is_some()),
            ("--max-length", self.max_length.is_some()),
            ("--length-penalty", self.length_penalty.is_some()),
        ];
        given.iter().find(|(_, given)| *given).map_or(Ok(()), |(option, _)| Err(misplaced(option, Translate::NAME)))
    }
}

pub(super) fn predict(device: &Device, args: &super::Args, input: &Input) -> Result<Answers> {
    let translator = Translator::new(device, &args.dir, checkpoint::load(&args.dir, Translate::NAME)?)?;
    let lines = input.lines()?;
    // Of the lines with a text: the number from 0, and the ids.
    let known = |(at, line): (usize, &&str)| match translator.source.known(line) {
        Ok(ids) => Ok((at, ids)),
        Err(message) => Err(input.fault(format!("line {}: {message}", at + 1))),
    };
    let texts: Vec<(usize, Vec<i32>)> = (0..).zip(&lines).filter(|(_, line)| !line.trim().is_empty()).map(known).collect::<Result<_>>()?;
    let own = &args.translate;
    if let Some(wrong) = own.length_penalty.filter(|penalty| !penalty.is_finite()) {
        let expected = "a number".to_string();
        return Err(Error::Argument { op: "predict", key: "--length-penalty".into(), expected, got: wrong.to_string() });
    }
    let search = SearchOptions {
        beam: own.beam.unwrap_or(1),
        max_length: own.max_length.unwrap_or_else(|| translator.max_length()),
        length_penalty: own.length_penalty.unwrap_or(0.0),
    };
    let sources: Vec<&[i32]> = texts.iter().map(|(_, ids)| &ids[..]).collect();
    let found = translator.translate(&sources, args.batch, &search)?;
    let mut answers = Answers::new(lines.len(), texts.len());
    for ((line, _), found) in texts.iter().zip(&found) {
        answers.lines[*line] = translator.target.decode(&found.ids);
    }
    if args.is_seen() {
        let seen = texts.iter().zip(&found).take(PICTURED).filter(|(_, found)| !found.ids.is_empty());
        answers.maps = seen.map(|((line, _), found)| heatmap(lines[*line], &translator, found)).collect();
    }
    Ok(answers)
}

fn heatmap(line: &str, translator: &Translator, found: &Decoded) -> Heatmap {
    let Translator { source, target, .. } = translator;
    let rows: Vec<String> = found.ids.iter().map(|&id| target.show(id).to_string()).collect();
    Heatmap {
        title: format!("{line} → {}", target.decode(&found.ids)),
        down: "output".into(),
        across: "input".into(),
        // Without the row of the end, which no letter stands for.
        weights: found.weights[..rows.len()].concat(),
        rows,
        columns: source.unit().split(line).into_iter().map(String::from).collect(),
    }
}

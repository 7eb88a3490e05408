//! Beam search: the likeliest targets, one id after the other. With one hypothesis it is the greedy search.
//!
//! All hypotheses of all sequences are rows of one batch. A step decodes them, takes the logarithms of the probabilities to the host, keeps
//! the best hypotheses of each sequence, and gathers the states of those that they go on from; states and keys stay on the device. What
//! has ended keeps its place until the best are all ended or too long. Among equals the earlier hypothesis and the lower id win.
//!
//! Source: Graves 2012, arXiv:1211.3711; Wu et al. 2016, arXiv:1609.08144, section 7, for the division by the length.

use super::seq2seq::{Decoded, Memory, SearchOptions, Seq2Seq};
use super::{BOS, EOS, PAD, Sequences};
use crate::autograd::{Device, Variable, apply, settings};
use crate::nn::{Mode, States};
use crate::ops::embedding::Embedding;
use crate::{Array, Error, Result};

#[derive(Clone)]
struct Hypothesis {
    ids: Vec<i32>,
    log_p: f64,
    weights: Vec<Vec<f32>>,
    ended: bool,
    /// The row that it goes on from.
    row: usize,
}

impl Hypothesis {
    /// What hypotheses are compared by.
    fn rank(&self, penalty: f64) -> f64 {
        let length = self.ids.len() + usize::from(self.ended);
        self.log_p / (length.max(1) as f64).powf(penalty)
    }
}

/// Rows of a variable `[rows, ..]` in another order, some several times.
fn gather(x: &Variable, rows: &[i32]) -> Result<Variable> {
    let shape = x.shape();
    let columns = shape[1..].iter().product();
    let ids = x.device().constant(Array::i32(&[rows.len()], rows.to_vec()))?;
    let gathered = apply(&Embedding, &[("ids", &ids), ("weight", &x.reshape(&[shape[0], columns])?)], &settings(&[]))?.get("y")?;
    gathered.reshape(&[&[rows.len()], &shape[1..]].concat())
}

/// The same of states `[layers, rows, hidden]`.
fn gather_states(states: &States, rows: &[i32]) -> Result<States> {
    let turned = |x: &Variable| gather(&x.transpose(&[1, 0, 2])?, rows)?.transpose(&[1, 0, 2]);
    Ok(States { h: turned(&states.h)?, c: states.c.as_ref().map(turned).transpose()? })
}

/// Each sequence `beam` times.
fn repeated(device: &Device, memory: Memory, source: &Sequences, beam: usize) -> Result<Memory> {
    if beam == 1 {
        return Ok(memory);
    }
    let rows: Vec<i32> = (0..source.batch() as i32).flat_map(|b| std::iter::repeat_n(b, beam)).collect();
    let time = source.time();
    let mask = source.counts().iter().flat_map(|&count| (0..beam * time).map(move |n| u8::from(n % time < count)));
    let mask = device.constant(Array::u8(&[rows.len(), time], mask.collect()))?;
    Ok(Memory { keys: gather(&memory.keys, &rows)?, mask, states: gather_states(&memory.states, &rows)? })
}

/// The best of each sequence.
pub(super) fn search(model: &Seq2Seq, source: &Sequences, options: &SearchOptions) -> Result<Vec<Decoded>> {
    let &SearchOptions { beam, max_length, length_penalty: penalty } = options;
    for (key, value) in [("beam", beam), ("max_length", max_length)] {
        if value == 0 {
            return Err(Error::Argument { op: "search", key: key.into(), expected: "at least 1".into(), got: "0".into() });
        }
    }
    let (device, mode) = (source.ids.device(), Mode::predict());
    let mut memory = repeated(device, model.encode(source, &mode)?, source, beam)?;
    let begin = |row| Hypothesis { ids: vec![], log_p: 0.0, weights: vec![], ended: false, row };
    let mut beams: Vec<Vec<Hypothesis>> = (0..source.batch()).map(|b| vec![begin(b * beam)]).collect();
    for _ in 0..max_length {
        // Rows that have no hypothesis decode the filling, and nobody looks at them.
        let mut last = vec![PAD; source.batch() * beam];
        beams.iter().flatten().filter(|h| !h.ended).for_each(|h| last[h.row] = h.ids.last().copied().unwrap_or(BOS));
        let ids = device.constant(Array::i32(&[last.len(), 1], last))?;
        let (logits, weights, states) = model.decode(&memory, &ids, &mode)?;
        let (log_p, weights) = (logits.log_softmax()?.array()?.to_f64(), weights.array()?.to_f64());
        let (columns, time) = (model.options().target, source.time());
        for (own, &count) in beams.iter_mut().zip(source.counts()) {
            let seen = |row: usize| weights[row * time..][..count].iter().map(|&w| w as f32).collect::<Vec<f32>>();
            *own = best(own, beam, penalty, |row| &log_p[row * columns..][..columns], seen);
        }
        if beams.iter().flatten().all(|hypothesis| hypothesis.ended) {
            break;
        }
        let mut rows: Vec<i32> = (0..(source.batch() * beam) as i32).collect();
        for (b, own) in beams.iter_mut().enumerate() {
            for (place, hypothesis) in own.iter_mut().enumerate() {
                rows[b * beam + place] = hypothesis.row as i32;
                hypothesis.row = b * beam + place;
            }
        }
        let in_place = rows.iter().enumerate().all(|(n, &row)| n as i32 == row);
        memory.states = if in_place { states } else { gather_states(&states, &rows)? };
    }
    let decoded = |own: Vec<Hypothesis>| {
        let better = |a: Hypothesis, b: Hypothesis| if b.rank(penalty) > a.rank(penalty) { b } else { a };
        let Some(found) = own.into_iter().reduce(better) else { unreachable!("there always is a hypothesis") };
        Decoded { ids: found.ids, log_p: found.log_p, weights: found.weights }
    };
    Ok(beams.into_iter().map(decoded).collect())
}

/// The best that the hypotheses of a sequence can become with one more id.
fn best<'a>(
    own: &[Hypothesis],
    beam: usize,
    penalty: f64,
    log_p: impl Fn(usize) -> &'a [f64],
    seen: impl Fn(usize) -> Vec<f32>,
) -> Vec<Hypothesis> {
    // (rank, hypothesis, id): an ended one goes on as it is.
    let mut candidates: Vec<(f64, usize, Option<usize>)> = vec![];
    for (n, hypothesis) in own.iter().enumerate() {
        if hypothesis.ended {
            candidates.push((hypothesis.rank(penalty), n, None));
            continue;
        }
        let length = (hypothesis.ids.len() + 1) as f64;
        let ids = log_p(hypothesis.row).iter().enumerate().filter(|&(id, _)| id != PAD as usize && id != BOS as usize);
        candidates.extend(ids.map(|(id, log_p)| ((hypothesis.log_p + log_p) / length.powf(penalty), n, Some(id))));
    }
    // The sort is stable: among equals the earlier one stays first. A NaN is never better.
    let key = |rank: f64| if rank.is_nan() { f64::NEG_INFINITY } else { rank };
    candidates.sort_by(|a, b| key(b.0).total_cmp(&key(a.0)));
    candidates.truncate(beam);
    let grown = |(_, n, id): (f64, usize, Option<usize>)| {
        let mut hypothesis = own[n].clone();
        if let Some(id) = id {
            hypothesis.log_p += log_p(hypothesis.row)[id];
            hypothesis.weights.push(seen(hypothesis.row));
            hypothesis.ended = id == EOS as usize;
            if !hypothesis.ended {
                hypothesis.ids.push(id as i32);
            }
        }
        hypothesis
    };
    candidates.into_iter().map(grown).collect()
}

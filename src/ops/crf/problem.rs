//! Sizes and options, and the checks of what a user hands over.

use super::OP;
use crate::array::show_shape;
use crate::ops::host::{elements, expect_shape, expect_upstream, integers, list, misfit, required};
use crate::ops::{Request, Settings};
use crate::{Array, Error, Result};

/// How the sequences' nll become the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    #[default]
    Sum,
    /// Over the number of sequences.
    Mean,
    /// Over the number of steps of all sequences; 0 where there is none.
    TokenMean,
}

/// What is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrfOptions {
    /// How the sequences' nll become the loss.
    pub reduction: Reduction,
}

impl CrfOptions {
    /// From `--set` keys.
    pub(super) fn of(settings: &Settings) -> Result<Self> {
        let reduction = match settings.text("reduction") {
            None | Some("sum") => Reduction::Sum,
            Some("mean") => Reduction::Mean,
            Some("token_mean") => Reduction::TokenMean,
            Some(text) => {
                let expected = "sum, mean or token_mean".into();
                return Err(Error::Argument { op: OP, key: "reduction".into(), expected, got: format!("'{text}'") });
            }
        };
        Ok(CrfOptions { reduction })
    }
}

/// The shapes of a call.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// Of emissions.
    pub emissions: &'a [usize],
    /// Of transitions.
    pub transitions: &'a [usize],
    /// Of start.
    pub start: &'a [usize],
    /// Of end.
    pub end: &'a [usize],
    /// Of tags, where there are any.
    pub tags: Option<&'a [usize]>,
}

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Sequences.
    pub batch: usize,
    /// Steps of a sequence, those past its length included.
    pub time: usize,
    /// Tags that a step chooses from.
    pub columns: usize,
    /// The steps of each sequence.
    pub lengths: Vec<u32>,
    /// What is computed.
    pub options: CrfOptions,
}

impl Problem {
    /// Checks shapes and lengths (all of time when absent) against one another.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit, [`Error::Limit`] for more than 2³¹ elements, [`Error::Argument`] for a length below 0
    /// or above time.
    pub fn new(shapes: &Shapes, lengths: Option<&[i32]>, options: &CrfOptions) -> Result<Self> {
        let &[batch, time, columns] = shapes.emissions else {
            return Err(misfit(OP, "emissions", shapes.emissions, "[B, T, K]"));
        };
        elements(OP, "emissions", shapes.emissions)?;
        elements(OP, "transitions", &[columns, columns])?;
        expect_shape(OP, "transitions", shapes.transitions, &[columns, columns])?;
        expect_shape(OP, "start", shapes.start, &[columns])?;
        expect_shape(OP, "end", shapes.end, &[columns])?;
        shapes.tags.map_or(Ok(()), |tags| expect_shape(OP, "tags", tags, &[batch, time]))?;
        let lengths = match lengths {
            None => vec![time as u32; batch],
            Some(lengths) => {
                expect_shape(OP, "lengths", &[lengths.len()], &[batch])?;
                lengths.iter().enumerate().map(|(b, &length)| checked_length(b, length, time)).collect::<Result<_>>()?
            }
        };
        Ok(Problem { batch, time, columns, lengths, options: *options })
    }

    /// Of a request, whose tags and upstream gradient are checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`]; [`Error::Argument`] for a tag, within its sequence's length, that there is not; for keys that cannot be read.
    pub fn of(request: &Request) -> Result<Self> {
        let shape = |name: &str| required(OP, request, name).map(Array::shape);
        let shapes = Shapes {
            emissions: shape("emissions")?,
            transitions: shape("transitions")?,
            start: shape("start")?,
            end: shape("end")?,
            tags: Some(shape("tags")?),
        };
        let lengths = request.tensor("lengths").map(|array| list(OP, "lengths", "[B]", array)).transpose()?;
        let problem = Problem::new(&shapes, lengths, &CrfOptions::of(&request.settings)?)?;
        problem.check_tags(required(OP, request, "tags")?)?;
        expect_upstream(OP, request, "loss", &[])?;
        Ok(problem)
    }

    fn check_tags(&self, tags: &Array) -> Result<()> {
        for (b, (tags, &length)) in integers(OP, "tags", tags)?.chunks(self.time).zip(&self.lengths).enumerate() {
            let none = |tag: &i32| usize::try_from(*tag).map_or(true, |tag| tag >= self.columns);
            if let Some(t) = tags[..length as usize].iter().position(none) {
                let expected = format!("at least 0 and below {}, the number of tags", self.columns);
                return Err(Error::Argument { op: OP, key: format!("tags{}", show_shape(&[b, t])), expected, got: tags[t].to_string() });
            }
        }
        Ok(())
    }

    /// `[batch, time, columns]`
    pub fn emissions_shape(&self) -> [usize; 3] {
        [self.batch, self.time, self.columns]
    }

    /// The steps of all sequences together.
    pub fn total_steps(&self) -> usize {
        self.lengths.iter().map(|&length| length as usize).sum()
    }

    /// The steps of the longest sequence.
    pub fn longest(&self) -> usize {
        self.lengths.iter().max().map_or(0, |&length| length as usize)
    }

    /// What the sum of all nll is divided by to be the loss; at least 1.
    pub fn divisor(&self) -> usize {
        match self.options.reduction {
            Reduction::Sum => 1,
            Reduction::Mean => self.batch,
            Reduction::TokenMean => self.total_steps().max(1),
        }
    }
}

fn checked_length(b: usize, length: i32, time: usize) -> Result<u32> {
    match u32::try_from(length) {
        Ok(length) if length as usize <= time => Ok(length),
        _ => {
            let expected = format!("at least 0 and at most {time}, the number of steps");
            Err(Error::Argument { op: OP, key: format!("lengths[{b}]"), expected, got: length.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Arrays, Case, find};

    fn problem(lengths: Option<&[i32]>, reduction: Reduction) -> Result<Problem> {
        let shapes = Shapes { emissions: &[2, 3, 5], transitions: &[5, 5], start: &[5], end: &[5], tags: Some(&[2, 3]) };
        Problem::new(&shapes, lengths, &CrfOptions { reduction })
    }

    #[test]
    fn sizes() {
        let p = problem(Some(&[3, 0]), Reduction::TokenMean).unwrap();
        assert_eq!((p.batch, p.time, p.columns, p.total_steps(), p.longest(), p.divisor()), (2, 3, 5, 3, 3, 3));
        assert_eq!(problem(None, Reduction::Mean).unwrap().divisor(), 2);
        assert_eq!(problem(Some(&[0, 0]), Reduction::TokenMean).unwrap().divisor(), 1);
        let message = |lengths| problem(Some(lengths), Reduction::Sum).unwrap_err().to_string();
        assert_eq!(message(&[3, 4]), "crf: lengths[1] = 4; expected at least 0 and at most 3, the number of steps");
        assert_eq!(message(&[-1, 3]), "crf: lengths[0] = -1; expected at least 0 and at most 3, the number of steps");
        assert_eq!(message(&[3]), "crf: 'lengths' has shape [1]; expected [2]");
    }

    /// The error of a case in which one tensor is replaced.
    fn error(name: &str, array: Array, settings: &'static [(&'static str, &'static str)]) -> String {
        let op = find(OP).unwrap();
        let request = Case::new("right", "2,3,5", &[]).request(op, 1).unwrap();
        let mut tensors: Arrays = request.tensors;
        tensors.insert("lengths".into(), Array::i32(&[2], vec![1, 3]));
        tensors.insert(name.into(), array);
        let settings = Settings::new(settings.iter().map(|&(key, value)| (key.to_string(), value.to_string())));
        let request = Request::new(op.spec(), tensors, settings).unwrap();
        Problem::of(&request).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let tags = |tags: [i32; 6]| Array::i32(&[2, 3], tags.to_vec());
        assert_eq!(
            error("tags", tags([0, 9, -1, 4, 0, 5]), &[]),
            "crf: tags[1, 2] = 5; expected at least 0 and below 5, the number of tags"
        );
        assert_eq!(
            error("tags", tags([-1, 0, 0, 0, 0, 0]), &[]),
            "crf: tags[0, 0] = -1; expected at least 0 and below 5, the number of tags"
        );
        assert_eq!(error("tags", Array::i32(&[6], vec![0; 6]), &[]), "crf: 'tags' has shape [6]; expected [2, 3]");
        assert_eq!(error("end", Array::f32(&[4], vec![0.0; 4]), &[]), "crf: 'end' has shape [4]; expected [5]");
        assert_eq!(error("d_loss", Array::f32(&[2], vec![0.0; 2]), &[]), "crf: 'd_loss' has shape [2]; expected []");
        let start = Array::f32(&[5], vec![0.0; 5]);
        assert_eq!(error("start", start, &[("reduction", "none")]), "crf: reduction = 'none'; expected sum, mean or token_mean");
    }
}

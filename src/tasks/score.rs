//! How good answers are: exact matches, and entities found and missed, counted as conlleval does (Tjong Kim Sang & De Meulder 2003,
//! arXiv:cs/0306050).

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// The share of answers that are the right one to the last character; 0 of none.
pub fn exact<'a>(answers: impl IntoIterator<Item = (&'a str, &'a str)>) -> f64 {
    let (mut right, mut all) = (0usize, 0usize);
    for (answer, expected) in answers {
        right += usize::from(answer == expected);
        all += 1;
    }
    share(right, all)
}

fn share(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// Something that is marked in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entity {
    /// What is behind `B-` and `I-`.
    pub kind: String,
    /// Its tokens.
    pub span: Range<usize>,
}

/// What tags mark. One begins at every `B-`, and at an `I-` that does not go on with the entity before it: behind `O`, at the beginning,
/// or with another type. Whatever is neither `B-` nor `I-` marks nothing.
pub fn entities(tags: &[impl AsRef<str>]) -> Vec<Entity> {
    let mut found: Vec<Entity> = vec![];
    for (at, tag) in tags.iter().enumerate() {
        let Some((mark, kind)) = tag.as_ref().split_once('-').filter(|(mark, _)| ["B", "I"].contains(mark)) else { continue };
        match found.last_mut().filter(|open| mark == "I" && open.span.end == at && open.kind == kind) {
            Some(open) => open.span.end = at + 1,
            None => found.push(Entity { kind: kind.to_string(), span: at..at + 1 }),
        }
    }
    found
}

/// Entities counted: one is right when it is of the right type and has exactly the right tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Found and right.
    pub right: usize,
    /// Found.
    pub found: usize,
    /// To be found.
    pub expected: usize,
}

impl Counts {
    /// The share of what was found that is right; 0 of nothing.
    pub fn precision(&self) -> f64 {
        share(self.right, self.found)
    }

    /// The share of what was to be found that was; 0 of nothing.
    pub fn recall(&self) -> f64 {
        share(self.right, self.expected)
    }

    /// The harmonic mean of both; 0 where both are.
    pub fn f1(&self) -> f64 {
        share(2 * self.right, self.found + self.expected)
    }
}

/// Entities counted, all of them and by type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Of all types.
    pub all: Counts,
    /// Of each type.
    pub by_kind: BTreeMap<String, Counts>,
}

impl Score {
    /// Adds a sentence: the tags that were found, and the right ones.
    pub fn add(&mut self, found: &[impl AsRef<str>], expected: &[impl AsRef<str>]) {
        let (found, expected) = (entities(found), entities(expected));
        let known: HashSet<&Entity> = expected.iter().collect();
        let mut count = |entity: &Entity, add: fn(&mut Counts)| {
            add(&mut self.all);
            add(self.by_kind.entry(entity.kind.clone()).or_default());
        };
        found.iter().filter(|entity| known.contains(entity)).for_each(|entity| count(entity, |counts| counts.right += 1));
        found.iter().for_each(|entity| count(entity, |counts| counts.found += 1));
        expected.iter().for_each(|entity| count(entity, |counts| counts.expected += 1));
    }
}

/// The count over sentences, each with the tags that were found and the right ones.
pub fn f1<'a, S: AsRef<str> + 'a, T: AsRef<str> + 'a>(sentences: impl IntoIterator<Item = (&'a [S], &'a [T])>) -> Score {
    let mut count = Score::default();
    sentences.into_iter().for_each(|(found, expected)| count.add(found, expected));
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    #[test]
    fn exact_is_exact() {
        assert_eq!(exact([("a", "a"), ("a", "a "), ("", ""), ("b", "a")]), 0.5);
        assert_eq!(exact([]), 0.0);
    }

    #[test]
    fn entities_begin_and_end_as_in_conlleval() {
        let spans = |text: &str| {
            entities(&words(text)).into_iter().map(|e| format!("{}{}-{}", e.kind, e.span.start, e.span.end)).collect::<Vec<_>>()
        };
        assert_eq!(spans("B-X I-X O B-X"), ["X0-2", "X3-4"]);
        assert_eq!(spans("B-X B-X I-X"), ["X0-1", "X1-3"]);
        // An entity may begin with I-.
        assert_eq!(spans("I-X I-X O I-Y"), ["X0-2", "Y3-4"]);
        assert_eq!(spans("B-X I-Y I-Y I-X"), ["X0-1", "Y1-3", "X3-4"]);
        assert_eq!(spans("O O"), [""; 0]);
        assert_eq!(spans("B-AM-LOC I-AM-LOC"), ["AM-LOC0-2"]);
    }

    /// A sentence where conlleval says: 4 phrases, 4 found, 2 correct; precision 50 %, recall 50 %.
    #[test]
    fn f1_counts_whole_entities() {
        let expected = words("B-LOC I-LOC O B-DATE I-DATE I-DATE O B-LOC O B-LOC");
        let found = words("B-LOC I-LOC O B-DATE I-DATE O O B-DATE O I-LOC");
        let count = f1([(&found[..], &expected[..])]);
        assert_eq!(count.all, Counts { right: 2, found: 4, expected: 4 });
        assert_eq!((count.all.precision(), count.all.recall(), count.all.f1()), (0.5, 0.5, 0.5));
        assert_eq!(count.by_kind["LOC"], Counts { right: 2, found: 2, expected: 3 });
        assert_eq!(count.by_kind["DATE"], Counts { right: 0, found: 2, expected: 1 });
    }

    #[test]
    fn nothing_found_is_zero_and_not_nan() {
        let none: [&str; 1] = ["O"];
        let count = f1([(&none[..], &none[..])]);
        assert_eq!((count.all.precision(), count.all.recall(), count.all.f1()), (0.0, 0.0, 0.0));
        let missed = f1([(&none[..], &["B-X"][..])]);
        assert_eq!((missed.all.recall(), missed.all.f1()), (0.0, 0.0));
    }
}

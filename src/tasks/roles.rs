//! Semantic roles: sentences with two predicates, each asked about in turn, and the words to mark are the arguments of the one that is
//! asked about: who did it (`A0`), what (`A1`), to whom (`A2`), where (`AM-LOC`) and when (`AM-TMP`), named as in PropBank (Palmer,
//! Gildea & Kingsbury 2005, doi:10.1162/0891201053630264).
//!
//! Every sentence is there twice, with the one predicate marked and with the other. So who does not see the mark cannot know which of two
//! answers is asked for. (And so every word is there twice at least: a vocabulary that leaves out what is rare has to ask for three.)
//! Place names and surnames of `valid` and `test` are in no training sentence.

use super::dates::Day;
use super::{Sizes, Split, Tagged, chance, dates, names, pick};
use crate::Result;
use crate::ops::philox::Rng;

/// What `wattn train tag --generate --predicate-column 2` draws, in sentences; the examples are twice as many.
pub const SIZES: Sizes = Sizes { train: 5_000, valid: 250, test: 500 };

/// Somebody does something with a thing.
const TAKING: [&str; 10] = ["bought", "found", "lost", "painted", "broke", "hid", "drew", "mended", "stole", "kept"];
/// Somebody gives a thing to somebody.
const GIVING: [&str; 6] = ["gave", "sent", "showed", "sold", "lent", "brought"];
/// The same, suffered.
const GIVEN: [&str; 6] = ["given", "sent", "shown", "sold", "lent", "brought"];
const THINGS: [&str; 14] = ["hat", "key", "coin", "book", "lamp", "chair", "clock", "boat", "ring", "map", "cup", "bag", "knife", "bell"];
const KINDS: [&str; 6] = ["red", "small", "new", "heavy", "green", "broken"];

/// A sentence with what each word is to each of its two predicates.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Sentence {
    of: [Tagged; 2],
}

impl Sentence {
    /// Words that have a role for one predicate and none for the other.
    fn push(&mut self, text: &str, predicate: usize, role: &str) {
        self.of[predicate].push(text, Some(role));
        self.of[1 - predicate].push(text, None);
    }

    /// Words that have the same role, or none, for both.
    fn shared(&mut self, text: &str, role: Option<&str>) {
        self.of.iter_mut().for_each(|tagged| tagged.push(text, role));
    }

    /// The word that is the predicate.
    fn verb(&mut self, word: &str, predicate: usize) {
        self.shared(word, None);
        let place = self.of[0].tokens.len() - 1;
        self.of[predicate].predicate = (0..=place).map(|at| at == place).collect();
    }

    /// Both examples, the marks as long as the sentence.
    fn finish(mut self) -> [Tagged; 2] {
        self.shared(".", None);
        self.of.map(|mut tagged| {
            tagged.predicate.resize(tagged.tokens.len(), false);
            tagged
        })
    }
}

/// What draws the words.
struct Words<'a> {
    rng: &'a mut Rng,
    calendar: &'a [Day],
    share: usize,
}

impl Words<'_> {
    fn person(&mut self) -> String {
        names::person(self.rng, self.share)
    }

    fn thing(&mut self) -> String {
        let thing = pick(self.rng, &THINGS);
        if chance(self.rng, 0.4) { format!("a {} {thing}", pick(self.rng, &KINDS)) } else { format!("a {thing}") }
    }

    /// Where and when, sometimes.
    fn circumstances(&mut self, to: &mut Sentence, predicate: usize) {
        if chance(self.rng, 0.4) {
            to.push(&format!("in {}", names::place(self.rng, self.share)), predicate, "AM-LOC");
        }
        if chance(self.rng, 0.3) {
            to.push(&format!("on {}", names::day(self.rng, self.calendar)), predicate, "AM-TMP");
        }
    }

    /// What the predicate says of somebody, whom the sentence has named already.
    fn says(&mut self, to: &mut Sentence, predicate: usize) {
        let thing = self.thing();
        match self.rng.below(4) {
            0 => {
                let (verb, person) = (pick(self.rng, &GIVING), self.person());
                to.verb(verb, predicate);
                to.push(&person, predicate, "A2");
                to.push(&thing, predicate, "A1");
            }
            1 => {
                let (verb, person) = (pick(self.rng, &GIVING), self.person());
                to.verb(verb, predicate);
                to.push(&thing, predicate, "A1");
                to.push(&format!("to {person}"), predicate, "A2");
            }
            _ => {
                to.verb(pick(self.rng, &TAKING), predicate);
                to.push(&thing, predicate, "A1");
            }
        }
        self.circumstances(to, predicate);
    }

    /// A clause with a subject of its own.
    fn clause(&mut self, to: &mut Sentence, predicate: usize) {
        if chance(self.rng, 0.2) {
            let (thing, receiver, giver) = (self.thing(), self.person(), self.person());
            to.push(&thing, predicate, "A1");
            to.shared("was", None);
            to.verb(pick(self.rng, &GIVEN), predicate);
            to.push(&format!("to {receiver}"), predicate, "A2");
            to.push(&format!("by {giver}"), predicate, "A0");
            self.circumstances(to, predicate);
        } else {
            let person = self.person();
            to.push(&person, predicate, "A0");
            self.says(to, predicate);
        }
    }

    fn sentence(&mut self) -> Sentence {
        let mut sentence = Sentence::default();
        match self.rng.below(4) {
            0 => {
                self.clause(&mut sentence, 0);
                sentence.shared(pick(self.rng, &[", and", ", but", "while"]), None);
                self.clause(&mut sentence, 1);
            }
            1 => {
                sentence.shared(pick(self.rng, &["before", "after", "when"]), None);
                self.clause(&mut sentence, 0);
                sentence.shared(",", None);
                self.clause(&mut sentence, 1);
            }
            2 => {
                sentence.shared(&self.person(), Some("A0"));
                self.says(&mut sentence, 0);
                sentence.shared("and", None);
                self.says(&mut sentence, 1);
            }
            _ => {
                sentence.shared(&self.person(), Some("A0"));
                sentence.shared(", who", None);
                self.says(&mut sentence, 0);
                sentence.shared(",", None);
                self.says(&mut sentence, 1);
            }
        }
        sentence
    }
}

/// Draws sentences; each gives two examples, one after the other.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) when there are not so many different held-out sentences: far beyond a million.
pub fn generate(sizes: &Sizes, seed: u64) -> Result<Split<Tagged>> {
    let (mut rng, calendar) = (Rng::new(seed), dates::calendar());
    let split = Split::draw("tag", sizes, |share| Words { rng: &mut rng, calendar: &calendar, share }.sentence())?;
    let both = |sentences: Vec<Sentence>| sentences.into_iter().flat_map(Sentence::finish).collect();
    Ok(Split { train: both(split.train), valid: both(split.valid), test: both(split.test) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::tasks::score;

    #[test]
    fn each_sentence_is_asked_about_twice() {
        let split = generate(&SIZES, 2).unwrap();
        assert_eq!(split.test.len(), 2 * SIZES.test);
        for both in split.train.chunks(2).chain(split.test.chunks(2)) {
            assert_eq!(both[0].tokens, both[1].tokens);
            assert_ne!(both[0].tags, both[1].tags);
            for tagged in both {
                assert_eq!((tagged.tokens.len(), tagged.tokens.len()), (tagged.tags.len(), tagged.predicate.len()));
                let verbs: Vec<&String> =
                    tagged.tokens.iter().zip(&tagged.predicate).filter(|(_, is)| **is).map(|(token, _)| token).collect();
                assert_eq!(verbs.len(), 1);
                assert!([&TAKING[..], &GIVING, &GIVEN].concat().contains(&verbs[0].as_str()), "{verbs:?}");
                let roles: Vec<String> = score::entities(&tagged.tags).into_iter().map(|entity| entity.kind).collect();
                assert!(roles.iter().any(|role| role == "A0") && roles.iter().any(|role| role == "A1"), "{tagged:?}");
            }
        }
        assert_eq!(split, generate(&SIZES, 2).unwrap());
    }

    #[test]
    fn held_out_places_are_in_no_training_sentence() {
        let split = generate(&SIZES, 2).unwrap();
        let words: HashSet<&String> = split.train.iter().flat_map(|sentence| &sentence.tokens).collect();
        let places = split.test.iter().flat_map(|sentence| {
            let found = score::entities(&sentence.tags).into_iter().filter(|entity| entity.kind == "AM-LOC");
            found.map(|entity| sentence.tokens[entity.span].last().unwrap())
        });
        let places: HashSet<&String> = places.collect();
        assert!(places.len() > 200 && places.is_disjoint(&words), "{}", places.len());
    }

    /// Whoever answers both questions alike, with the right answer to one of them, stays far below 0.97.
    #[test]
    fn one_answer_for_both_predicates_does_not_do() {
        let split = generate(&SIZES, 2).unwrap();
        for answer in [0, 1] {
            let answers = split.test.chunks(2).flat_map(|both| both.iter().map(move |asked| (&both[answer].tags[..], &asked.tags[..])));
            let reached = score::f1(answers).all.f1();
            assert!((0.45..0.75).contains(&reached), "{reached}");
        }
    }
}

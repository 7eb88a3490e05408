//! Sentences with dates and places to mark, in BIO tags (Ramshaw & Marcus 1995, arXiv:cmp-lg/9505040): `B-LOC` begins the name of a place,
//! `I-LOC` goes on with it, and `DATE` likewise.
//!
//! No place name of `valid` or `test` is in a training sentence, nor is a surname. So an unknown word may be either, and what stands
//! around it decides. There are numbers that are no dates, and months that are first names.

use super::{Sizes, Split, Tagged, chance, dates, names};
use crate::Result;
use crate::ops::philox::Rng;

/// What `wattn train tag --generate` draws.
pub const SIZES: Sizes = Sizes { train: 6_000, valid: 500, test: 1_000 };

/// What is said. `P` is a person, `L` a place, `D` a day, `M` a month or a year, `N` a number that is no date.
const CLAUSES: [&str; 26] = [
    "P flew from L to L on D",
    "P was born in L on D",
    "on D P met P in L",
    "P wrote to P about the floods in L",
    "the train from L to L leaves on D",
    "P sold N boats to P",
    "we stayed in L until D",
    "L lies N miles north of L",
    "the bridge at L was closed on D",
    "P , who lives in L , called P on D",
    "P bought N apples for P",
    "nothing happened in L between D and D",
    "the road between L and L is closed",
    "P and P left L for L",
    "the mayor of L thanked P in M",
    "P may visit L in M",
    "P asked whether L was safe",
    "P read N pages on D",
    "P ran N miles with P",
    "in M P moved to L",
    "the people of L remember P",
    "P stopped at room N",
    "from D to D the port of L was full",
    "P showed P a map of L",
    "a letter from P reached L on D",
    "P sent N letters to P from L",
];

/// What joins two clauses.
const JOINTS: [&str; 4] = [", and", ", but", "while", "because"];

/// Draws sentences.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) when there are not so many different held-out sentences: far beyond a million.
pub fn generate(sizes: &Sizes, seed: u64) -> Result<Split<Tagged>> {
    let (mut rng, calendar) = (Rng::new(seed), dates::calendar());
    Split::draw("tag", sizes, |share| {
        let mut sentence = Tagged::default();
        let clause = |sentence: &mut Tagged, rng: &mut Rng| {
            for word in CLAUSES[rng.below(CLAUSES.len())].split(' ') {
                match word {
                    "P" => sentence.push(&names::person(rng, share), None),
                    "L" => sentence.push(&names::place(rng, share), Some("LOC")),
                    "D" => sentence.push(&names::day(rng, &calendar), Some("DATE")),
                    "M" => sentence.push(&names::month(rng, &calendar), Some("DATE")),
                    "N" => sentence.push(&(2 + rng.below(98)).to_string(), None),
                    word => sentence.push(word, None),
                }
            }
        };
        clause(&mut sentence, &mut rng);
        if chance(&mut rng, 0.3) {
            sentence.push(super::pick(&mut rng, &JOINTS), None);
            clause(&mut sentence, &mut rng);
        }
        sentence.push(".", None);
        sentence
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::tasks::score;

    fn places(sentences: &[Tagged]) -> HashSet<String> {
        let of = |sentence: &Tagged| -> Vec<String> {
            let found = score::entities(&sentence.tags).into_iter().filter(|entity| entity.kind == "LOC");
            found.map(|entity| sentence.tokens[entity.span].last().unwrap().clone()).collect()
        };
        sentences.iter().flat_map(of).collect()
    }

    #[test]
    fn held_out_places_are_in_no_training_sentence() {
        let split = generate(&SIZES, 11).unwrap();
        let words: HashSet<&String> = split.train.iter().chain(&split.valid).flat_map(|sentence| &sentence.tokens).collect();
        let held = places(&split.test);
        assert!(held.len() > 500 && held.iter().all(|place| !words.contains(place)));
        let words: HashSet<&String> = split.train.iter().flat_map(|sentence| &sentence.tokens).collect();
        assert!(places(&split.valid).iter().all(|place| !words.contains(place)));
        assert_eq!(split, generate(&SIZES, 11).unwrap());
        assert_ne!(split, generate(&SIZES, 12).unwrap());
    }

    /// A memory of words alone, tags by majority and what is unknown as a place, must not do.
    #[test]
    fn words_alone_do_not_tell() {
        let split = generate(&SIZES, 11).unwrap();
        let mut counts: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
        for sentence in &split.train {
            for (token, tag) in sentence.tokens.iter().zip(&sentence.tags) {
                *counts.entry(token).or_default().entry(tag).or_default() += 1;
            }
        }
        let guess = |token: &String| match counts.get(token.as_str()) {
            Some(tags) => tags.iter().max_by_key(|&(tag, count)| (*count, *tag)).unwrap().0.to_string(),
            None => "B-LOC".to_string(),
        };
        let guessed: Vec<Vec<String>> = split.test.iter().map(|sentence| sentence.tokens.iter().map(guess).collect()).collect();
        let told = score::f1(guessed.iter().zip(&split.test).map(|(found, sentence)| (found.as_slice(), sentence.tags.as_slice())));
        assert!(told.all.f1() < 0.75, "{}", told.all.f1());
        // What a model sees once it takes for unknown, so that it learns what unknown words may be.
        let rare = counts.values().filter(|tags| tags.values().sum::<usize>() == 1).count();
        assert!(rare > 500, "{rare}");
    }

    #[test]
    fn tags_begin_and_go_on() {
        let split = generate(&Sizes { train: 500, valid: 0, test: 0 }, 1).unwrap();
        for sentence in &split.train {
            assert_eq!(sentence.tokens.len(), sentence.tags.len());
            for pair in sentence.tags.windows(2) {
                assert!(!pair[1].starts_with("I-") || pair[0].get(1..) == pair[1].get(1..), "{sentence:?}");
            }
        }
    }
}

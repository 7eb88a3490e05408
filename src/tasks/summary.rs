//! Several sentences, to be summed up as the one about the name asked for:
//! `Anna : Tom sold a red hat in Rome . Anna found a small key . Eve lost a coin by the sea .` to `Anna found a small key .`
//!
//! Words are separated by spaces, punctuation marks being words too. What is held out are facts: what a held-out sentence says was said of
//! nobody in training, neither in a source nor in a target. All words are known, and the names are in all parts.

use super::{Pair, Sizes, Split, pick, shuffle};
use crate::Result;
use crate::ops::philox::Rng;

/// What `wattn train translate --generate summary` draws.
pub const SIZES: Sizes = Sizes { train: 20_000, valid: 500, test: 1_000 };

const NAMES: [&str; 20] = [
    "Anna", "Tom", "Eve", "Paul", "Maria", "Omar", "Lena", "Igor", "Ruth", "Hugo", "Nina", "Karl", "Sofia", "Ivan", "Clara", "Leo", "Zoe",
    "Max", "Iris", "Noah",
];
const VERBS: [&str; 16] = [
    "found", "lost", "sold", "bought", "drew", "hid", "broke", "mended", "saw", "took", "made", "burnt", "washed", "painted", "carried",
    "stole",
];
const KINDS: [&str; 10] = ["", "red", "small", "new", "heavy", "green", "broken", "round", "long", "wooden"];
const THINGS: [&str; 16] =
    ["hat", "key", "coin", "book", "lamp", "chair", "clock", "boat", "ring", "map", "box", "cup", "bag", "knife", "violin", "bell"];
const PLACES: [&str; 12] = [
    "",
    "in Rome",
    "in Oslo",
    "by the sea",
    "at home",
    "at school",
    "on the train",
    "under a bridge",
    "behind the house",
    "in the garden",
    "near Cairo",
    "on the stairs",
];

/// Facts that there are.
const FACTS: usize = VERBS.len() * KINDS.len() * THINGS.len() * PLACES.len();

/// The most sentences of a source, of which the least is two.
const SENTENCES: usize = 4;

/// A sentence that says this fact of somebody.
fn sentence(name: &str, fact: usize) -> String {
    let (verb, rest) = (VERBS[fact % VERBS.len()], fact / VERBS.len());
    let (kind, rest) = (KINDS[rest % KINDS.len()], rest / KINDS.len());
    let (thing, place) = (THINGS[rest % THINGS.len()], PLACES[rest / THINGS.len()]);
    let words = [name, verb, "a", kind, thing, place, "."];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Draws pairs.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) when there are not so many different held-out pairs: far beyond a million.
pub fn generate(sizes: &Sizes, seed: u64) -> Result<Split<Pair>> {
    let mut rng = Rng::new(seed);
    let mut facts: Vec<usize> = (0..FACTS).collect();
    shuffle(&mut facts, &mut rng);
    let (held, free) = facts.split_at(FACTS / 5);
    let (valid, test) = held.split_at(FACTS / 10);
    Split::draw("translate", sizes, |share| {
        let facts = [free, valid, test][share];
        let mut names = NAMES;
        shuffle(&mut names, &mut rng);
        let names = &names[..2 + rng.below(SENTENCES - 1)];
        let sentences: Vec<String> = names.iter().map(|name| sentence(name, facts[rng.below(facts.len())])).collect();
        let asked = pick(&mut rng, names);
        let place = names.iter().position(|name| *name == asked).unwrap_or_default();
        Pair { source: format!("{asked} : {}", sentences.join(" ")), target: sentences[place].clone() }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// What is said, without of whom.
    fn facts(pairs: &[Pair]) -> HashSet<String> {
        let sentences = pairs.iter().flat_map(|pair| pair.source.split_once(" : ").unwrap().1.split(" ."));
        sentences.filter_map(|text| text.trim().split_once(' ')).map(|(_, fact)| fact.to_string()).collect()
    }

    #[test]
    fn the_target_is_the_sentence_about_the_name() {
        let split = generate(&Sizes { train: 2_000, valid: 100, test: 100 }, 3).unwrap();
        let mut places = [0; SENTENCES];
        for pair in split.train.iter().chain(&split.test) {
            let (name, text) = pair.source.split_once(" : ").unwrap();
            let about: Vec<(usize, &str)> = text
                .split_inclusive(" .")
                .map(str::trim)
                .enumerate()
                .filter(|(_, sentence)| sentence.starts_with(&format!("{name} ")))
                .collect();
            assert_eq!(about.len(), 1, "{pair:?}");
            assert_eq!(about[0].1, pair.target);
            places[about[0].0] += 1;
        }
        assert!(places.iter().all(|&count| count > 100), "{places:?}");
    }

    #[test]
    fn held_out_facts_are_said_of_nobody_in_training() {
        let split = generate(&SIZES, 3).unwrap();
        let [train, valid, test] = [&split.train, &split.valid, &split.test].map(|pairs| facts(pairs));
        assert!(train.len() > 15_000 && test.len() > 1_500, "{} {}", train.len(), test.len());
        assert!(train.is_disjoint(&test) && train.is_disjoint(&valid) && valid.is_disjoint(&test));
        let words = |facts: &HashSet<String>| facts.iter().flat_map(|fact| fact.split(' ').map(String::from)).collect::<HashSet<_>>();
        assert!(words(&test).is_subset(&words(&train)));
        assert_eq!(split, generate(&SIZES, 3).unwrap());
        assert_ne!(split, generate(&SIZES, 4).unwrap());
    }

    #[test]
    fn facts_differ() {
        assert_eq!((0..FACTS).map(|fact| sentence("Eve", fact)).collect::<HashSet<_>>().len(), FACTS);
    }
}

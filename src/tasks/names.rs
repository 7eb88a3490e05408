//! Names of people and places, the latter mostly invented, and days as sentences have them: what [`tag`](super::tag) and
//! [`roles`](super::roles) fill their sentences with.
//!
//! Each part of a split has place words and surnames of its own. A model that works on words sees in what is held out only that a word is
//! unknown, which surnames are as well: whether it is a place is to be known from what stands around it.

use super::dates::Day;
use super::{chance, dates, pick};
use crate::ops::philox::Rng;

const FIRST: [&str; 20] = [
    "Anna", "Tom", "Eve", "Paul", "Maria", "Omar", "Lena", "Igor", "Ruth", "Hugo", "Nina", "Karl", "May", "April", "Clara", "Leo", "Zoe",
    "Max", "Iris", "August",
];
const STARTS: [&str; 24] = [
    "Bar", "Cald", "Dun", "El", "Fal", "Gren", "Hal", "Ing", "Jor", "Kel", "Lang", "Mar", "Nor", "Ost", "Pen", "Quar", "Rav", "Sel", "Tor",
    "Ul", "Vel", "Wex", "Yar", "Zel",
];
const MIDDLES: [&str; 20] =
    ["a", "e", "i", "o", "u", "ar", "en", "il", "on", "ur", "ba", "de", "ki", "lo", "mu", "na", "re", "si", "to", "vu"];
const PLACE_ENDS: [&str; 16] = [
    "ford", "mouth", "ton", "burgh", "stead", "wick", "haven", "dale", "field", "minster", "ville", "grad", "berg", "pool", "bridge",
    "port",
];
const PERSON_ENDS: [&str; 16] =
    ["son", "man", "er", "ley", "wright", "ard", "kin", "more", "sen", "ing", "ak", "ez", "ini", "ov", "low", "by"];
/// What some places begin with.
const BEFORE: [&str; 6] = ["New", "Port", "San", "Upper", "Mount", "Saint"];

/// Of each ten invented words, seven are training's; the eighth is validation's, and the last two are the test's.
const SHARES: [(usize, usize); 3] = [(0, 7), (7, 1), (8, 2)];

/// An invented word of this part of the split.
fn invent(rng: &mut Rng, ends: &[&str; 16], share: usize) -> String {
    let (first, count) = SHARES[share];
    // Words are numbered, and the number decides whose they are, so that no seed moves one from part to part. It is taken apart so that
    // neither the start nor the end of a word tells its part.
    loop {
        let (start, middle, end) = (rng.below(STARTS.len()), rng.below(MIDDLES.len()), rng.below(ends.len()));
        let owner = (start * 7 + middle * 3 + end) % 10;
        if (first..first + count).contains(&owner) {
            return format!("{}{}{}", STARTS[start], MIDDLES[middle], ends[end]);
        }
    }
}

/// The name of a place: `Barenton`, `New Velakigrad`.
pub(super) fn place(rng: &mut Rng, share: usize) -> String {
    let word = invent(rng, &PLACE_ENDS, share);
    if chance(rng, 0.25) { format!("{} {word}", pick(rng, &BEFORE)) } else { word }
}

/// The name of a person: `Anna`, `Karl Dunarson`, `Mr Selonley`. Some first names are months, too.
pub(super) fn person(rng: &mut Rng, share: usize) -> String {
    let first = pick(rng, &FIRST);
    match rng.below(5) {
        0 | 1 => first.to_string(),
        2 | 3 => format!("{first} {}", invent(rng, &PERSON_ENDS, share)),
        _ => format!("{} {}", pick(rng, &["Mr", "Mrs", "Dr"]), invent(rng, &PERSON_ENDS, share)),
    }
}

/// A day, as a sentence has it behind `on`.
pub(super) fn day(rng: &mut Rng, calendar: &[Day]) -> String {
    let day = calendar[rng.below(calendar.len())];
    let full = dates::write(&day, [1, 2, 3][rng.below(3)]).replace(',', " ,");
    match rng.below(6) {
        0 | 1 => full,
        2 => dates::write(&day, 2).rsplit_once(' ').map_or(full, |(short, _)| short.to_string()),
        3 => format!("the {}", dates::write(&day, 5)),
        4 => dates::write(&day, 1).split(',').next().unwrap_or_default().to_string(),
        _ => dates::write(&day, 6).split(' ').take(2).collect::<Vec<_>>().join(" ").replace(',', ""),
    }
}

/// A month with its year or without, or a year, as a sentence has it behind `in`.
pub(super) fn month(rng: &mut Rng, calendar: &[Day]) -> String {
    let day = calendar[rng.below(calendar.len())];
    let full = dates::write(&day, 2);
    let words: Vec<&str> = full.split(' ').skip(1).collect();
    match rng.below(3) {
        0 => words.join(" "),
        1 => words.first().copied().unwrap_or_default().to_string(),
        _ => day.year.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn parts_share_no_invented_word() {
        let mut rng = Rng::new(5);
        let mut words = |share| -> HashSet<String> {
            let text = (0..4_000).map(|_| format!("{} {} ", place(&mut rng, share), person(&mut rng, share))).collect::<String>();
            let known: HashSet<&str> = [&FIRST[..], &BEFORE[..], &["Mr", "Mrs", "Dr"]].concat().into_iter().collect();
            text.split_whitespace().filter(|word| !known.contains(word)).map(String::from).collect()
        };
        let [train, valid, test] = [0, 1, 2].map(&mut words);
        assert!(train.is_disjoint(&valid) && train.is_disjoint(&test) && valid.is_disjoint(&test));
        assert!(test.len() > 1_000, "{}", test.len());
        // Neither the beginning nor the end of a word says whose it is.
        let ends = |words: &HashSet<String>| words.iter().map(|word| word[..2].to_string()).collect::<HashSet<_>>();
        assert_eq!(ends(&train), ends(&test));
    }

    #[test]
    fn days_are_words() {
        let (mut rng, calendar) = (Rng::new(1), dates::calendar());
        for _ in 0..500 {
            let text = format!("{} {}", day(&mut rng, &calendar), month(&mut rng, &calendar));
            assert!(text.split(' ').all(|word| word == "," || (!word.is_empty() && word.chars().all(char::is_alphanumeric))), "{text}");
        }
    }
}

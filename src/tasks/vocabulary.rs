//! Which index stands for which character or word.
//!
//! The first four indices are special: [`PAD`] fills a batch, [`BOS`] and [`EOS`] begin and end a target, [`UNK`] stands for what is unknown.
//! A text cannot hold them: what looks like one, `<eos>` for instance, is a word as others are.
//!
//! **What is unknown at prediction**: an unknown *character* is an error ([`Vocabulary::known`] names it), since a model that works on
//! characters has been shown all that it can copy. An unknown *word* is `UNK`: new words are normal, and which words are known would be
//! no help. In training, words that come too rarely ([`Vocabulary::of`]) are unknown, so that the model learns what to make of those.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use crate::{Error, Result};

/// The index that fills up the shorter sequences of a batch.
pub const PAD: i32 = 0;
/// The index that a decoder begins with.
pub const BOS: i32 = 1;
/// The index that ends a sequence.
pub const EOS: i32 = 2;
/// The index of everything unknown.
pub const UNK: i32 = 3;

/// How the special ones are shown and stored.
const SPECIAL: [&str; 4] = ["<pad>", "<bos>", "<eos>", "<unk>"];

/// What a text is taken apart into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Unit {
    /// Unicode scalar values, spaces among them.
    Characters,
    /// What is between spaces.
    Words,
}

impl Unit {
    /// The name in files and options.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Characters => "characters",
            Unit::Words => "words",
        }
    }

    /// The text's parts, in order.
    pub fn split(self, text: &str) -> Vec<&str> {
        match self {
            Unit::Characters => text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect(),
            Unit::Words => text.split_whitespace().collect(),
        }
    }

    /// The text of these parts; words with one space between.
    pub fn join(self, parts: &[&str]) -> String {
        parts.join(if self == Unit::Words { " " } else { "" })
    }
}

impl FromStr for Unit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = [Unit::Characters, Unit::Words].into_iter().find(|unit| unit.name() == text);
        let (expected, got) = ("characters or words".to_string(), format!("'{text}'"));
        found.ok_or(Error::Argument { op: "vocabulary", key: "unit".into(), expected, got })
    }
}

/// Characters or words with their indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    unit: Unit,
    /// Without the special ones.
    entries: Vec<String>,
    indices: HashMap<String, i32>,
}

impl Vocabulary {
    /// What comes at least `least` times, the most frequent first, and in the order of their code points among equals.
    pub fn of<'a>(unit: Unit, texts: impl IntoIterator<Item = &'a str>, least: usize) -> Self {
        Self::of_parts(unit, texts.into_iter().flat_map(|text| unit.split(text)), least)
    }

    /// The same of texts that have been taken apart.
    pub fn of_parts<'a>(unit: Unit, parts: impl IntoIterator<Item = &'a str>, least: usize) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        parts.into_iter().for_each(|part| *counts.entry(part).or_default() += 1);
        let mut counts: Vec<(&str, usize)> = counts.into_iter().filter(|(_, count)| *count >= least).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Self::new(unit, counts.into_iter().map(|(part, _)| part.to_string()).collect())
    }

    /// `entries` are all different.
    fn new(unit: Unit, entries: Vec<String>) -> Self {
        let indices = entries.iter().cloned().zip(SPECIAL.len() as i32..).collect();
        Vocabulary { unit, entries, indices }
    }

    /// What texts are taken apart into.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Indices that there are, the special ones included.
    pub fn size(&self) -> usize {
        SPECIAL.len() + self.entries.len()
    }

    /// The index of a part, [`UNK`] where it is not known.
    pub fn index(&self, part: &str) -> i32 {
        self.indices.get(part).copied().unwrap_or(UNK)
    }

    /// The text's indices, without a beginning or an end. What is unknown is [`UNK`].
    pub fn encode(&self, text: &str) -> Vec<i32> {
        self.unit.split(text).into_iter().map(|part| self.index(part)).collect()
    }

    /// As [`Vocabulary::encode`], for prediction.
    ///
    /// # Errors
    /// The first unknown character, with its place in the text from 1. No word is an error. A text without any part is one.
    pub fn known(&self, text: &str) -> Result<Vec<i32>, String> {
        let indices = self.encode(text);
        if indices.is_empty() {
            return Err("the text is empty".into());
        }
        match indices.iter().position(|&index| index == UNK).filter(|_| self.unit == Unit::Characters) {
            Some(at) => {
                let character = self.unit.split(text)[at].escape_debug();
                Err(format!(
                    "'{character}', character {} of the text, is none of the {} that the model was trained on",
                    at + 1,
                    self.entries.len()
                ))
            }
            None => Ok(indices),
        }
    }

    /// Indices without the special ones: those of tags, of which there is one for each token.
    pub fn labels(&self) -> usize {
        self.entries.len()
    }

    /// The label of a tag, from 0.
    ///
    /// # Errors
    /// That the tag is unknown, and which are known.
    pub fn label(&self, tag: &str) -> Result<i32, String> {
        let label = self.indices.get(tag).map(|index| index - SPECIAL.len() as i32);
        label.ok_or_else(|| format!("the tag '{}' is none of those trained on: {}", tag.escape_debug(), self.entries.join(", ")))
    }

    /// The tag of a label.
    pub fn tag(&self, label: i32) -> &str {
        self.show(label.saturating_add(SPECIAL.len() as i32))
    }

    /// How an index is shown: its part, or its name where it is special.
    pub fn show(&self, index: i32) -> &str {
        let Ok(index) = usize::try_from(index) else { return SPECIAL[UNK as usize] };
        let entry = index.checked_sub(SPECIAL.len()).map(|at| self.entries.get(at).map_or(SPECIAL[UNK as usize], String::as_str));
        entry.unwrap_or_else(|| SPECIAL[index])
    }

    /// The text of indices up to the first [`EOS`], without [`PAD`] and [`BOS`]. What is unknown stays visible.
    pub fn decode(&self, indices: &[i32]) -> String {
        let parts = indices.iter().take_while(|&&index| index != EOS).filter(|&&index| index != PAD && index != BOS);
        self.unit.join(&parts.map(|&index| self.show(index)).collect::<Vec<_>>())
    }
}

/// Vocabularies by name, as a model's vocab.txt has them: for each a line with its name, its unit and its size, separated by tabs, and
/// an entry on each line that follows, the special ones first. In an entry `\n`, `\r`, `\t` and `\\` stand for what they do elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabularies(pub BTreeMap<String, Vocabulary>);

impl Vocabularies {
    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, vocabulary) in &self.0 {
            text += &format!("{name}\t{}\t{}\n", vocabulary.unit.name(), vocabulary.size());
            for entry in SPECIAL.into_iter().chain(vocabulary.entries.iter().map(String::as_str)) {
                text += &escape(entry);
                text.push('\n');
            }
        }
        text
    }

    /// The vocabularies of a file's text.
    ///
    /// # Errors
    /// What is wrong, with the line's number.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut lines = (1..).zip(text.split_terminator('\n'));
        let mut all = BTreeMap::new();
        while let Some((number, head)) = lines.next() {
            let columns: Vec<&str> = head.split('\t').collect();
            let (name, unit, size) = match columns[..] {
                [name, unit, size] => (name, unit.parse().ok(), size.parse::<usize>().ok().filter(|&size| size >= SPECIAL.len())),
                _ => ("", None, None),
            };
            let (Some(unit), Some(size)) = (unit, size) else {
                return Err(format!("line {number}: expected a name, characters or words, and a size of {} at least", SPECIAL.len()));
            };
            let mut entries = vec![];
            for place in 0..size {
                let Some((number, line)) = lines.next() else {
                    return Err(format!("'{name}' ends after {place} of {size} entries"));
                };
                let entry = unescape(line).ok_or_else(|| format!("line {number}: unknown escape; \\n, \\r, \\t and \\\\ are accepted"))?;
                match SPECIAL.get(place) {
                    Some(&special) if special != entry => return Err(format!("line {number}: '{line}'; expected {special}")),
                    Some(_) => {}
                    None => entries.push(entry),
                }
            }
            let vocabulary = Vocabulary::new(unit, entries);
            if vocabulary.indices.len() != vocabulary.entries.len() {
                return Err(format!("'{name}' has an entry twice"));
            }
            if all.insert(name.to_string(), vocabulary).is_some() {
                return Err(format!("line {number}: '{name}' is there twice"));
            }
        }
        Ok(Vocabularies(all))
    }

    /// The vocabulary of this name.
    ///
    /// # Errors
    /// That there is none, and which there are.
    pub fn get(&self, name: &str) -> Result<&Vocabulary, String> {
        let known = || self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        self.0.get(name).ok_or_else(|| format!("there is no vocabulary '{name}'; expected one beside {}", known()))
    }
}

fn escape(entry: &str) -> String {
    entry.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

fn unescape(line: &str) -> Option<String> {
    let (mut entry, mut characters) = (String::new(), line.chars());
    while let Some(c) = characters.next() {
        entry.push(match c {
            '\\' => match characters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '\\' => '\\',
                _ => return None,
            },
            c => c,
        });
    }
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_there_and_back() {
        let vocabulary = Vocabulary::of(Unit::Characters, ["Sät 9", "9 9"], 1);
        assert_eq!(vocabulary.size(), 4 + 5);
        let indices = vocabulary.encode("9 Sät");
        // The most frequent first, equals by code point.
        assert_eq!(indices, [4, 5, 6, 8, 7]);
        assert_eq!(vocabulary.decode(&[&[BOS], &indices[..], &[EOS, PAD, 4]].concat()), "9 Sät");
        assert_eq!(vocabulary.known("9S").unwrap(), [4, 6]);
        let error = vocabulary.known("9 ß").unwrap_err();
        assert_eq!(error, "'ß', character 3 of the text, is none of the 5 that the model was trained on");
        assert!(vocabulary.known("").unwrap_err().contains("empty"));
        assert_eq!([vocabulary.show(-1), vocabulary.show(EOS), vocabulary.show(4), vocabulary.show(99)], ["<unk>", "<eos>", "9", "<unk>"]);
    }

    #[test]
    fn rare_and_new_words_are_unknown() {
        let vocabulary = Vocabulary::of(Unit::Words, ["in Rome in  Oslo", "in <eos> Rome"], 2);
        assert_eq!(vocabulary.known("in Rome Oslo Bern").unwrap(), [4, 5, UNK, UNK]);
        assert_eq!(vocabulary.decode(&[4, UNK, 5]), "in <unk> Rome");
        // What looks like a special one is a word.
        let all = Vocabulary::of(Unit::Words, ["<eos> a"], 1);
        assert_eq!((all.size(), all.decode(&all.encode("a <eos> a"))), (6, "a <eos> a".to_string()));
    }

    #[test]
    fn tags_are_counted_without_the_special_ones() {
        let tags = Vocabulary::of_parts(Unit::Words, ["O", "B-LOC", "O", "I-LOC"], 1);
        assert_eq!((tags.labels(), tags.label("O"), tags.label("I-LOC"), tags.tag(1)), (3, Ok(0), Ok(2), "B-LOC"));
        assert_eq!(tags.label("B-X").unwrap_err(), "the tag 'B-X' is none of those trained on: O, B-LOC, I-LOC");
    }

    #[test]
    fn a_file_there_and_back() {
        let source = Vocabulary::of(Unit::Characters, ["a\\\t\n\r \u{2028}é<"], 1);
        let target = Vocabulary::of(Unit::Words, ["<pad> source\\t b"], 1);
        let all = Vocabularies([("source".to_string(), source), ("target".to_string(), target)].into());
        let text = all.to_text();
        assert_eq!(Vocabularies::from_text(&text), Ok(all.clone()), "{text}");
        assert!(all.get("tags").unwrap_err().contains("source, target"));
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for cut in 1..lines.len() {
            // Cut between two vocabularies, what is left is whole.
            let read = Vocabularies::from_text(&lines[..cut].concat());
            assert_eq!(read.is_ok(), cut == 1 + 4 + 9, "{cut}");
        }
    }

    #[test]
    fn faults_of_a_file_name_the_line() {
        for (text, message) in [
            ("source\twords\n", "line 1: expected a name"),
            ("source\twords\t3\n", "line 1: expected a name"),
            ("source\tsyllables\t4\n", "line 1: expected a name"),
            ("source\twords\t4\n<pad>\n<bos>\n", "'source' ends after 2 of 4"),
            ("source\twords\t99999999999\n<pad>\n", "'source' ends after 1"),
            ("source\twords\t4\n<pad>\n<eos>\n", "line 3: '<eos>'; expected <bos>"),
            ("s\twords\t6\n<pad>\n<bos>\n<eos>\n<unk>\na\na\n", "'s' has an entry twice"),
            ("s\twords\t5\n<pad>\n<bos>\n<eos>\n<unk>\n\\x\n", "line 6: unknown escape"),
        ] {
            let error = Vocabularies::from_text(text).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}

//! Dates as people write them, to be written as ISO 8601 does: `Sat 9 May 1998` to `1998-05-09`.
//!
//! Every form has one meaning: numbers alone are day, month, year, or year first; a year of two digits is one of 1950 to 2049. A day of
//! the calendar that is in `valid` or `test` is in no other part, in any form. So the answer cannot be known from training; it has to be
//! copied and computed.

use super::{Pair, Sizes, Split, pick, shuffle};
use crate::ops::philox::Rng;
use crate::{Error, Result};

/// What `wattn train translate --generate` draws.
pub const SIZES: Sizes = Sizes { train: 20_000, valid: 500, test: 1_000 };

/// The years that dates are drawn from: the century that a year of two digits has one meaning in.
const YEARS: std::ops::RangeInclusive<u32> = 1950..=2049;

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// How many forms [`write()`] knows.
pub const FORMS: usize = 16;

/// A day of the calendar (Gregorian).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Day {
    /// As in 1998.
    pub year: u32,
    /// 1 is January.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 is Monday.
    pub weekday: u32,
}

/// Every day of the years that dates are drawn from, in order.
pub fn calendar() -> Vec<Day> {
    // The first of January 1950 was a Sunday.
    let mut weekday = 6;
    let mut days = vec![];
    for year in YEARS {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in (1..).zip(lengths) {
            for day in 1..=length {
                days.push(Day { year, month, day, weekday });
                weekday = (weekday + 1) % 7;
            }
        }
    }
    days
}

/// The day as ISO 8601 writes it.
pub fn iso(day: &Day) -> String {
    format!("{:04}-{:02}-{:02}", day.year, day.month, day.day)
}

/// The day in one of the forms, `0..FORMS`; the forms repeat beyond.
pub fn write(day: &Day, form: usize) -> String {
    let (year, number, month) = (day.year, day.day, day.month);
    let two = year % 100;
    let (name, weekday) = (MONTHS[month as usize - 1], WEEKDAYS[day.weekday as usize]);
    let (short, wkd) = (&name[..3], &weekday[..3]);
    let nth = match number {
        1 | 21 | 31 => "st",
        2 | 22 => "nd",
        3 | 23 => "rd",
        _ => "th",
    };
    match form % FORMS {
        0 => format!("{wkd} {number} {name} {year}"),
        1 => format!("{weekday}, {number} {name} {year}"),
        2 => format!("{number} {name} {year}"),
        3 => format!("{name} {number}, {year}"),
        4 => format!("{weekday}, {name} {number}, {year}"),
        5 => format!("{number}{nth} of {name} {year}"),
        6 => format!("{name} {number}{nth}, {year}"),
        7 => format!("the {number}{nth} of {name}, {year}"),
        8 => format!("{wkd}, {number} {short} {year}"),
        9 => format!("{short} {number} '{two:02}"),
        10 => format!("{number:02}-{}-{two:02}", short.to_uppercase()),
        11 => format!("{number:02}.{month:02}.{year}"),
        12 => format!("{number}.{month}.{two:02}"),
        13 => format!("{number}/{month}/{year}"),
        14 => format!("{year}/{month:02}/{number:02}"),
        _ => format!("{wkd} {} {number} {year}", short.to_lowercase()),
    }
}

/// Draws pairs. Each held-out day is there once, in one form; training days may come again in other forms.
///
/// # Errors
/// [`Error::Argument`] when more days are to be held out than half the calendar has.
pub fn generate(sizes: &Sizes, seed: u64) -> Result<Split<Pair>> {
    let mut rng = Rng::new(seed);
    let mut days = calendar();
    let held = sizes.valid.saturating_add(sizes.test);
    if held > days.len() / 2 {
        return Err(Error::Argument {
            op: "translate",
            key: "held-out dates".into(),
            expected: format!("at most {}, half of the calendar", days.len() / 2),
            got: held.to_string(),
        });
    }
    shuffle(&mut days, &mut rng);
    let (held, free) = days.split_at(held);
    let (valid, test) = held.split_at(sizes.valid);
    let free: Vec<&Day> = free.iter().collect();
    let mut pair = |day: &Day| Pair { source: write(day, rng.below(FORMS)), target: iso(day) };
    let [valid, test] = [valid, test].map(|days| days.iter().map(&mut pair).collect());
    let train = (0..sizes.train).map(|_| {
        let day = pick(&mut rng, &free);
        Pair { source: write(day, rng.below(FORMS)), target: iso(day) }
    });
    Ok(Split { train: train.collect(), valid, test })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_calendar_is_the_calendar() {
        let days = calendar();
        assert_eq!(days.len(), 36_525);
        let find = |text: &str| *days.iter().find(|day| iso(day) == text).unwrap();
        for (day, weekday) in [("1998-05-09", 5), ("2000-02-29", 1), ("2026-11-22", 6), ("1969-07-20", 6), ("2049-12-31", 4)] {
            assert_eq!(find(day).weekday, weekday, "{day}");
        }
        let may = find("1998-05-09");
        let forms: Vec<String> = (0..FORMS).map(|form| write(&may, form)).collect();
        assert_eq!(forms[0], "Sat 9 May 1998");
        assert_eq!(forms[7], "the 9th of May, 1998");
        assert_eq!(forms[12], "9.5.98");
        assert_eq!(forms.iter().collect::<HashSet<_>>().len(), FORMS);
    }

    /// The same text for two days would have no right answer.
    #[test]
    fn no_text_means_two_days() {
        let mut seen = HashSet::new();
        for day in calendar() {
            assert!((0..FORMS).all(|form| seen.insert(write(&day, form))), "{}", iso(&day));
        }
    }

    #[test]
    fn held_out_days_are_in_no_training_pair() {
        let split = generate(&SIZES, 7).unwrap();
        let days = |pairs: &[Pair]| pairs.iter().map(|pair| pair.target.clone()).collect::<HashSet<_>>();
        let (train, valid, test) = (days(&split.train), days(&split.valid), days(&split.test));
        assert_eq!([split.train.len(), valid.len(), test.len()], [20_000, 500, 1_000]);
        assert!(test.is_disjoint(&train) && test.is_disjoint(&valid) && valid.is_disjoint(&train));
        // Every form that is asked for has been seen.
        assert_eq!(split, generate(&SIZES, 7).unwrap());
        assert_ne!(split, generate(&SIZES, 8).unwrap());
        assert!(generate(&Sizes { test: 20_000, ..SIZES }, 7).unwrap_err().to_string().contains("18262"));
    }
}

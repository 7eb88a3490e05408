//! Pictures as files: each kind, whole or not at all. `WATTN_PICTURES=DIR` keeps them there, to be looked at.
#![cfg(feature = "cli")]

use std::path::{Path, PathBuf};

use wattn::cli::picture::{self, Heatmap, curve, terminal};
use wattn::io::checkpoint::Row;
use wattn::ops::philox::Rng;

/// A map whose weights fall with the distance from where `centre` says that a row looks, and are 1 together.
fn map(title: &str, rows: &[&str], columns: &[&str], centre: impl Fn(usize) -> f64) -> Heatmap {
    let mut rng = Rng::new(4);
    let mut weights = vec![];
    for row in 0..rows.len() {
        let raw: Vec<f64> =
            (0..columns.len()).map(|column| (-(column as f64 - centre(row)).powi(2)).exp() + 0.03 * rng.uniform()).collect();
        let sum: f64 = raw.iter().sum();
        weights.extend(raw.iter().map(|x| (x / sum) as f32));
    }
    let labels = |labels: &[&str]| labels.iter().map(|text| text.to_string()).collect();
    Heatmap { title: title.into(), down: "output".into(), across: "input".into(), rows: labels(rows), columns: labels(columns), weights }
}

fn characters(text: &str) -> Vec<&str> {
    text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect()
}

/// What people draw, and what would not fit if labels had no room.
fn maps() -> Vec<(&'static str, Vec<Heatmap>)> {
    let order = [11.0, 12.0, 13.0, 14.0, 7.5, 7.0, 7.5, 4.0, 4.0, 4.0];
    let date = map("Sat 9 May 1998", &characters("1998-05-09"), &characters("Sat 9 May 1998"), |row| order[row] - 1.0);
    let cat: Vec<&str> = "The cat sat on the mat .".split(' ').collect();
    let cat = map("Self-attention of “The cat sat on the mat.”, layer 1, head 2", &cat, &cat, |row| row as f64 * 0.9);
    let source =
        "Die Donaudampfschifffahrtsgesellschaft verließ Österreich früh am Nachmittag , naïve Gäste ängstigten sich über Ægir’s Łódź";
    let source: Vec<&str> = source.split(' ').collect();
    let target =
        "The Danube-steamship-company-with-a-name-that-goes-beyond-any-margin left Österreich early in the afternoon , naïve guests";
    let target: Vec<&str> = target.split(' ').collect();
    let long = map("Long labels, accents: ÄÖÜ é ñ ç ø Ж Ω 東京", &target, &source, |row| row as f64);
    let text =
        "the quick brown fox jumps over the lazy dog and then sleeps in the sun until the evening comes, while nobody looks at all; ";
    let many = characters(text);
    let many = map("120 characters", &many, &many, |row| row as f64);
    let one = map("one by one", &["a"], &["b"], |_| 0.0);
    vec![("date", vec![date]), ("cat", vec![cat.clone(), cat]), ("long", vec![long]), ("many", vec![many]), ("one", vec![one])]
}

fn rows() -> Vec<Row> {
    let row = |epoch: u64| Row {
        epoch,
        step: 300 * epoch,
        train_loss: 2.4 * (-0.4 * epoch as f64).exp() + 0.01,
        valid_loss: Some(2.2 * (-0.36 * epoch as f64).exp() + 0.02),
        score: Some(1.0 - (-0.5 * epoch as f64).exp()),
        learning_rate: 1e-3,
        tokens_per_s: 1e4,
        seconds: 20.0 * epoch as f64,
    };
    (1..=20).map(row).collect()
}

#[test]
fn every_kind_of_picture_is_written() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = std::env::var_os("WATTN_PICTURES").map_or(temporary.path().to_path_buf(), PathBuf::from);
    let starts = |path: &Path, start: &[u8]| assert!(std::fs::read(path).unwrap().starts_with(start), "{}", path.display());
    for (name, maps) in maps() {
        for (extension, start) in [("svg", &b"<svg"[..]), ("png", b"\x89PNG"), ("html", b"<!DOCTYPE html>")] {
            let path = dir.join(name).with_extension(extension);
            picture::save(&path, &maps).unwrap();
            starts(&path, start);
        }
        let shown = terminal::text(&maps[0], 100).unwrap();
        println!("{shown}");
    }
    curve::save(&dir.join("curve.svg"), "translate, 20 epochs", "exact", &rows()).unwrap();
    curve::save(&dir.join("short.svg"), "one epoch", "exact", &rows()[..1]).unwrap();
    starts(&dir.join("curve.svg"), b"<svg");
}

#[test]
fn what_cannot_be_drawn_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = map("", &["a"], &["b"], |_| 0.0);
    wrong.weights.push(1.0);
    assert!(picture::save(&dir.path().join("a.svg"), &[wrong.clone()]).unwrap_err().is_input_fault());
    assert!(picture::save(&dir.path().join("a.gif"), &[]).unwrap_err().to_string().contains("must end in .svg, .png or .html"));
    assert!(picture::save(&dir.path().join("absent/a.svg"), &[]).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

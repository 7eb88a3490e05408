//! A heatmap as text, for a terminal or a log.

use unicode_width::UnicodeWidthChar;

use super::{Heatmap, label, strength, width};
use crate::Result;

/// From nothing to the strongest.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// Columns of the longest row label, and letters of the longest column label.
const LONGEST_ROW: usize = 24;
const LONGEST_COLUMN: usize = 12;

/// The map as lines of at most `columns` letters' width, where that is possible at all: what does not fit beside comes below.
///
/// A cell is two letters wide. The labels of columns are written from top to bottom.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) and [`Error::Shape`](crate::Error::Shape) for a map that cannot be drawn.
pub fn text(map: &Heatmap, columns: usize) -> Result<String> {
    map.check()?;
    let rows: Vec<String> = map.rows.iter().map(|text| label(text, LONGEST_ROW)).collect();
    let heads: Vec<Vec<String>> = map.columns.iter().map(|text| stack(&label(text, LONGEST_COLUMN))).collect();
    let beside = rows.iter().map(|text| width(text)).max().unwrap_or(0);
    let most = map.most();
    let fit = (columns.saturating_sub(beside + 3) / 2).max(1);
    let mut lines = vec![map.title.replace(char::is_control, " ")];
    for first in (0..heads.len()).step_by(fit) {
        let shown = first..heads.len().min(first + fit);
        let height = heads[shown.clone()].iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let letter = |head: &Vec<String>| (line + head.len()).checked_sub(height).map_or("  ".into(), |at| pad(&head[at], 2));
            lines.push(format!("{}  {}", " ".repeat(beside), heads[shown.clone()].iter().map(letter).collect::<String>()));
        }
        for (row, text) in rows.iter().enumerate() {
            let shade = |column| match strength(map.weight(row, column), most) {
                Some(strength) => SHADES[(strength * (SHADES.len() - 1) as f32).round() as usize].to_string().repeat(2),
                None => "??".into(),
            };
            lines.push(format!("{}{text} |{}|", " ".repeat(beside - width(text)), shown.clone().map(shade).collect::<String>()));
        }
    }
    lines.push(format!("█ = {most:.2}"));
    Ok(lines.iter().map(|line| line.trim_end().to_string() + "\n").collect())
}

/// The letters one by one, each with the accents behind it.
fn stack(text: &str) -> Vec<String> {
    let mut letters: Vec<String> = vec![];
    for c in text.chars() {
        match letters.last_mut().filter(|_| c.width() == Some(0)) {
            Some(letter) => letter.push(c),
            None => letters.push(c.to_string()),
        }
    }
    letters
}

fn pad(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(rows: &[&str], columns: &[&str], weights: &[f32]) -> Heatmap {
        let labels = |labels: &[&str]| labels.iter().map(|text| text.to_string()).collect();
        let (rows, columns) = (labels(rows), labels(columns));
        Heatmap { title: "t".into(), down: "output".into(), across: "input".into(), rows, columns, weights: weights.to_vec() }
    }

    #[test]
    fn shades_stand_below_their_labels() {
        let shown = text(&map(&["sat", "é"], &["cat", "a", "."], &[0.8, 0.2, 0.0, 0.0, f32::NAN, 0.4]), 80).unwrap();
        let expected = "t\n     c\n     a\n     t a .\nsat |██░░  |\n  é |  ??▒▒|\n█ = 0.80\n";
        assert_eq!(shown, expected, "\n{shown}");
    }

    #[test]
    fn what_does_not_fit_beside_comes_below() {
        let letters: Vec<String> = ('a'..='z').map(String::from).collect();
        let columns: Vec<&str> = letters.iter().map(String::as_str).collect();
        let shown = text(&map(&["東京"], &columns, &[1.0; 26]), 30).unwrap();
        assert!(shown.lines().all(|line| width(line) <= 30), "{shown}");
        assert_eq!((shown.lines().count(), shown.matches('█').count()), (1 + 3 * 2 + 1, 52 + 1));
        assert!(text(&map(&["a"], &["b"], &[1.0]), 0).is_ok());
        assert!(text(&map(&["a"], &["b"], &[]), 9).is_err());
    }
}

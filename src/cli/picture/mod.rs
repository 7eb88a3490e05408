//! Pictures of what a model attended to, and of how its training went.
//!
//! A [`Heatmap`] goes to a file, `.svg`, `.png` or `.html` by extension ([`save`]), or to the terminal ([`terminal::text`]). In `.html`
//! the weight below the pointer is shown. Letters are of one width everywhere, so that what fits into a picture is known without the
//! fonts of whoever looks at it. Those of a `.png` come with wattn: Latin, Greek and Cyrillic letters, many signs, no Chinese or Japanese
//! ones, which the other formats show where the reader's system has them.

pub mod curve;
mod heatmap;
mod html;
mod pixels;
pub mod terminal;

use std::path::Path;
use std::sync::Once;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use unicode_width::UnicodeWidthChar;

use crate::{Error, Result, io};

/// The family of every letter. Its name is one that SVG knows as well.
const FONT: &str = "monospace";

/// More rows or columns than this are refused: nobody could see them.
pub const MOST: usize = 4_000;

/// Columns of the longest label that is shown whole.
const LONGEST: usize = 48;

/// Weights with a label for each row and each column: of what was written for what was read, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Heatmap {
    /// What is shown.
    pub title: String,
    /// What the rows are: `output`, or `query`.
    pub down: String,
    /// What the columns are: `input`, or `key`.
    pub across: String,
    /// The labels of the rows.
    pub rows: Vec<String>,
    /// The labels of the columns.
    pub columns: Vec<String>,
    /// `[rows, columns]`, 0 to 1.
    pub weights: Vec<f32>,
}

impl Heatmap {
    /// Checks that labels and weights fit.
    fn check(&self) -> Result<()> {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        if rows.min(columns) == 0 || rows.max(columns) > MOST {
            return Err(Error::Argument {
                op: "attention picture",
                key: "rows and columns".into(),
                expected: format!("1 to {MOST} of each"),
                got: format!("{rows} and {columns}"),
            });
        }
        if rows * columns != self.weights.len() {
            return Err(Error::Shape {
                op: "attention picture",
                tensor: "weights".into(),
                expected: format!("[{rows}, {columns}]"),
                got: format!("[{}]", self.weights.len()),
            });
        }
        Ok(())
    }

    fn weight(&self, row: usize, column: usize) -> f32 {
        self.weights[row * self.columns.len() + column]
    }

    /// The weight that gets the strongest colour.
    fn most(&self) -> f32 {
        self.weights.iter().copied().filter(|weight| weight.is_finite()).fold(f32::MIN_POSITIVE, f32::max)
    }
}

/// How strong a weight's colour is, 0 to 1; `None` for what is no number.
fn strength(weight: f32, most: f32) -> Option<f32> {
    weight.is_finite().then(|| (weight / most).clamp(0.0, 1.0))
}

/// From white to a dark blue, so that more is darker for everybody; grey for what is no number.
fn colour(strength: Option<f32>) -> RGBColor {
    const STOPS: [[f32; 3]; 4] = [[255.0, 255.0, 255.0], [190.0, 215.0, 240.0], [60.0, 135.0, 200.0], [8.0, 40.0, 95.0]];
    let Some(strength) = strength else { return RGBColor(150, 150, 150) };
    let at = strength * (STOPS.len() - 1) as f32;
    let low = (at as usize).min(STOPS.len() - 2);
    let [red, green, blue] = [0, 1, 2].map(|i| (STOPS[low][i] + (STOPS[low + 1][i] - STOPS[low][i]) * (at - low as f32)).round() as u8);
    RGBColor(red, green, blue)
}

/// Writes heatmaps, one below the other, whole or not at all.
///
/// # Errors
/// [`Error::Format`] for an extension that is none of the three, [`Error::Argument`] and [`Error::Shape`] for maps that cannot be drawn,
/// [`Error::Io`].
pub fn save(path: &Path, maps: &[Heatmap]) -> Result<()> {
    check_place(path)?;
    maps.iter().try_for_each(Heatmap::check)?;
    let fault = |message| Error::Format { path: path.into(), message };
    match extension(path).as_str() {
        "svg" => io::write_text(path, &heatmap::svg(maps).map_err(fault)?),
        "html" => io::write_text(path, &html::page(maps)),
        _ => io::write_bytes(path, &heatmap::png(maps).map_err(fault)?),
    }
}

/// Checks that a picture of this name can be written, before the work that it is to show.
///
/// # Errors
/// [`Error::Format`] for an extension that is none of the three, [`Error::Io`] when the directory does not exist.
pub fn check_place(path: &Path) -> Result<()> {
    if !["svg", "png", "html"].contains(&extension(path).as_str()) {
        return Err(Error::Format { path: path.into(), message: "the name must end in .svg, .png or .html".into() });
    }
    io::check_place(path)
}

fn extension(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase()
}

/// A label as it is shown: spaces and what has no shape made visible, and no longer than `most` columns.
fn label(text: &str, most: usize) -> String {
    let seen = |c: char| match c {
        // The open box that some use is in few fonts.
        ' ' => "·".to_string(),
        c if c.is_control() || c.is_whitespace() || c.width().unwrap_or(0) == 0 && !is_mark(c) => c.escape_default().to_string(),
        c => c.to_string(),
    };
    shorten(&text.chars().map(seen).collect::<String>(), most)
}

/// Whether a character of no width belongs to the letter before it, as combining accents do.
fn is_mark(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c) || ('\u{591}'..='\u{65f}').contains(&c) || ('\u{900}'..='\u{e4f}').contains(&c)
}

/// The text, or its beginning and an ellipsis.
fn shorten(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_string();
    }
    let mut room = most.saturating_sub(1);
    let kept = text.chars().take_while(|c| match room.checked_sub(c.width().unwrap_or(0)) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    });
    kept.chain(['…']).collect()
}

/// Columns that a text takes, of letters of one width; Chinese and Japanese ones take two.
fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

type Area<B> = DrawingArea<B, Shift>;

/// Makes the letters of pixel pictures known to plotters.
fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // It is a font, or tests/picture.rs would find no letters.
        let _ = register_font(FONT, FontStyle::Normal, epaint_default_fonts::HACK_REGULAR);
    });
}

/// How a text is written.
#[derive(Clone, Copy)]
struct Pen {
    size: f64,
    colour: RGBColor,
    side: HPos,
    /// Upwards.
    upright: bool,
}

impl Pen {
    fn new(size: f64) -> Self {
        Pen { size, colour: BLACK, side: HPos::Left, upright: false }
    }

    fn side(self, side: HPos) -> Self {
        Pen { side, ..self }
    }

    /// Pixels that a text takes at most.
    fn length(size: f64, text: &str) -> f64 {
        width(text) as f64 * size * 0.53
    }
}

fn write<B: DrawingBackend>(area: &Area<B>, at: (i32, i32), text: &str, pen: Pen) -> Result<(), String> {
    let turn = if pen.upright { FontTransform::Rotate270 } else { FontTransform::None };
    let style = (FONT, pen.size).into_font().transform(turn).color(&pen.colour).pos(Pos::new(pen.side, VPos::Center));
    area.draw(&Text::new(text.to_string(), at, style)).map_err(drawing)
}

fn drawing(error: impl std::fmt::Display) -> String {
    format!("the picture cannot be drawn: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_visible_and_bounded() {
        assert_eq!(label(" ", 9), "·");
        assert_eq!(label("a\tb\u{200b}", 99), "a\\tb\\u{200b}");
        assert_eq!(label("cafe\u{301} ü", 9), "cafe\u{301}·ü");
        assert_eq!(label("abcdef", 4), "abc…");
        assert_eq!(label("東京都庁", 5), "東京…");
        assert_eq!(label("", 4), "");
    }

    #[test]
    fn more_is_darker() {
        let dark = |strength: f32| {
            let RGBColor(red, green, blue) = colour(Some(strength));
            765 - u32::from(red) - u32::from(green) - u32::from(blue)
        };
        assert!((0..100).all(|i| dark(i as f32 / 100.0) < dark((i + 1) as f32 / 100.0)));
        assert_eq!((colour(Some(0.0)), strength(f32::NAN, 1.0), strength(2.0, 1.0)), (WHITE, None, Some(1.0)));
    }

    #[test]
    fn maps_that_do_not_fit_are_refused() {
        let map = |rows: usize, columns: usize, weights: usize| Heatmap {
            title: String::new(),
            down: String::new(),
            across: String::new(),
            rows: vec![String::new(); rows],
            columns: vec![String::new(); columns],
            weights: vec![0.0; weights],
        };
        assert!(map(2, 3, 6).check().is_ok());
        for wrong in [map(0, 3, 0), map(2, 3, 5), map(1, MOST + 1, MOST + 1)] {
            assert!(wrong.check().is_err());
        }
        assert!(check_place(Path::new("a.jpg")).unwrap_err().to_string().contains(".svg, .png or .html"));
    }
}

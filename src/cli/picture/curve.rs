//! How training went: losses over epochs, on a logarithmic axis where they span much, and the score below them.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Area, Pen, drawing, pixels, shorten, write};
use crate::io::checkpoint::Row;
use crate::{Error, Result, io};

/// Pixels.
const SIZE: (i32, i32) = (860, 420);
const SCORE_HEIGHT: i32 = 240;
const TITLE_HEIGHT: i32 = 44;
const LEFT: i32 = 86;
const RIGHT: i32 = 24;
const TOP: i32 = 30;
const BOTTOM: i32 = 46;
const GREY: RGBColor = RGBColor(90, 90, 90);
/// Blue and vermilion, which everybody tells apart (Okabe & Ito 2008); green for the score.
const TRAIN: RGBColor = RGBColor(0, 114, 178);
const VALID: RGBColor = RGBColor(213, 94, 0);
const SCORE: RGBColor = RGBColor(0, 158, 115);

/// A loss that falls to this part of the highest is shown on a logarithmic axis.
const DEEP: f64 = 0.1;

/// What is drawn over epochs, with a name.
struct Line {
    name: String,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Writes the curve as SVG, whole or not at all. `score` names what [`Row::score`] is: `exact`, `F1`.
///
/// # Errors
/// [`Error::Io`] when it cannot be written.
pub fn save(path: &Path, title: &str, score: &str, rows: &[Row]) -> Result<()> {
    let text = draw(title, score, rows).map_err(|message| Error::Format { path: path.into(), message })?;
    io::write_text(path, &text)
}

/// What is drawn below each other.
struct Panel {
    name: &'static str,
    height: i32,
    lines: Vec<Line>,
}

/// The picture.
fn draw(title: &str, score: &str, rows: &[Row]) -> Result<String, String> {
    let (panels, size) = panels(score, rows);
    pixels::svg(size, |page| paint(page, title, &panels))
}

/// Each panel with its height and what is in it.
fn panels(score: &str, rows: &[Row]) -> (Vec<Panel>, (u32, u32)) {
    let line = |name: &str, colour, value: &dyn Fn(&Row) -> Option<f64>| {
        let points = rows.iter().filter_map(|row| Some((row.epoch as f64, value(row).filter(|y| y.is_finite())?)));
        Line { name: name.into(), colour, points: points.collect() }
    };
    let losses = vec![line("training", TRAIN, &|row| Some(row.train_loss)), line("validation", VALID, &|row| row.valid_loss)];
    let score = vec![line(score, SCORE, &|row| row.score)];
    let mut panels =
        vec![Panel { name: "loss", height: SIZE.1, lines: losses }, Panel { name: "score", height: SCORE_HEIGHT, lines: score }];
    panels.iter_mut().for_each(|panel| panel.lines.retain(|line| !line.points.is_empty()));
    panels.retain(|panel| panel.name == "loss" || !panel.lines.is_empty());
    let height = TITLE_HEIGHT + panels.iter().map(|panel| panel.height).sum::<i32>();
    (panels, (SIZE.0 as u32, height as u32))
}

fn paint<B: DrawingBackend>(page: &Area<B>, title: &str, panels: &[Panel]) -> Result<(), String> {
    write(page, (LEFT, TITLE_HEIGHT / 2), &shorten(&title.replace(char::is_control, " "), 80), Pen::new(18.0))?;
    let mut top = TITLE_HEIGHT;
    for panel in panels {
        panel.paint(page, top)?;
        top += panel.height;
    }
    Ok(())
}

/// An axis: the values at its ends, and whether equal distances are equal factors.
#[derive(Clone, Copy)]
struct Axis {
    ends: (f64, f64),
    logarithmic: bool,
}

impl Axis {
    /// Round numbers around all values; from 0 unless logarithmic.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let most = values.clone().fold(f64::MIN_POSITIVE, f64::max);
        let least = values.fold(f64::INFINITY, f64::min).min(most);
        let logarithmic = least > 0.0 && least < DEEP * most;
        let ends = if logarithmic { (10f64.powf(least.log10().floor()), most * 1.2) } else { (least.min(0.0), most * 1.05) };
        Axis { ends, logarithmic }
    }

    /// From 0 at the lower end to 1 at the upper one.
    fn place(&self, value: f64) -> f64 {
        let scale = |x: f64| if self.logarithmic { x.log10() } else { x };
        let (from, to) = (scale(self.ends.0), scale(self.ends.1));
        (scale(value) - from) / (to - from)
    }

    /// Round values between the ends: of the form 1, 2 or 5 times a power of ten, or whole multiples of one.
    fn ticks(&self) -> Vec<f64> {
        let (from, to) = self.ends;
        if self.logarithmic {
            let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
            let digits: &[f64] = if decades.clone().count() > 5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let all = decades.flat_map(|decade| digits.iter().map(move |digit| digit * 10f64.powi(decade)));
            return all.filter(|tick| (from * 0.999..=to).contains(tick)).collect();
        }
        let step = step((to - from) / 5.0);
        let first = (from / step).ceil() as i64;
        (first..).map(|number| number as f64 * step).take_while(|tick| *tick <= to).collect()
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| *step >= least).unwrap_or(least)
}

/// A number with the digits that it needs.
fn digits(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

impl Panel {
    fn paint<B: DrawingBackend>(&self, page: &Area<B>, top: i32) -> Result<(), String> {
        let Panel { name, height, lines } = self;
        let values = lines.iter().flat_map(|line| &line.points);
        let y = Axis::of(values.clone().map(|point| point.1));
        let last = values.map(|point| point.0).fold(1.0, f64::max);
        // An epoch's point is at its end.
        let x = Axis { ends: (0.0, last * 1.02), logarithmic: false };
        let (right, bottom) = (SIZE.0 - RIGHT, top + height - BOTTOM);
        let top = top + TOP;
        let across = |value: f64| LEFT + (x.place(value) * f64::from(right - LEFT)).round() as i32;
        let up = |value: f64| bottom - (y.place(value) * f64::from(bottom - top)).round() as i32;
        let path = |points: Vec<(i32, i32)>, style: ShapeStyle| page.draw(&PathElement::new(points, style)).map_err(drawing);
        let (fine, grey) = (BLACK.mix(0.1).stroke_width(1), Pen { colour: GREY, ..Pen::new(14.0) });
        for tick in y.ticks() {
            path(vec![(LEFT, up(tick)), (right, up(tick))], fine)?;
            write(page, (LEFT - 8, up(tick)), &digits(tick), grey.side(HPos::Right))?;
        }
        for tick in x.ticks().into_iter().filter(|tick| tick.fract() == 0.0) {
            path(vec![(across(tick), top), (across(tick), bottom)], fine)?;
            write(page, (across(tick), bottom + 14), &digits(tick), grey.side(HPos::Center))?;
        }
        path(vec![(LEFT, top), (LEFT, bottom), (right, bottom)], GREY.stroke_width(1))?;
        write(page, (right, bottom + 34), "epoch", grey.side(HPos::Right))?;
        write(page, (24, (top + bottom) / 2), name, Pen { upright: true, ..grey }.side(HPos::Center))?;
        let mut at = LEFT;
        for line in lines {
            path(vec![(at, top - 14), (at + 24, top - 14)], line.colour.stroke_width(2))?;
            let text = match line.points.last() {
                Some((_, value)) => format!("{} {}", line.name, digits(*value)),
                None => line.name.clone(),
            };
            write(page, (at + 30, top - 14), &text, Pen::new(14.0))?;
            at += 30 + Pen::length(14.0, &text).ceil() as i32 + 24;
            let points: Vec<(i32, i32)> = line.points.iter().map(|&(epoch, value)| (across(epoch), up(value))).collect();
            for &point in points.iter().filter(|_| points.len() <= 60) {
                page.draw(&Circle::new(point, 3, line.colour.filled())).map_err(drawing)?;
            }
            path(points, line.colour.stroke_width(2))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: u64, train_loss: f64, valid_loss: Option<f64>, score: Option<f64>) -> Row {
        Row { epoch, step: epoch, train_loss, valid_loss, score, learning_rate: 0.1, tokens_per_s: 1.0, seconds: 1.0 }
    }

    #[test]
    fn axes_have_round_numbers() {
        let axis = |values: &[f64]| Axis::of(values.iter().copied());
        assert_eq!(axis(&[0.5, 2.0]).ticks(), [0.0, 0.5, 1.0, 1.5, 2.0]);
        let deep = axis(&[2.3, 0.02]);
        assert!(deep.logarithmic);
        assert_eq!(deep.ticks().into_iter().map(digits).collect::<Vec<_>>(), ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert!((axis(&[1e-9, 1.0]).ticks().len()) <= 11);
        // One value, none, and one that a logarithm would not take.
        for values in [&[1.0][..], &[], &[0.0], &[0.0, 1.0], &[1e300, 1e-300]] {
            let axis = axis(values);
            assert!(values.iter().all(|&value| (0.0..=1.0).contains(&axis.place(value))) && axis.ticks().len() < 700, "{values:?}");
        }
    }

    #[test]
    fn what_is_there_is_drawn() {
        let rows = [row(1, 2.0, Some(1.8), Some(0.2)), row(2, 0.1, Some(f64::NAN), Some(0.9))];
        let text = draw("a < b", "exact", &rows).unwrap();
        for part in ["a &lt; b", "training 0.1", "validation 1.8", "exact 0.9", "epoch"] {
            assert!(text.contains(part), "{part}");
        }
        let text = draw("", "F1", &[row(1, f64::NAN, None, None)]).unwrap();
        assert!(!text.contains("F1") && !text.contains("NaN"));
        assert!(draw("", "F1", &[]).is_ok());
    }
}

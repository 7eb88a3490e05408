//! Heatmaps as drawings: SVG and PNG.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Area, Heatmap, LONGEST, Pen, colour, drawing, label, pixels, shorten, strength, write};

/// Around everything, and between parts.
const MARGIN: i32 = 16;
const GAP: i32 = 6;
/// The sides of a cell; smaller ones where there are very many.
const CELL: std::ops::RangeInclusive<i32> = 11..=44;
/// What cells take together, about.
const SIDE: i32 = 720;
/// What they take at most, and what a picture is drawn at twice the size up to, for screens that have the pixels.
const MOST_SIDE: i32 = 6_000;
const SHARP: u32 = 2_500;
/// A cell that has room for its weight in digits.
const ROOMY: i32 = 34;
/// The title, the axes' names, the colour bar with its numbers.
const TITLE: f64 = 18.0;
const NAME: f64 = 15.0;
const BAR: i32 = 14;
const BAR_WIDTH: i32 = 80;
const GREY: RGBColor = RGBColor(90, 90, 90);

/// Where everything of a map is, in pixels from its corner.
struct Layout {
    cell: i32,
    letters: f64,
    rows: Vec<String>,
    columns: Vec<String>,
    /// Whether the columns' labels go upwards.
    upright: bool,
    /// The corner of the cells.
    left: i32,
    top: i32,
    size: (i32, i32),
}

impl Layout {
    fn new(map: &Heatmap) -> Self {
        let most = map.rows.len().max(map.columns.len()) as i32;
        let cell = (SIDE / most).clamp(*CELL.start(), *CELL.end()).min((MOST_SIDE / most).max(1));
        let letters = (f64::from(cell) * 0.62).clamp(11.0, 17.0);
        let labels = |labels: &[String]| labels.iter().map(|text| label(text, LONGEST)).collect::<Vec<_>>();
        let (rows, columns) = (labels(&map.rows), labels(&map.columns));
        let longest = |labels: &[String]| labels.iter().map(|text| Pen::length(letters, text)).fold(0.0, f64::max).ceil() as i32;
        let upright = longest(&columns) > cell;
        let above = if upright { longest(&columns) } else { letters as i32 };
        let left = MARGIN + NAME as i32 + GAP + longest(&rows) + GAP;
        let top = MARGIN + TITLE as i32 + 2 * GAP + NAME as i32 + GAP + above + GAP;
        let (across, down) = (cell * columns.len() as i32, cell * rows.len() as i32);
        // The names and the title may be longer than what they stand at.
        let title = 2 * MARGIN + Pen::length(TITLE, &title(map)).ceil() as i32;
        let name = |text: &str| Pen::length(NAME, &shorten(text, LONGEST)).ceil() as i32;
        let right = (left + across.max(name(&map.across)) + GAP + BAR_WIDTH + MARGIN).max(title);
        let bottom = top + down.max(name(&map.down)).max(4 * NAME as i32) + MARGIN;
        Layout { cell, letters, rows, columns, upright, left, top, size: (right, bottom) }
    }

    /// Labels that are too close together are left out, at equal distances.
    fn every(&self) -> usize {
        ((self.letters * 0.8 / f64::from(self.cell)).ceil() as usize).max(1)
    }
}

fn title(map: &Heatmap) -> String {
    shorten(&map.title.replace(char::is_control, " "), 2 * LONGEST)
}

/// The maps one below the other.
struct Sheet {
    layouts: Vec<Layout>,
    size: (u32, u32),
}

impl Sheet {
    fn new(maps: &[Heatmap]) -> Self {
        let layouts: Vec<Layout> = maps.iter().map(Layout::new).collect();
        let across = layouts.iter().map(|layout| layout.size.0).max().unwrap_or(1);
        let down = layouts.iter().map(|layout| layout.size.1).sum::<i32>().max(1);
        Sheet { layouts, size: (across as u32, down as u32) }
    }

    fn draw<B: DrawingBackend>(&self, page: &Area<B>, maps: &[Heatmap], scale: i32) -> Result<(), String> {
        let mut top = 0;
        for (map, layout) in maps.iter().zip(&self.layouts) {
            Canvas { page, scale, top }.draw(map, layout)?;
            top += layout.size.1;
        }
        Ok(())
    }
}

pub(super) fn svg(maps: &[Heatmap]) -> Result<String, String> {
    let sheet = Sheet::new(maps);
    pixels::svg(sheet.size, |page| sheet.draw(page, maps, 1))
}

pub(super) fn png(maps: &[Heatmap]) -> Result<Vec<u8>, String> {
    let sheet = Sheet::new(maps);
    let (across, down) = sheet.size;
    if u64::from(across) * u64::from(down) > 64 << 20 {
        return Err(format!("{across} x {down} pixels are too many for a .png; expected fewer maps, or .svg or .html"));
    }
    let scale = if across.max(down) <= SHARP { 2 } else { 1 };
    pixels::png((across * scale, down * scale), |page| sheet.draw(page, maps, scale as i32))
}

/// A part of a page, with the scale at which it is drawn.
struct Canvas<'a, B: DrawingBackend> {
    page: &'a Area<B>,
    scale: i32,
    top: i32,
}

impl<B: DrawingBackend> Canvas<'_, B> {
    fn at(&self, (x, y): (i32, i32)) -> (i32, i32) {
        (x * self.scale, (self.top + y) * self.scale)
    }

    fn write(&self, at: (i32, i32), text: &str, pen: Pen) -> Result<(), String> {
        write(self.page, self.at(at), text, Pen { size: pen.size * f64::from(self.scale), ..pen })
    }

    fn fill(&self, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Result<(), String> {
        self.page.draw(&Rectangle::new([self.at(from), self.at(to)], colour.filled())).map_err(drawing)
    }

    /// Between cells, so that the eye finds its way back to the label.
    fn line(&self, from: (i32, i32), to: (i32, i32)) -> Result<(), String> {
        self.page.draw(&PathElement::new(vec![self.at(from), self.at(to)], BLACK.mix(0.08).stroke_width(1))).map_err(drawing)
    }

    fn frame(&self, from: (i32, i32), to: (i32, i32)) -> Result<(), String> {
        self.page.draw(&Rectangle::new([self.at(from), self.at(to)], GREY.stroke_width(self.scale as u32))).map_err(drawing)
    }

    fn draw(&self, map: &Heatmap, layout: &Layout) -> Result<(), String> {
        let Layout { cell, left, top, .. } = *layout;
        let (across, down) = (cell * map.columns.len() as i32, cell * map.rows.len() as i32);
        let grey = Pen { colour: GREY, ..Pen::new(NAME) };
        self.write((MARGIN, MARGIN + TITLE as i32 / 2), &title(map), Pen::new(TITLE))?;
        let name = MARGIN + TITLE as i32 + 2 * GAP + NAME as i32 / 2;
        self.write((left, name), &shorten(&map.across, LONGEST), grey)?;
        self.write((MARGIN + NAME as i32 / 2, top), &shorten(&map.down, LONGEST), Pen { upright: true, ..grey }.side(HPos::Right))?;
        let most = map.most();
        for row in 0..map.rows.len() {
            for column in 0..map.columns.len() {
                self.cell(map, (row, column), (left + cell * column as i32, top + cell * row as i32, cell), most)?;
            }
        }
        if cell >= *CELL.start() {
            (1..map.rows.len()).try_for_each(|row| self.line((left, top + cell * row as i32), (left + across, top + cell * row as i32)))?;
            (1..map.columns.len()).try_for_each(|at| self.line((left + cell * at as i32, top), (left + cell * at as i32, top + down)))?;
        }
        self.frame((left, top), (left + across, top + down))?;
        let (pen, middle) = (Pen::new(layout.letters), |number: usize| cell * number as i32 + cell / 2);
        for (number, text) in layout.rows.iter().enumerate().step_by(layout.every()) {
            self.write((left - GAP, top + middle(number)), text, pen.side(HPos::Right))?;
        }
        for (number, text) in layout.columns.iter().enumerate().step_by(layout.every()) {
            let at = left + middle(number);
            match layout.upright {
                true => self.write((at, top - GAP), text, Pen { upright: true, ..pen })?,
                false => self.write((at, top - GAP - layout.letters as i32 / 2), text, pen.side(HPos::Center))?,
            }
        }
        self.bar((left + across + 2 * GAP, top), down.clamp(4 * NAME as i32, 200), most)
    }

    fn cell(&self, map: &Heatmap, (row, column): (usize, usize), (x, y, side): (i32, i32, i32), most: f32) -> Result<(), String> {
        let weight = map.weight(row, column);
        let strength = strength(weight, most);
        self.fill((x, y), (x + side, y + side), colour(strength))?;
        if side >= ROOMY && strength.is_some_and(|strength| strength >= 0.05) {
            let colour = if strength > Some(0.55) { WHITE } else { GREY };
            let pen = Pen { colour, ..Pen::new(12.0) }.side(HPos::Center);
            self.write((x + side / 2, y + side / 2), &digits(weight), pen)?;
        }
        Ok(())
    }

    /// What the colours mean.
    fn bar(&self, (x, y): (i32, i32), height: i32, most: f32) -> Result<(), String> {
        for step in 0..height {
            let strength = 1.0 - step as f32 / (height - 1) as f32;
            self.fill((x, y + step), (x + BAR, y + step + 1), colour(Some(strength)))?;
        }
        self.frame((x, y), (x + BAR, y + height))?;
        let pen = Pen { colour: GREY, ..Pen::new(12.0) };
        self.write((x + BAR + GAP, y + 6), &digits(most), pen)?;
        self.write((x + BAR + GAP, y + height - 6), "0", pen)
    }
}

/// A weight in few digits.
fn digits(weight: f32) -> String {
    if weight >= 0.0095 { format!("{weight:.2}") } else { format!("{weight:.0e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(rows: usize, columns: usize, text: &str) -> Heatmap {
        let weights = (0..rows * columns).map(|i| if i % columns == i / columns { 1.0 } else { 0.0 }).collect();
        let labels = |count| (0..count).map(|_| text.to_string()).collect();
        Heatmap {
            title: "<t> & u".into(),
            down: "output".into(),
            across: "input".into(),
            rows: labels(rows),
            columns: labels(columns),
            weights,
        }
    }

    #[test]
    fn labels_have_the_room_they_take() {
        for text in ["a", "Sonnenschein", "an extraordinarily long label that would not end", "東京"] {
            for (rows, columns) in [(1, 1), (3, 40), (40, 3), (300, 300)] {
                let layout = Layout::new(&map(rows, columns, text));
                let long = Pen::length(layout.letters, &layout.rows[0]) as i32;
                assert!(layout.left - GAP - long >= MARGIN, "{text}");
                let above = if layout.upright { long } else { layout.letters as i32 };
                assert!(layout.top - GAP - above >= MARGIN + TITLE as i32, "{text}");
                assert!(layout.upright || Pen::length(layout.letters, &layout.columns[0]) <= f64::from(layout.cell));
                assert!(layout.every() == 1 && crate::cli::picture::width(&layout.rows[0]) <= LONGEST);
            }
        }
        assert_eq!(Layout::new(&map(4_000, 1, "a")).every(), 9);
    }

    #[test]
    fn an_svg_has_every_label_and_escapes_them() {
        let text = svg(&[map(2, 3, "a<b"), map(2, 2, " ")]).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        assert_eq!(text.matches("a&lt;b").count(), 5);
        assert_eq!(text.matches('·').count(), 4);
        assert_eq!(text.matches("&lt;t&gt; &amp; u").count(), 2);
        assert_eq!(text.matches("1.00").count(), 4 + 2);
    }

    #[test]
    fn a_png_is_one() {
        let bytes = png(&[map(3, 4, "é")]).unwrap();
        let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        // Letters, and the darkest blue of three cells.
        let dark = |wanted: [u8; 3]| pixels.chunks(3).filter(|pixel| *pixel == wanted).count();
        assert!(dark([8, 40, 95]) > 3 * 60 * 60 && dark([0, 0, 0]) > 100, "{} {}", dark([8, 40, 95]), dark([0, 0, 0]));
        assert!(png(&vec![map(300, 300, "a"); 20]).unwrap_err().contains("too many"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.714, 1.0, 0.0095, 0.001, 3e-12].map(digits), ["0.71", "1.00", "0.01", "1e-3", "3e-12"]);
    }
}

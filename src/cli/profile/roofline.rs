//! The roofline plot (Williams, Waterman & Patterson 2009, doi:10.1145/1498765.1498785): arithmetic a second over arithmetic intensity, both
//! logarithmic, every kernel a point under the ceilings that were measured.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::timing::Row;
use crate::cli::print;
use crate::gpu::Ceilings;

/// Pixels. The picture grows with the legend.
const PLOT_WIDTH: u32 = 860;
const LEGEND_WIDTH: u32 = 380;
const LEAST_HEIGHT: u32 = 640;
const TITLE_HEIGHT: u32 = 56;
const LINE: i32 = 20;
const FONT: &str = "sans-serif";

/// Colours that people tell apart who see few (Okabe & Ito 2008), in the order in which kernels get them.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
    RGBColor(150, 60, 20),
];

/// Corners of the marks, in pixels around a point.
const SHAPES: [&[(i32, i32)]; 6] = [
    &[(5, 0), (4, 4), (0, 5), (-4, 4), (-5, 0), (-4, -4), (0, -5), (4, -4)],
    &[(-5, -5), (5, -5), (5, 5), (-5, 5)],
    &[(0, -6), (6, 5), (-6, 5)],
    &[(0, 6), (6, -5), (-6, -5)],
    &[(0, -7), (6, 0), (0, 7), (-6, 0)],
    &[(-6, -2), (-2, -2), (-2, -6), (2, -6), (2, -2), (6, -2), (6, 2), (2, 2), (2, 6), (-2, 6), (-2, 2), (-6, 2)],
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Both axes in decades: the logarithms to the base of ten.
type Axes = Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>;
type Plot<'a> = DrawingArea<SVGBackend<'a>, Axes>;

/// A kernel with its rows, and the number that its mark goes by.
struct Entry<'a> {
    kernel: &'static str,
    number: usize,
    rows: Vec<&'a Row>,
}

/// The decades that are drawn.
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

/// The picture as SVG.
pub(super) fn draw(device: &str, ceilings: &Ceilings, rows: &[Row]) -> Result<String, String> {
    let entries = entries(rows);
    let height = LEAST_HEIGHT.max(TITLE_HEIGHT + LINE as u32 * (entries.len() as u32 + 7));
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, (PLOT_WIDTH + LEGEND_WIDTH, height)).into_drawing_area();
    let picture = || {
        root.fill(&WHITE).map_err(drawing)?;
        let (title, body) = root.split_vertically(TITLE_HEIGHT);
        write(&title, (20, 14), &format!("Roofline of {device}"), 20, &BLACK, HPos::Left)?;
        let times = format!("kernels of wattn {}, timed by the {}'s clock", env!("CARGO_PKG_VERSION"), ceilings.clock.name());
        write(&title, (20, 38), &times, 15, &COLOURS[6], HPos::Left)?;
        let (plot, legend) = body.split_horizontally(PLOT_WIDTH);
        let frame = Frame::of(ceilings, rows);
        let plot = axes(&plot, &frame)?;
        draw_roofs(&plot, &frame, ceilings)?;
        for entry in &entries {
            for (x, y) in entry.rows.iter().filter_map(|row| frame.place(row)) {
                mark(&plot, entry.number, (x, y))?;
            }
        }
        explain(&legend, &entries)?;
        root.present().map_err(drawing)
    };
    picture()?;
    drop(root);
    Ok(text)
}

fn drawing(error: impl std::fmt::Display) -> String {
    format!("the plot cannot be drawn: {error}")
}

/// The kernels in the order in which they first appear.
fn entries(rows: &[Row]) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry> = vec![];
    for row in rows {
        match entries.iter_mut().find(|entry| entry.kernel == row.kernel) {
            Some(entry) => entry.rows.push(row),
            None => entries.push(Entry { kernel: row.kernel, number: entries.len(), rows: vec![row] }),
        }
    }
    entries
}

/// Whether the kernel computes anything that is counted.
fn counts(row: &Row) -> bool {
    row.gflops.is_some_and(|x| x > 0.0) && row.flops_per_byte.is_some()
}

impl Frame {
    /// Whole decades that hold both ridges and every point, and some room above the highest roof.
    fn of(ceilings: &Ceilings, rows: &[Row]) -> Frame {
        let top = roofs(ceilings).first().map_or(ceilings.f32_flops, |roof| roof.flops);
        let (mut x, mut y) = ((ceilings.f32_flops / ceilings.bytes / 10.0, top / ceilings.bytes * 10.0), (top / 1e3, top * 2.0));
        for row in rows {
            let flops = row.gflops.filter(|&x| x > 0.0).map_or(top, |x| x * 1e9);
            let intensity = row.flops_per_byte.filter(|_| counts(row)).unwrap_or(x.1);
            x = (x.0.min(intensity), x.1.max(intensity));
            y = (y.0.min(flops), y.1.max(flops));
        }
        // What only moves data is drawn at the left edge, and must be seen there.
        for rate in rows.iter().filter(|row| !counts(row)).filter_map(|row| row.gbytes_per_s).filter(|&rate| rate > 0.0) {
            y.0 = y.0.min(rate * 1e9 * 10f64.powf(x.0.log10().floor()));
        }
        Frame { x: (x.0.log10().floor(), x.1.log10().ceil()), y: (y.0.log10().floor(), y.1.log10().ceil()) }
    }

    /// Where a row's point is. Without arithmetic it is at the left edge, as far below the roof as its bandwidth is; without memory, at the right.
    fn place(&self, row: &Row) -> Option<(f64, f64)> {
        match (row.flops_per_byte, row.gflops, row.gbytes_per_s) {
            (Some(intensity), Some(gflops), _) if counts(row) => Some((intensity.log10(), (gflops * 1e9).log10())),
            (None, Some(gflops), _) if gflops > 0.0 => Some((self.x.1, (gflops * 1e9).log10())),
            (_, _, Some(rate)) if rate > 0.0 => Some((self.x.0, (rate * 1e9).log10() + self.x.0)),
            _ => None,
        }
    }
}

/// The frame with its grid, and what the axes mean.
fn axes<'a>(area: &Area<'a>, frame: &Frame) -> Result<Plot<'a>, String> {
    let (left, right, top, bottom) = (86, 24, 8, 58);
    let (width, height) = (area.dim_in_pixel().0 as i32, area.dim_in_pixel().1 as i32);
    let inner = area.margin(top, bottom, left, right);
    // Pixels count downwards.
    let (across, down) = inner.get_pixel_range();
    let coordinates = Axes::new(frame.x.0..frame.x.1, frame.y.0..frame.y.1, (across, down.end..down.start));
    let plot = inner.apply_coord_spec(coordinates);
    let line = |from, to, colour: RGBAColor| plot.draw(&PathElement::new(vec![from, to], colour)).map_err(drawing);
    let (fine, coarse) = (BLACK.mix(0.06), BLACK.mix(0.2));
    let steps = |(from, to): (f64, f64)| (from as i32..=to as i32).flat_map(|decade| (1..10).map(move |digit| (decade, digit)));
    let at = |decade: i32, digit: i32| f64::from(decade) + f64::from(digit).log10();
    for (decade, digit) in steps(frame.x).filter(|&(decade, digit)| at(decade, digit) <= frame.x.1) {
        let x = at(decade, digit);
        line((x, frame.y.0), (x, frame.y.1), if digit == 1 { coarse } else { fine })?;
        if digit == 1 {
            let pixel = plot.map_coordinate(&(x, frame.y.0));
            let area_start = area.get_base_pixel();
            write(area, (pixel.0 - area_start.0, pixel.1 - area_start.1 + 16), &amount(decade), 14, &BLACK, HPos::Center)?;
        }
    }
    for (decade, digit) in steps(frame.y).filter(|&(decade, digit)| at(decade, digit) <= frame.y.1) {
        let y = at(decade, digit);
        line((frame.x.0, y), (frame.x.1, y), if digit == 1 { coarse } else { fine })?;
        if digit == 1 {
            let pixel = plot.map_coordinate(&(frame.x.0, y));
            let area_start = area.get_base_pixel();
            write(area, (pixel.0 - area_start.0 - 8, pixel.1 - area_start.1), &amount(decade), 14, &BLACK, HPos::Right)?;
        }
    }
    write(
        area,
        (left + (width - left - right) / 2, height - 16),
        "floating-point operations per byte read or written",
        15,
        &BLACK,
        HPos::Center,
    )?;
    let upright = (FONT, 15).into_font().transform(FontTransform::Rotate270).color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw(&Text::new("floating-point operations per second", (18, (height - bottom) / 2), upright)).map_err(drawing)?;
    Ok(plot)
}

/// What arithmetic allows.
struct Roof {
    name: &'static str,
    flops: f64,
    width: u32,
}

/// The roofs of a device, the highest first.
fn roofs(ceilings: &Ceilings) -> Vec<Roof> {
    let all = [
        ("f32 multiply-add", Some(ceilings.f32_flops), 2),
        ("f16 multiply-add", ceilings.f16_flops, 1),
        ("matrix units, f16", ceilings.matrix_flops, 1),
    ];
    let mut roofs: Vec<Roof> = all.into_iter().filter_map(|(name, flops, width)| Some(Roof { name, flops: flops?, width })).collect();
    roofs.sort_by(|a, b| b.flops.total_cmp(&a.flops));
    roofs
}

/// The ceilings: what memory allows rises with the intensity, until arithmetic is the limit.
fn draw_roofs(plot: &Plot, frame: &Frame, ceilings: &Ceilings) -> Result<(), String> {
    let (roofs, bytes) = (roofs(ceilings), ceilings.bytes.log10());
    let top = roofs.first().map_or(0.0, |roof| roof.flops.log10());
    let draw = |points: Vec<(f64, f64)>, width| plot.draw(&PathElement::new(points, BLACK.stroke_width(width))).map_err(drawing);
    let label = |at: (f64, f64), text: &str, above: bool| {
        let style = (FONT, 15).into_font().color(&BLACK).pos(Pos::new(HPos::Right, if above { VPos::Bottom } else { VPos::Top }));
        // Not on the line itself.
        let text = Text::new(text.to_string(), (0, if above { -2 } else { 4 }), style);
        plot.draw(&(EmptyElement::at(at) + text)).map_err(drawing)
    };
    // The slope, from where it enters the frame.
    let enters = frame.x.0.max(frame.y.0 - bytes);
    draw(vec![(enters, enters + bytes), (top - bytes, top)], 2)?;
    let middle = f64::midpoint(enters, top - bytes);
    label((middle - 0.06, middle + bytes), &format!("memory {}", print::rate(ceilings.bytes, "B/s")), true)?;
    for (place, roof) in roofs.iter().enumerate() {
        let at = roof.flops.log10();
        draw(vec![(at - bytes, at), (frame.x.1, at)], roof.width)?;
        // Away from the nearer neighbour, or two labels would be one smudge.
        let gap = |other: Option<&Roof>| other.map_or(f64::INFINITY, |other| (other.flops.log10() - at).abs());
        let [higher, lower] = [gap(place.checked_sub(1).and_then(|i| roofs.get(i))), gap(roofs.get(place + 1))];
        label((frame.x.1 - 0.04, at), &format!("{} {}", roof.name, print::rate(roof.flops, "FLOP/s")), higher >= lower)?;
    }
    Ok(())
}

/// What the marks mean: kernels with the share of the device's peak that their best case reaches.
fn explain(area: &Area, entries: &[Entry]) -> Result<(), String> {
    write(area, (30, 16), "kernel", 15, &COLOURS[6], HPos::Left)?;
    let [count, share] = [LEGEND_WIDTH as i32 - 110, LEGEND_WIDTH as i32 - 20];
    write(area, (count, 16), "cases", 15, &COLOURS[6], HPos::Right)?;
    write(area, (share, 16), "best share", 15, &COLOURS[6], HPos::Right)?;
    for (entry, line) in entries.iter().zip(1..) {
        let y = 18 + line * LINE;
        mark(area, entry.number, (14, y))?;
        write(area, (30, y), entry.kernel, 14, &BLACK, HPos::Left)?;
        let best = entry.rows.iter().filter_map(|row| row.share_of_peak).reduce(f64::max);
        write(area, (count, y), &entry.rows.len().to_string(), 14, &BLACK, HPos::Right)?;
        write(area, (share, y), &best.map_or("not timed".into(), print::share), 14, &BLACK, HPos::Right)?;
    }
    let notes = ["A point at the left edge is of a kernel without arithmetic.", "Above the slope, data came from a cache."];
    for (note, line) in notes.iter().zip(entries.len() as i32 + 2..) {
        write(area, (8, 18 + line * LINE), note, 13, &COLOURS[6], HPos::Left)?;
    }
    Ok(())
}

/// The colour and the shape of a mark. Neighbours differ in both, and no two are alike among the first 48.
fn look(number: usize) -> (RGBColor, &'static [(i32, i32)]) {
    let (colour, turn) = (number % COLOURS.len(), number / COLOURS.len());
    (COLOURS[colour], SHAPES[(colour + turn) % SHAPES.len()])
}

/// The mark of a kernel, at a place in whatever coordinates the area has.
fn mark<C: CoordTranslate>(area: &DrawingArea<SVGBackend, C>, number: usize, at: C::From) -> Result<(), String>
where
    C::From: Clone,
{
    let (colour, corners) = look(number);
    let closed: Vec<(i32, i32)> = corners.iter().chain(&corners[..1]).copied().collect();
    let mark = EmptyElement::at(at) + Polygon::new(corners.to_vec(), colour.mix(0.6)) + PathElement::new(closed, colour);
    area.draw(&mark).map_err(drawing)
}

fn write(area: &Area, at: (i32, i32), text: &str, size: u32, colour: &RGBColor, side: HPos) -> Result<(), String> {
    let style = (FONT, size).into_font().color(colour).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_string(), at, style)).map_err(drawing)
}

/// Ten to this power, as people write it: `10 G`.
fn amount(decade: i32) -> String {
    const PREFIXES: [(&str, i32); 6] = [("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0)];
    match PREFIXES.iter().find(|(_, power)| decade >= *power) {
        Some((prefix, power)) => format!("{} {prefix}", 10i64.pow((decade - power) as u32)).trim_end().to_string(),
        None => format!("{}", 10f64.powi(decade)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CEILINGS, row};
    use super::*;

    #[test]
    fn every_kernel_is_named_and_its_points_are_in_the_frame() {
        let rows = [row("a/forward", 1e3, 1e6), row("a/forward", 1e9, 1e3), row("b/copy", 0.0, 1e9), row("c/nothing", 0.0, 0.0)];
        let frame = Frame::of(&CEILINGS, &rows);
        let within = |(x, y): (f64, f64)| (frame.x.0..=frame.x.1).contains(&x) && (frame.y.0..=frame.y.1).contains(&y);
        let places = rows.iter().map(|row| frame.place(row));
        assert_eq!(places.map(|at| at.map(within)).collect::<Vec<_>>(), [Some(true), Some(true), Some(true), None]);
        let text = draw("a <device> & more", &CEILINGS, &rows).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{text}");
        for part in [
            "a/forward",
            "b/copy",
            "c/nothing",
            "a &lt;device&gt; &amp; more",
            "memory 100.00 GB/s",
            "f16 multiply-add 2.00 TFLOP/s",
            "matrix units, f16 8.00 TFLOP/s",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn marks_differ() {
        let looks: Vec<_> = (0..COLOURS.len() * SHAPES.len()).map(look).collect();
        assert!(looks.iter().enumerate().all(|(i, look)| !looks[..i].contains(look)));
        assert_eq!([-2, 0, 2, 3, 10].map(amount), ["0.01", "1", "100", "1 k", "10 G"]);
    }
}

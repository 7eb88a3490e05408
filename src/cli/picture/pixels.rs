//! A drawing as a PNG file.

use plotters::prelude::*;

use super::{Area, drawing, register};

/// Draws on a white page of this size.
pub(super) fn png(
    (width, height): (u32, u32),
    draw: impl FnOnce(&Area<BitMapBackend<'_>>) -> Result<(), String>,
) -> Result<Vec<u8>, String> {
    register();
    let mut pixels = vec![255u8; width as usize * height as usize * 3];
    {
        let page = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        draw(&page)?;
        page.present().map_err(drawing)?;
    }
    let mut file = vec![];
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().map_err(drawing)?;
    writer.write_image_data(&pixels).map_err(drawing)?;
    writer.finish().map_err(drawing)?;
    Ok(file)
}

/// The same as SVG.
pub(super) fn svg(size: (u32, u32), draw: impl FnOnce(&Area<SVGBackend<'_>>) -> Result<(), String>) -> Result<String, String> {
    register();
    let mut text = String::new();
    {
        let page = SVGBackend::with_string(&mut text, size).into_drawing_area();
        page.fill(&WHITE).map_err(drawing)?;
        draw(&page)?;
        page.present().map_err(drawing)?;
    }
    Ok(text)
}

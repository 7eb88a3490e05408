//! Numbers and tables as people read them.

use comfy_table::{CellAlignment, Table, presets};

/// A column's heading and whether it is aligned to the right, as numbers are.
pub(super) type Column = (&'static str, bool);

/// A table without lines, its columns two spaces apart.
pub(super) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(columns.iter().map(|(heading, _)| *heading));
    for row in rows {
        table.add_row(row);
    }
    for (column, (_, right)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if *right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// `1.23 ms`.
pub(super) fn seconds(s: f64) -> String {
    match s {
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.3} ms", s * 1e3),
        s => format!("{s:.3} s"),
    }
}

/// `1.23 T` and the unit; `-` for nothing, as of a kernel that only moves data.
pub(super) fn rate(per_second: f64, unit: &str) -> String {
    match per_second {
        0.0 => "-".into(),
        x if x >= 1e12 => format!("{:.2} T{unit}", x / 1e12),
        x if x >= 1e9 => format!("{:.2} G{unit}", x / 1e9),
        x if x >= 1e6 => format!("{:.2} M{unit}", x / 1e6),
        x => format!("{:.2} k{unit}", x / 1e3),
    }
}

/// `12.3 %` of something.
pub(super) fn share(x: f64) -> String {
    let percent = 100.0 * x;
    if percent < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// `1.5 MiB`.
pub(super) fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        n if n >= 1073741824.0 => format!("{:.1} GiB", n / 1073741824.0),
        n if n >= 1048576.0 => format!("{:.1} MiB", n / 1048576.0),
        n if n >= 1024.0 => format!("{:.1} KiB", n / 1024.0),
        n => format!("{n} bytes"),
    }
}

/// `1.23e-7`; zero is `0`.
pub(super) fn small(x: f64) -> String {
    if x == 0.0 { "0".into() } else { format!("{x:.2e}") }
}

/// A value in nine significant digits, more than an f32 has.
pub(super) fn value(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 || !x.is_finite() {
        format!("{x}")
    } else if (1e-4..1e8).contains(&size) {
        let before = size.log10().floor() as i32 + 1;
        let text = format!("{x:.*}", (9 - before).max(0) as usize);
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
    } else {
        format!("{x:.8e}")
    }
}

/// `yes` or `no`.
pub(super) fn yes(x: bool) -> &'static str {
    if x { "yes" } else { "no" }
}

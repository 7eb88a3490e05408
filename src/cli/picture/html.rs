//! Heatmaps as a page that needs nothing else: tables, and a line below the pointer that says what the weight is of what.

use std::fmt::Write as _;

use plotters::prelude::RGBColor;

use super::{Heatmap, colour, label, strength, width};

const STYLE: &str = "
body { font: 15px sans-serif; margin: 16px; color: #222; background: #fff; }
h2 { font-size: 18px; font-weight: normal; margin: 0 0 10px; }
table { border-collapse: collapse; font-family: monospace; font-size: 14px; margin: 0 0 32px; }
th { font-weight: normal; color: #000; white-space: pre; }
tr > th { text-align: right; padding: 0 6px; }
thead th { vertical-align: bottom; padding: 0 0 6px; }
thead th + th { text-align: center; }
.upright thead span { writing-mode: vertical-rl; text-orientation: sideways; transform: rotate(180deg); }
.name { color: #5a5a5a; font-family: sans-serif; }
td { min-width: 24px; height: 24px; padding: 0; border: 1px solid #e4e4e4; }
td:hover { outline: 2px solid #d55e00; }
th.here { background: #fbe3d0; }
#tip { position: fixed; padding: 4px 8px; background: #222; color: #fff; font-family: monospace; white-space: pre; pointer-events: none; }
";

/// Follows the pointer: the cell's weight and its labels, and the labels marked.
const SCRIPT: &str = "
const tip = document.getElementById('tip');
let marked = [];
document.addEventListener('mousemove', event => {
  marked.forEach(label => label.classList.remove('here'));
  marked = [];
  const cell = event.target.closest('td[data-w]');
  tip.hidden = !cell;
  if (!cell) return;
  const row = cell.parentNode.cells[0];
  const column = cell.closest('table').tHead.rows[0].cells[cell.cellIndex];
  marked = [row, column];
  marked.forEach(label => label.classList.add('here'));
  tip.textContent = row.title + '  \\u2190  ' + column.title + ':  ' + cell.dataset.w;
  const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  const top = Math.min(event.clientY + 18, innerHeight - tip.offsetHeight - 8);
  tip.style.left = Math.max(0, left) + 'px';
  tip.style.top = Math.max(0, top) + 'px';
});
";

/// The page.
pub(super) fn page(maps: &[Heatmap]) -> String {
    let title = escape(maps.first().map_or("", |map| &map.title));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    );
    maps.iter().for_each(|map| table(&mut page, map));
    page += &format!("<div id=\"tip\" hidden></div>\n<script>{SCRIPT}</script>\n</body>\n</html>\n");
    page
}

fn table(page: &mut String, map: &Heatmap) {
    let most = map.most();
    // The longest that would be of any use on a screen; what is under the pointer is shown whole.
    let head = |text: &str| format!("title=\"{}\"><span>{}</span></th>", escape(&label(text, usize::MAX)), escape(&label(text, 80)));
    // Three letters fit a column as they are.
    let class = if map.columns.iter().any(|text| width(text) > 3) { " class=\"upright\"" } else { "" };
    *page += &format!("<h2>{}</h2>\n<table{class}>\n<thead><tr><th class=\"name\">", escape(&map.title));
    *page += &format!("{} ↓ &nbsp; {} →</th>", escape(&map.down), escape(&map.across));
    map.columns.iter().for_each(|text| *page += &format!("<th {}", head(text)));
    *page += "</tr></thead>\n<tbody>\n";
    for (number, text) in map.rows.iter().enumerate() {
        *page += &format!("<tr><th {}", head(text));
        for column in 0..map.columns.len() {
            let weight = map.weight(number, column);
            let RGBColor(red, green, blue) = colour(strength(weight, most));
            // Writing to a string does not fail.
            let _ = write!(page, "<td data-w=\"{weight:.4}\" style=\"background:#{red:02x}{green:02x}{blue:02x}\"></td>");
        }
        *page += "</tr>\n";
    }
    *page += "</tbody>\n</table>\n";
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_and_label_is_there_and_nothing_is_markup() {
        let map = Heatmap {
            title: "</title><script>".into(),
            down: "output".into(),
            across: "input".into(),
            rows: vec!["\"><b".into(), "é".into()],
            columns: vec!["a b".into(), "<i>".into(), "&".into()],
            weights: vec![0.0, 0.25, 0.75, 1.0, 0.0, f32::NAN],
        };
        let page = page(&[map]);
        assert_eq!(page.matches("<td data-w=").count(), 6);
        for part in ["data-w=\"0.7500\"", "data-w=\"NaN\" style=\"background:#969696\"", "title=\"a·b\"", "&lt;i&gt;", "<span>é</span>"] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!((page.matches("<script>").count(), page.matches("<b").count()), (1, 1 + "<body>".matches("<b").count() - 1));
        assert!(!page.contains("http"));
    }
}

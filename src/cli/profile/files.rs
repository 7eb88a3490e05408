//! The files that a profile is written to.

use std::path::PathBuf;

use super::roofline;
use super::timing::Row;
use super::trace::{self, Chain};
use crate::gpu::Ceilings;
use crate::{Error, Result, io};

#[derive(clap::Args)]
pub(super) struct Files {
    /// Write what --json prints as a table for spreadsheets.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Draw a roofline: every kernel under the ceilings of this device.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write when each dispatch ran, for https://ui.perfetto.dev or chrome://tracing: a process for each case, a track for each kernel.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// The keys of a row, in order; one that it lacks is left empty.
const COLUMNS: [&str; 24] = [
    "op",
    "case",
    "variant",
    "dtype",
    "clock",
    "runs",
    "dispatches",
    "gpu_ms",
    "gpu_ms_iqr",
    "gflops",
    "gbytes_per_s",
    "flops_per_byte",
    "us_per_step",
    "share_of_peak",
    "bound",
    "share_of_case",
    "peak_f32_gflops",
    "peak_f16_gflops",
    "peak_matrix_gflops",
    "peak_gbytes_per_s",
    "launch_us",
    "submission_us",
    "device",
    "driver",
];

impl Files {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.csv, &self.svg, &self.trace].into_iter().flatten()
    }

    /// An error for a file that cannot be written, before the work that it is to hold.
    pub fn check(&self) -> Result<()> {
        self.paths().try_for_each(|path| io::check_place(path))
    }

    /// The files' names, for saying that they were not written.
    pub fn names(&self) -> Vec<String> {
        self.paths().map(|path| path.display().to_string()).collect()
    }

    /// Writes each file whole or not at all.
    pub fn write(&self, device: &str, ceilings: &Ceilings, rows: &[Row], chains: &[Chain]) -> Result<()> {
        if let Some(path) = &self.csv {
            io::write_text(path, &csv(rows).map_err(|source| Error::Io { path: path.clone(), source })?)?;
        }
        if let Some(path) = &self.svg {
            let drawn = roofline::draw(device, ceilings, rows);
            io::write_text(path, &drawn.map_err(|message| Error::Format { path: path.clone(), message })?)?;
        }
        if let Some(path) = &self.trace {
            io::write_text(path, &trace::json(device, chains))?;
        }
        Ok(())
    }
}

fn csv(rows: &[Row]) -> std::io::Result<String> {
    let mut writer = csv::Writer::from_writer(vec![]);
    writer.write_record(COLUMNS)?;
    for row in rows {
        let values = serde_json::to_value(row)?;
        writer.write_record(COLUMNS.map(|column| match &values[column] {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        }))?;
    }
    let bytes = writer.into_inner().map_err(|e| e.into_error())?;
    String::from_utf8(bytes).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    #[test]
    fn the_table_has_what_json_has() {
        let value = serde_json::to_value(row("a/b", 1.0, 1.0)).unwrap();
        let (mut keys, mut columns): (Vec<&str>, _) = (value.as_object().unwrap().keys().map(String::as_str).collect(), COLUMNS);
        keys.sort_unstable();
        columns.sort_unstable();
        assert_eq!(keys, columns);
    }

    #[test]
    fn commas_are_quoted() {
        let text = csv(&[row("a/b", 1.0, 1.0)]).unwrap();
        let line = text.lines().nth(1).unwrap();
        assert!(line.starts_with("softmax,\"2,3\",a/b default,f32,device,"), "{line}");
    }
}

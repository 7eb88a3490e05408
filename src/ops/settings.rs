//! The keys of a request.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::{DType, Error, Result};

/// The `--set` keys of a request, as text, read with a type by the operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// From pairs; a later one wins.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Settings(pairs.into_iter().collect())
    }

    /// The text of a key, if it was set.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The names of the keys that were set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The value of a key; `None` when it was not set or set to `none`.
    pub fn get<T: FromStr>(&self, op: &'static str, key: &str, expected: &str) -> Result<Option<T>> {
        match self.text(key) {
            None | Some("none") => Ok(None),
            Some(text) => text.trim().parse().map(Some).map_err(|_| wrong(op, key, expected, text)),
        }
    }

    /// `true` or `false` (also 1 and 0).
    pub fn flag(&self, op: &'static str, key: &str, default: bool) -> Result<bool> {
        match self.text(key) {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(text) => Err(wrong(op, key, "true or false", text)),
        }
    }

    /// A finite number.
    pub fn number(&self, op: &'static str, key: &str) -> Result<Option<f32>> {
        self.finite(op, key, f32::is_finite)
    }

    /// A finite number that the operation computes with in f64 first: those of an optimizer, of which 1 - beta is taken.
    pub fn real(&self, op: &'static str, key: &str) -> Result<Option<f64>> {
        self.finite(op, key, f64::is_finite)
    }

    fn finite<T: FromStr + Copy>(&self, op: &'static str, key: &str, is_finite: fn(T) -> bool) -> Result<Option<T>> {
        const EXPECTED: &str = "a finite number";
        match self.get(op, key, EXPECTED)? {
            Some(x) if !is_finite(x) => Err(wrong(op, key, EXPECTED, self.text(key).unwrap_or_default())),
            other => Ok(other),
        }
    }

    /// Dimensions, separated by commas; `None` when the key was not set or set to `none`.
    pub fn axes(&self, op: &'static str, key: &str, expected: &str) -> Result<Option<Vec<isize>>> {
        let Some(text) = self.text(key).filter(|text| *text != "none") else { return Ok(None) };
        let list = text.split(',').map(|axis| axis.trim().parse().map_err(|_| wrong(op, key, expected, text)));
        list.collect::<Result<_>>().map(Some)
    }

    /// The storage type: `dtype=f32|f16`.
    pub fn dtype(&self, op: &'static str) -> Result<DType> {
        match self.text("dtype") {
            None | Some("f32") => Ok(DType::F32),
            Some("f16") => Ok(DType::F16),
            Some(text) => Err(wrong(op, "dtype", "f32 or f16", text)),
        }
    }
}

fn wrong(op: &'static str, key: &str, expected: &str, got: &str) -> Error {
    Error::Argument { op, key: key.into(), expected: expected.into(), got: format!("'{got}'") }
}

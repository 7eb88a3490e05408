//! What a caller may choose about attention: shared by `attention` and `attention_varlen`.

use std::fmt::{self, Display};
use std::ops::Range;
use std::str::FromStr;

use super::fused::MAX_DIM;
use crate::gpu::{Caps, Choice};
use crate::ops::Settings;
use crate::{Error, Result};

/// Queries and keys of a sequence are fewer: kernels add a query's index to a shift of causality and windows in an i32.
pub(crate) const MAX_LENGTH: usize = 1 << 30;

/// Which kernels compute attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Path {
    /// The fused path where it serves the request, else the composed one. On drivers that run on the CPU the composed one where it is faster.
    #[default]
    Auto,
    /// Kernels that never store the `[batch, heads_q, seq_q, seq_k]` matrix of probabilities: for head dimensions up to 256, without
    /// `weights` and without a given dropout mask.
    Fused,
    /// A product, a softmax and a product, with the matrix of probabilities in device memory.
    Composed,
}

/// What `auto` stands for. No size decides.
impl Choice for Path {
    const NAME: &'static str = "attention path";

    fn all(_caps: &Caps) -> Vec<(String, Self)> {
        vec![("composed".into(), Path::Composed), ("fused".into(), Path::Fused)]
    }
}

impl FromStr for Path {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Path::Auto),
            "fused" => Ok(Path::Fused),
            "composed" => Ok(Path::Composed),
            _ => Err(()),
        }
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Path::Auto => "auto",
            Path::Fused => "fused",
            Path::Composed => "composed",
        })
    }
}

/// What a caller may choose. The default is plain attention: scale 1/√dim, every key visible, no dropout.
///
/// ```
/// use wattn::ops::attention::AttentionOptions;
/// let options = AttentionOptions { causal: true, window_left: Some(127), ..Default::default() };
/// assert_eq!(options.keys(200, 0, 1000), 73..201);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AttentionOptions {
    /// What q·k is multiplied by; `None` is 1/√dim.
    pub scale: Option<f32>,
    /// Query i sees no key after its own position p = i + offset.
    pub causal: bool,
    /// Query i stands at key position i + offset; may be negative. Packed sequences add key length − query length.
    pub offset: i32,
    /// Query i sees no key before p − window_left.
    pub window_left: Option<u32>,
    /// Query i sees no key after p + window_right.
    pub window_right: Option<u32>,
    /// c in c·tanh(s/c); 0 is off.
    pub softcap: f32,
    /// The probability that an attention weight is dropped; at least 0 and below 1.
    pub dropout_p: f32,
    /// The seed of the random numbers of dropout.
    pub seed: u64,
    /// Also output the attention weights after dropout, `[batch, heads_q, seq_q, seq_k]`.
    pub weights: bool,
    /// Which kernels to use.
    pub path: Path,
}

impl AttentionOptions {
    /// From the keys of a request. A key that was not set has the default.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value that does not parse.
    pub fn from_settings(op: &'static str, settings: &Settings) -> Result<Self> {
        Ok(AttentionOptions {
            scale: settings.number(op, "scale")?,
            causal: settings.flag(op, "causal", false)?,
            offset: settings.get(op, "offset", "an integer")?.unwrap_or(0),
            window_left: settings.get(op, "window_left", "none or an integer of at least 0")?,
            window_right: settings.get(op, "window_right", "none or an integer of at least 0")?,
            softcap: settings.number(op, "softcap")?.unwrap_or(0.0),
            dropout_p: settings.number(op, "dropout_p")?.unwrap_or(0.0),
            seed: settings.get(op, "seed", "an integer of at least 0")?.unwrap_or(0),
            weights: settings.flag(op, "weights", false)?,
            path: settings.get(op, "path", "auto, fused or composed")?.unwrap_or_default(),
        })
    }

    /// Checks the values.
    ///
    /// # Errors
    /// [`Error::Argument`] for a scale or softcap that is not finite, a negative softcap, and a dropout_p outside 0 <= p < 1.
    pub fn check(&self, op: &'static str) -> Result<()> {
        let fault = |key: &str, expected: &str, got: String| Err(Error::Argument { op, key: key.into(), expected: expected.into(), got });
        if let Some(scale) = self.scale.filter(|scale| !scale.is_finite()) {
            return fault("scale", "a finite number", scale.to_string());
        }
        if !(self.softcap.is_finite() && self.softcap >= 0.0) {
            return fault("softcap", "a finite number of at least 0 (0 is off)", self.softcap.to_string());
        }
        if !(0.0..1.0).contains(&self.dropout_p) {
            return fault("dropout_p", "a number p with 0 <= p < 1", self.dropout_p.to_string());
        }
        Ok(())
    }

    /// Checks that the path serves a call with heads of these dimensions, those of keys and of values.
    ///
    /// # Errors
    /// [`Error::Argument`] for `path: Fused` with head dimensions over 256, with `weights` or with a given dropout mask.
    pub(crate) fn check_path(&self, op: &'static str, dims: [usize; 2], dropout_keep: bool) -> Result<()> {
        let widest = dims[0].max(dims[1]);
        let reason = match self.path {
            Path::Auto | Path::Composed => return Ok(()),
            Path::Fused if self.weights => "weights, which are never stored".to_string(),
            Path::Fused if dropout_keep => "dropout_keep, only drawn dropout".to_string(),
            Path::Fused if widest > MAX_DIM => format!("a head dimension of {widest}, only up to {MAX_DIM}"),
            Path::Fused => return Ok(()),
        };
        let (expected, got) = ("auto or composed".to_string(), format!("fused, which does not serve {reason}"));
        Err(Error::Argument { op, key: "path".into(), expected, got })
    }

    /// The factor of q·k for a head dimension: `scale`, or 1/√dim rounded to f32.
    pub fn scale_for(&self, dim: usize) -> f32 {
        self.scale.unwrap_or((1.0 / (dim as f64).sqrt()) as f32)
    }

    /// The keys among the first `length` that query `i` can see by causality and window; its position is i + offset.
    pub fn keys(&self, i: usize, offset: i64, length: usize) -> Range<usize> {
        // No term leaves the range of i64: sizes are below 2^32 or so, and windows and offsets have 32 bits.
        let p = i as i64 + offset;
        let first = self.window_left.map_or(0, |left| (p - left as i64).max(0));
        let mut end = length as i64;
        if self.causal {
            end = end.min(p + 1);
        }
        if let Some(right) = self.window_right {
            end = end.min(p + right as i64 + 1);
        }
        if first < end { first as usize..end as usize } else { 0..0 }
    }

    /// `[low, high]`: query i sees keys j with i + low <= j < i + high, by causality and window.
    pub(crate) fn shifts(&self, offset: i64) -> [i32; 2] {
        let low = self.window_left.map_or(i64::MIN, |left| offset - i64::from(left));
        let right = self.window_right.map_or(i64::MAX, |right| offset + i64::from(right) + 1);
        let high = if self.causal { right.min(offset + 1) } else { right };
        // Beyond the longest sequence means all keys or none.
        let most = MAX_LENGTH as i64 - 1;
        [low, high].map(|at| at.clamp(-most, most) as i32)
    }

    /// The number of (query, key) pairs that causality and window leave visible.
    pub fn pairs(&self, queries: usize, offset: i64, length: usize) -> u64 {
        (0..queries).map(|i| self.keys(i, offset, length).len() as u64).sum()
    }
}

/// Floating-point operations of the products over `pairs` visible pairs. Forward: QKᵀ and PV. Backward: dV, dP, dQ and dK;
/// computing S again is not counted, nor are the exponentials.
pub(crate) fn flops(pairs: f64, dim: usize, dim_v: usize, backward: bool) -> f64 {
    let products = if backward { 3.0 } else { 1.0 };
    2.0 * pairs * products * (dim + dim_v) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, pair by pair.
    #[test]
    fn keys_are_those_of_the_definition() {
        let windows = [None, Some(0), Some(3), Some(u32::MAX)];
        for (causal, offset) in [(false, 0), (true, 0), (true, 4), (true, -6), (true, i32::MIN), (false, i32::MAX), (false, -20)] {
            for (window_left, window_right) in windows.iter().flat_map(|&l| windows.map(|r| (l, r))) {
                let options = AttentionOptions { causal, offset, window_left, window_right, ..Default::default() };
                for i in 0..9usize {
                    let p = i as i64 + offset as i64;
                    let visible = |j: i64| {
                        (!causal || j <= p)
                            && window_left.is_none_or(|left| p - left as i64 <= j)
                            && window_right.is_none_or(|right| j <= p + right as i64)
                    };
                    let expected: Vec<usize> = (0..11).filter(|&j| visible(j)).map(|j| j as usize).collect();
                    assert_eq!(options.keys(i, offset as i64, 11).collect::<Vec<_>>(), expected, "{options:?}, query {i}");
                }
            }
        }
    }
}

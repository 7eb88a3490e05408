//! Rows as whole quads: the kernels read vectors of 4 elements. Tensors of other rows are copied to wider ones and, results, back.

use super::{Fused, Rows};
use crate::Result;
use crate::gpu::{Gpu, Tensor};
use crate::ops::attention::copy::{Runs, pad};

/// A tensor of rows that are quads: a copy, or the one that was given.
pub(super) struct Quads<'a> {
    given: Rows<'a>,
    copy: Option<Tensor>,
}

fn runs(tensor: &Tensor, stride: usize) -> Runs<'_> {
    Runs { tensor, start: 0, stride }
}

impl<'a> Quads<'a> {
    /// Room for rows like these.
    pub fn empty(gpu: &Gpu, given: Rows<'a>) -> Result<Self> {
        let whole = given.dim.is_multiple_of(4) && given.tensor.view().base().is_multiple_of(4);
        let room = || gpu.empty(given.tensor.dtype(), &[given.tensor.len() / given.dim, given.dim.next_multiple_of(4)]);
        Ok(Quads { given, copy: (!whole).then(room).transpose()? })
    }

    /// What the tensor holds, with zeros at the end of each row.
    pub fn filled(gpu: &Gpu, op: &'static str, given: Rows<'a>) -> Result<Self> {
        let quads = Quads::empty(gpu, given)?;
        if let Some(copy) = &quads.copy {
            let width = given.dim.next_multiple_of(4);
            let rows = given.tensor.len() / given.dim;
            pad(gpu, op, runs(given.tensor, given.dim), runs(copy, width), rows, [given.dim, width])?;
        }
        Ok(quads)
    }

    pub fn rows(&self) -> Rows<'_> {
        Rows { tensor: self.tensor(), dim: self.given.dim.next_multiple_of(4) }
    }

    pub fn tensor(&self) -> &Tensor {
        self.copy.as_ref().unwrap_or(self.given.tensor)
    }

    /// Copies what a kernel wrote to the tensor that was given.
    pub fn give_back(&self, gpu: &Gpu, op: &'static str) -> Result<()> {
        let Some(copy) = &self.copy else { return Ok(()) };
        let (dim, width) = (self.given.dim, self.given.dim.next_multiple_of(4));
        pad(gpu, op, runs(copy, width), runs(self.given.tensor, dim), self.given.tensor.len() / dim, [dim, dim])
    }
}

impl Fused<'_> {
    /// q, k and v as the kernels read them.
    pub(super) fn quads(&self, gpu: &Gpu) -> Result<[Quads<'_>; 3]> {
        let filled = |rows| Quads::filled(gpu, self.op, rows);
        Ok([filled(self.q)?, filled(self.k)?, filled(self.v)?])
    }
}

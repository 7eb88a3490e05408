//! Additive scores with their projections, forward and backward: what additive attention and Luong's concat have in common. They differ in how
//! their weights lie in memory, and in the bias.

use super::kernels::{Scores, Side};
use crate::gpu::{Gpu, Tensor};
use crate::ops::projection::Projection;
use crate::ops::sum;
use crate::{DType, Result};

/// What the scores are made of: `[batch, Lq, A]` and `[batch, Lk, A]`, f32. The forward makes it and the backward reads it again.
#[derive(Clone, Debug)]
pub struct Projected {
    /// wq query + b
    pub query: Tensor,
    /// wk keys
    pub keys: Tensor,
}

/// s = v·tanh(wq query + b + wk keys).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Additive<'a> {
    /// Of `[batch, Lq, Dq]`.
    pub query: Projection<'a>,
    /// Of `[batch, Lk, Dk]`, with the mask.
    pub keys: Projection<'a>,
    /// `[A]`
    pub v: &'a Tensor,
}

/// The gradients. Those of weights and bias have gone where they were to go.
pub(crate) struct AdditiveGradients {
    pub d_query: Tensor,
    pub d_keys: Tensor,
    pub d_v: Tensor,
}

impl Additive<'_> {
    /// Both projections.
    pub fn project(&self, gpu: &Gpu) -> Result<Projected> {
        Ok(Projected { query: self.query.forward(gpu)?, keys: self.keys.forward(gpu)? })
    }

    fn scores<'p>(&'p self, projected: &'p Projected) -> Scores<'p> {
        let side = |tensor: &'p Tensor| Side { tensor, count: tensor.shape()[1] };
        let (queries, keys) = (side(&projected.query), side(&projected.keys));
        Scores { op: self.query.op, batch: projected.query.shape()[0], features: self.v.len(), queries, keys, v: self.v }
    }

    /// The scores, `[batch, Lq, Lk]`; those of masked keys may be anything.
    pub fn forward(&self, gpu: &Gpu, projected: &Projected) -> Result<Tensor> {
        let scores = self.scores(projected);
        let s = gpu.empty(DType::F32, &[scores.batch, scores.queries.count, scores.keys.count])?;
        scores.forward(gpu, &s)?;
        Ok(s)
    }

    /// The gradients from that of the scores, which is 0 where a key is masked. Writes those of wq, wk and b.
    pub fn backward(
        &self,
        gpu: &Gpu,
        projected: &Projected,
        d_scores: &Tensor,
        [d_wq, d_wk]: [&Tensor; 2],
        d_b: Option<&Tensor>,
    ) -> Result<AdditiveGradients> {
        let (scores, mask) = (self.scores(projected), self.keys.mask);
        let like = |tensor: &Tensor| gpu.empty(DType::F32, tensor.shape());
        let d_projected = like(&projected.query)?;
        let d_v = {
            let d_v_rows = like(&projected.query)?;
            scores.backward_queries(gpu, d_scores, mask, &d_projected, &d_v_rows)?;
            sum::rows(gpu, &d_v_rows, self.v.len())?
        };
        self.query.d_weight(gpu, &d_projected, d_wq)?;
        d_b.map_or(Ok(()), |d_b| self.query.d_bias(gpu, &d_projected, d_b))?;
        let d_query = self.query.d_x(gpu, &d_projected)?;
        let d_projected = like(&projected.keys)?;
        scores.backward_keys(gpu, d_scores, mask, &d_projected)?;
        self.keys.d_weight(gpu, &d_projected, d_wk)?;
        Ok(AdditiveGradients { d_query, d_keys: self.keys.d_x(gpu, &d_projected)?, d_v })
    }
}

// Cosine scores: what the kernels over pairs of queries and keys share.
//
//     n[b,i,j] = max(|query[b,i]| |key[b,j]|, EPS)         scores[b,i,j] = query[b,i].key[b,j] / n[b,i,j]
//
// The importing kernel has LANES invocations, each with an element of consecutive rows (b, i) of the scores.

#import index

const LANES: u32 = 256u;
const EPS: f32 = 1e-8;

struct Params {
    // Of this dispatch: elements, the first row among all (b, i), and the first batch.
    count: u32,
    first_row: u32,
    first_batch: u32,
    queries: u32,
    keys: u32,
    // The index of each tensor's first element.
    scores_base: u32,
    d_scores_base: u32,
    norms_q_base: u32,
    norms_k_base: u32,
    mask_base: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// The place of an element: its row in this dispatch, and its key among those of the batches of this dispatch.
struct Pair {
    row: u32,
    key: u32,
}

fn pair_of(at: u32) -> Pair {
    let row = at / params.keys;
    let batch = (params.first_row + row) / params.queries - params.first_batch;
    return Pair(row, batch * params.keys + at % params.keys);
}

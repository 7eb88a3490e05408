// What the fused kernels need to know of a call besides its large tensors, packed into one binding: the sequences, the slopes of the heads,
// and the mask as bits with a summary of each of its cells.
//
//     guide = sequences | slopes | records of the mask
//     record[ci] = cell[ci, cj] for each cj, then bits[i, cj] for each i of 32 queries and each cj
//
// A cell is 32 queries by 32 keys; it is empty, partial or full. Bit b of bits[i, cj] is the mask of key 32 cj + b.
//
// Shapes    sequences: [words]   alibi_slopes: [heads_q]   mask: broadcast to [batch, heads_q, seq_q, seq_k] by strides   guide: [words]
// Grid      one workgroup per cell of the mask's own batches and heads, and some that copy, spread over x and y
// Memory    reads the mask once; writes an eighth of its bytes
// Source    the classes of tiles: llama.cpp's Vulkan backend has such a pass
// Twin      src/ops/attention/cpu.rs

#import index

const CELL: u32 = 32u; // one word of bits; also the invocations of a workgroup
const EMPTY: u32 = 0u;
const PARTIAL: u32 = 1u;
const FULL: u32 = 2u;

struct Params {
    // Words of the sequences, and of the slopes.
    sequences: u32,
    slopes: u32,
    // Where the slopes and the mask's records begin.
    slopes_at: u32,
    mask_at: u32,
    slopes_base: u32,
    mask_base: u32,
    mask_h: u32,
    mask_b: u32,
    mask_i: u32,
    mask_j: u32,
    // The mask's own heads, and of each head its records and the cells in each.
    heads: u32,
    records: u32,
    cells: u32,
    workgroups: u32,
    // The first query and key, and where they end.
    i_begin: u32,
    i_end: u32,
    j_begin: u32,
    j_end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sequences: array<u32>; // [words]
#if ALIBI
@group(0) @binding(2) var<storage, read> alibi_slopes: array<u32>; // [heads_q], the bits of f32
#end
#if MASK
@group(0) @binding(3) var<storage, read> mask: array<u32>; // broadcast to [batch, heads_q, seq_q, seq_k], four u8 to a word
#end
@group(0) @binding(4) var<storage, read_write> guide: array<u32>; // [words]

var<workgroup> some: atomic<u32>;
var<workgroup> lacking: atomic<u32>;

@compute @workgroup_size(CELL)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = spread(group, groups);
    if workgroup >= params.workgroups {
        return;
    }
#if MASK
    let cj = workgroup % params.cells;
    let ci = workgroup / params.cells % params.records;
    let bh = workgroup / params.cells / params.records;
    let start = params.mask_base + bh / params.heads * params.mask_b + bh % params.heads * params.mask_h;
    let i = params.i_begin + CELL * ci + local;
    let j0 = params.j_begin + CELL * cj;
    let count = min(CELL, params.j_end - j0);
    var bits = 0u;
    if i < params.i_end {
        for (var c = 0u; c < count; c++) {
            let at = start + i * params.mask_i + (j0 + c) * params.mask_j;
            bits |= select(0u, 1u << c, byte_of(mask[at / 4u], at) != 0u);
        }
        let all = 0xffffffffu >> (CELL - count);
        atomicOr(&some, bits);
        atomicOr(&lacking, all & ~bits);
    }
    let record = params.mask_at + (bh * params.records + ci) * params.cells * (CELL + 1u);
    guide[record + (local + 1u) * params.cells + cj] = bits;
    workgroupBarrier();
    if local == 0u {
        let kind = select(select(FULL, PARTIAL, atomicLoad(&lacking) != 0u), EMPTY, atomicLoad(&some) == 0u);
        guide[record + cj] = kind;
    }
#end
    let n = workgroup * CELL + local;
    if n < params.sequences {
        guide[n] = sequences[n];
    }
#if ALIBI
    if n < params.slopes {
        guide[params.slopes_at + n] = alibi_slopes[params.slopes_base + n];
    }
#end
}

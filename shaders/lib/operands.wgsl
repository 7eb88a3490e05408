// What the kernels of fused attention read of a head of a sequence: q, k and v, with the flag D_O d_o as well. `find` says where they
// begin, and `quad_of` hands their rows to lib/tile.
//
// Bindings from 6 on, but for d_o, are the importing kernel's.

#import fused

// How q, k and v are stored, and how d_o is.
alias elem = f32;
#if D_O
alias elem_d_o = f32;
#end

@group(0) @binding(1) var<storage, read> q: array<vec4<elem>>; // [batch, heads_q, seq_q, dim]
@group(0) @binding(2) var<storage, read> k: array<vec4<elem>>; // [batch, heads_kv, seq_k, dim]
@group(0) @binding(3) var<storage, read> v: array<vec4<elem>>; // [batch, heads_kv, seq_k, dim_v]
#if BIAS
@group(0) @binding(4) var<storage, read> bias: array<f32>; // broadcast to [batch, heads_q, seq_q, seq_k]
#end
@group(0) @binding(5) var<storage, read> guide: array<vec4<u32>>; // see attention/guide.wgsl
#if D_O
@group(0) @binding(6) var<storage, read> d_o: array<vec4<elem_d_o>>; // [batch, heads_q, seq_q, dim_v]
#end

// Operands of products.
const Q: u32 = 0u;
const K: u32 = 1u;
const V: u32 = 2u;
#if D_O
const D_O: u32 = 3u;
#end

// The row of query 0 in tensors of queries.
var<private> q_row0: u32;
// The last query and the last key: what is asked for past them ends in elements that nobody keeps.
var<private> q_last: u32;
var<private> k_last: u32;
// In quads: where query 0 and key 0 begin, and the distance from one to the next.
var<private> q_start: u32;
var<private> k_start: u32;
var<private> v_start: u32;
var<private> q_step: u32;
var<private> k_step: u32;
var<private> v_step: u32;
#if D_O
var<private> d_o_start: u32;
var<private> d_o_step: u32;
#end

// Finds a head of a sequence, of which `head` is a query head.
fn find(s: Sequence, head: u32) {
    let k_row0 = head / params.group * params.k_head + s.k_first * params.k_row;
    q_row0 = head * params.q_head + s.q_first * params.q_row;
    q_last = max(queries_end(s), 1u) - 1u;
    k_last = max(keys_end(s), 1u) - 1u;
    q_start = params.q_base + q_row0 * params.quads;
    k_start = params.k_base + k_row0 * params.quads;
    v_start = params.v_base + k_row0 * params.quads_v;
    q_step = params.q_row * params.quads;
    k_step = params.k_row * params.quads;
    v_step = params.k_row * params.quads_v;
#if D_O
    d_o_start = params.d_o_base + q_row0 * params.quads_v;
    d_o_step = params.q_row * params.quads_v;
#end
}

fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    switch source {
        case Q: {
            return vec4<f32>(q[q_start + min(row, q_last) * q_step + quad]);
        }
        case K: {
            return vec4<f32>(k[k_start + min(row, k_last) * k_step + quad]);
        }
#if D_O
        case D_O: {
            return vec4<f32>(d_o[d_o_start + min(row, q_last) * d_o_step + quad]);
        }
#end
        default: {
            return vec4<f32>(v[v_start + min(row, k_last) * v_step + quad]);
        }
    }
}

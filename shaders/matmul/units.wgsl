// Matrix product on matrix units, batched, with an optional bias.
//
//     y[.., i, j] = scale sum_k a[.., i, k] b[.., k, j] + bias[j]
//
// Shapes    a: [batch.., m, k]   b: [batch.., k, n]   bias: [n]   y: [batch.., m, n]; a and b by strides, of f16
// Grid      one workgroup per TILE x TILE outputs: x over columns, y over rows, z over batches; TEAMS_Y x TEAMS_X subgroups share them
// Numerics  products of f16 are exact in f32, in which the units add; in slices of k as lib/product has them
// Memory    reads a n/TILE times and b m/TILE times, writes y once
// Source    VK_KHR_cooperative_matrix; WGSL by wgpu's extension of that name
// Twin      src/ops/matmul/cpu.rs
//
// Units load whole blocks, whatever lies past the end of a matrix, and check no bounds: so they load from panels in workgroup memory,
// where what is outside is zero. Each of TEAMS subgroups has its part of the tile. Where there are more, because subgroups are smaller
// than the largest, those left over do what another does, and nobody takes it.

#import matrix
#import result

const TILE: u32 = 64u;
const SLICE: u32 = 2048u; // multiple of PANEL
const PANEL: u32 = 32u; // steps of k that are staged at a time; a multiple of SIZE
const TEAMS_X: u32 = 2u;
const TEAMS_Y: u32 = 2u;
const A_ALONG_K: bool = true; // rows of a go along memory, otherwise its columns
const B_ALONG_K: bool = true; // columns of b go along memory, otherwise its rows

// Blocks of a team, side by side and one above the other.
const BLOCKS_X: u32 = TILE / (TEAMS_X * SIZE);
const BLOCKS_Y: u32 = TILE / (TEAMS_Y * SIZE);
const BLOCKS: u32 = BLOCKS_X * BLOCKS_Y;
const_assert(TILE == TEAMS_X * BLOCKS_X * SIZE && TILE == TEAMS_Y * BLOCKS_Y * SIZE);
const_assert(TEAMS == TEAMS_X * TEAMS_Y);
const_assert(PANEL % SIZE == 0u && SLICE % PANEL == 0u);

#if QUADS
// Read in vectors of 4: strides and starts are multiples of it, and so is k.
@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;
#else
@group(0) @binding(1) var<storage, read> a: array<f16>;
@group(0) @binding(2) var<storage, read> b: array<f16>;
#end

// A panel lies as its matrix does: lines of what goes along memory, each a little longer, so that neighbours use different memory banks.
const PADDING: u32 = 8u;
const A_LINE: u32 = select(TILE, PANEL, A_ALONG_K);
const B_LINE: u32 = select(TILE, PANEL, B_ALONG_K);
const A_PITCH: u32 = A_LINE + PADDING;
const B_PITCH: u32 = B_LINE + PADDING;
const STAGED: u32 = TILE * PANEL;
var<workgroup> panel_a: array<f16, STAGED / A_LINE * A_PITCH>;
var<workgroup> panel_b: array<f16, STAGED / B_LINE * B_PITCH>;

// One block of each team, row by row, and one that nobody takes.
var<workgroup> results: array<f32, (TEAMS + 1u) * ELEMENTS>;

// Four neighbours in memory of a, zero outside of it.
fn load_a(row: u32, k: u32) -> vec4<f16> {
#if QUADS
    if row >= params.m || k >= params.k {
        return vec4<f16>();
    }
    return a[a_at(row, k) / 4u];
#else
    var quad = vec4<f16>();
    for (var i = 0u; i < 4u; i++) {
        let at_row = select(row + i, row, A_ALONG_K);
        let at_k = select(k, k + i, A_ALONG_K);
        if at_row < params.m && at_k < params.k {
            quad[i] = a[a_at(at_row, at_k)];
        }
    }
    return quad;
#end
}

fn load_b(k: u32, col: u32) -> vec4<f16> {
#if QUADS
    if k >= params.k || col >= params.n {
        return vec4<f16>();
    }
    return b[b_at(k, col) / 4u];
#else
    var quad = vec4<f16>();
    for (var i = 0u; i < 4u; i++) {
        let at_k = select(k, k + i, B_ALONG_K);
        let at_col = select(col + i, col, B_ALONG_K);
        if at_k < params.k && at_col < params.n {
            quad[i] = b[b_at(at_k, at_col)];
        }
    }
    return quad;
#end
}

// Stages a[row0 .. row0+TILE, k0 .. k0+PANEL] and b[k0 .. k0+PANEL, col0 .. col0+TILE].
fn stage(local: u32, row0: u32, col0: u32, k0: u32) {
    for (var i = 4u * local; i < STAGED; i += 4u * LANES) {
        let line_a = i / A_LINE;
        let along_a = i % A_LINE;
        let quad_a = load_a(row0 + select(along_a, line_a, A_ALONG_K), k0 + select(line_a, along_a, A_ALONG_K));
        let line_b = i / B_LINE;
        let along_b = i % B_LINE;
        let quad_b = load_b(k0 + select(line_b, along_b, B_ALONG_K), col0 + select(along_b, line_b, B_ALONG_K));
        for (var e = 0u; e < 4u; e++) {
            panel_a[line_a * A_PITCH + along_a + e] = quad_a[e];
            panel_b[line_b * B_PITCH + along_b + e] = quad_b[e];
        }
    }
}

// Block y of a team's rows, from step k of the panel on.
fn block_a(team: u32, y: u32, k: u32) -> unit_a {
    let row = (team / TEAMS_X * BLOCKS_Y + y) * SIZE;
    if A_ALONG_K {
        return coopLoadT<unit_a>(&panel_a[row * A_PITCH + k], A_PITCH);
    }
    return coopLoad<unit_a>(&panel_a[k * A_PITCH + row], A_PITCH);
}

fn block_b(team: u32, x: u32, k: u32) -> unit_b {
    let col = (team % TEAMS_X * BLOCKS_X + x) * SIZE;
    if B_ALONG_K {
        return coopLoad<unit_b>(&panel_b[col * B_PITCH + k], B_PITCH);
    }
    return coopLoadT<unit_b>(&panel_b[k * B_PITCH + col], B_PITCH);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    find_batch(group.z);
    let row0 = group.y * TILE;
    let col0 = group.x * TILE;
    let team = subgroup % TEAMS;
    var total: array<unit_c, BLOCKS>;
    for (var slice = 0u; slice < params.k; slice += SLICE) {
        var c: array<unit_c, BLOCKS>;
        for (var k0 = slice; k0 < min(params.k, slice + SLICE); k0 += PANEL) {
            stage(local, row0, col0, k0);
            workgroupBarrier();
            for (var k = 0u; k < PANEL; k += SIZE) {
                for (var i = 0u; i < BLOCKS_Y; i++) {
                    let own = block_a(team, i, k);
                    for (var j = 0u; j < BLOCKS_X; j++) {
                        c[i * BLOCKS_X + j] = coopMultiplyAdd(own, block_b(team, j, k), c[i * BLOCKS_X + j]);
                    }
                }
            }
            workgroupBarrier();
        }
        for (var i = 0u; i < BLOCKS; i++) {
            total[i] = total[i] + c[i];
        }
    }
    for (var block = 0u; block < BLOCKS; block++) {
        coopStoreT(total[block], &results[min(subgroup, TEAMS) * ELEMENTS], SIZE);
        workgroupBarrier();
        for (var i = local; i < TEAMS * ELEMENTS; i += LANES) {
            let owner = i / ELEMENTS;
            let row = row0 + (owner / TEAMS_X * BLOCKS_Y + block / BLOCKS_X) * SIZE + i / SIZE % SIZE;
            let col = col0 + (owner % TEAMS_X * BLOCKS_X + block % BLOCKS_X) * SIZE + i % SIZE;
            if row < params.m && col < params.n {
                put(row, col, results[i]);
            }
        }
        workgroupBarrier();
    }
}

// Copies a tensor whose neighbours lie far apart in the other one: matrices turned over, in tiles that pass through workgroup memory. Both
// sides are read and written in runs of neighbours.
//
//     y[o, i, c, r] = x[o, i, r, c]          c: neighbours in x, r: neighbours in y, each tensor by strides
//
// Shapes    x: [outer, inner, rows, columns], y: [outer, inner, columns, rows], of one type, in different buffers
// Grid      one workgroup per tile of SIDE rows and columns, spread over x and y
// Memory    reads x once, writes y once; a row of a tile has one element more, so that neighbours in a column lie in different banks
// Source    Ruetsch & Micikevicius 2009, "Optimizing matrix transpose in CUDA"
// Twin      src/ops/transpose/cpu.rs

#import index

alias elem = f32;
const LANES: u32 = 256u;
// Rows and columns of a tile, elements.
const SIDE: u32 = 32u;
const_assert(LANES % SIDE == 0u);

struct Params {
    tiles: u32,
    // Of a matrix: tiles along its columns and its rows.
    column_tiles: u32,
    row_tiles: u32,
    columns: u32,
    rows: u32,
    inner: u32,
    x_base: u32,
    x_outer: u32,
    x_inner: u32,
    x_row: u32,
    y_base: u32,
    y_outer: u32,
    y_inner: u32,
    y_column: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<elem>;
@group(0) @binding(2) var<storage, read_write> y: array<elem>;

var<workgroup> staged: array<elem, SIDE * (SIDE + 1u)>; // [rows, columns] of the tile

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = spread(group, groups);
    if tile >= params.tiles {
        return;
    }
    let strip = tile / params.column_tiles;
    let matrix = strip / params.row_tiles;
    let column = tile % params.column_tiles * SIDE;
    let row = strip % params.row_tiles * SIDE;
    let outer = matrix / params.inner;
    let inner = matrix % params.inner;

    // Neighbouring invocations have neighbours in x, then neighbours in y.
    let fast = local % SIDE;
    let x_from = params.x_base + outer * params.x_outer + inner * params.x_inner + column + fast;
    for (var slow = local / SIDE; slow < SIDE; slow += LANES / SIDE) {
        if row + slow < params.rows && column + fast < params.columns {
            staged[slow * (SIDE + 1u) + fast] = x[x_from + (row + slow) * params.x_row];
        }
    }
    workgroupBarrier();
    let y_from = params.y_base + outer * params.y_outer + inner * params.y_inner + row + fast;
    for (var slow = local / SIDE; slow < SIDE; slow += LANES / SIDE) {
        if column + slow < params.columns && row + fast < params.rows {
            y[y_from + (column + slow) * params.y_column] = staged[fast * (SIDE + 1u) + slow];
        }
    }
}

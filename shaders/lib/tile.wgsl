// Products of tiles for fused attention: what one workgroup multiplies without returning to the host.
//
// A team is GRID_X invocations that share TEAM_ROWS rows; a workgroup is GRID_Y teams. Two products follow each other:
//     dot_rows       c[i,j] += sum_d a[i,d] b[j,d]       a tile of ROWS x COLS; an invocation holds 8 rows x 4 columns, a Block
//     add_weighted   e[i,d] += sum_j c[i,j] b[j,d]       ROWS x up to 4 QUADS GRID_X; an invocation holds 8 x 4 QUADS, a Wide
// Between them the importing kernel turns the Block into coefficients and hands them over with `share`.
//
// The importing kernel says what the operands are:
//     fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32>
// gives elements 4 quad .. 4 quad + 4 of a row. What it gives past the last row or quad ends in elements that nobody keeps.
//
// A coefficient of minus zero marks a hidden pair (lib/math): what it would multiply is not used, NaN included. Only tiles said to
// be `guarded` may have such.
//
// SUBGROUPS  A team is a subgroup: see lib/tile_registers.
// TALL       A team has 16 rows, two Blocks and two Wides, with the functions for both of lib/tile_registers. Otherwise it has 8.
// Numerics   f32, sums in order

const GRID_X: u32 = 8u; // invocations of a team; a power of two, at least 8 for SUBGROUPS
const GRID_Y: u32 = 8u; // teams
const LANES: u32 = GRID_X * GRID_Y;
#if TALL
const TEAM_ROWS: u32 = 16u;
#else
const TEAM_ROWS: u32 = 8u;
#end
const ROWS: u32 = TEAM_ROWS * GRID_Y;
const COLS: u32 = 4u * GRID_X;

// Where an invocation stands: an argument of the kernel's main.
struct Lane {
    @builtin(local_invocation_index) local: u32,
#if SUBGROUPS
    @builtin(subgroup_invocation_id) place: u32,
    @builtin(subgroup_id) subgroup: u32,
#end
}

var<private> lane: u32;
// The place in the team, and the team's place in the workgroup.
var<private> x: u32;
var<private> y: u32;

fn stand(at: Lane) {
    lane = at.local;
#if SUBGROUPS
    x = at.place;
    y = at.subgroup;
#else
    x = at.local % GRID_X;
    y = at.local / GRID_X;
#end
}

#if SUBGROUPS
#import tile_registers
#else
#import tile_panels
#end

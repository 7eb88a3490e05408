// The products of lib/tile on matrix units, for operands of f16: the same functions, with the same meaning.
//
//     dot_rows       blocks of the tile go round the subgroups; products of f16 are exact in f32, in which units add
//     add_weighted   coefficients are the sum of two f16, 22 bits in all, and so are the products
//
// What units have computed comes back through workgroup memory, a block of each subgroup at a time, to the invocations that hold it as a
// Block or a Wide. Units load whole blocks and check no bounds: operands lie in workgroup memory.
//
// Units would multiply what must not be used by the zero of a hidden pair, NaN included. So what is not finite is staged as zero, and
// added apart where it counts.

#import matrix
#import team

const GRID_X: u32 = 8u; // invocations of a team: 8, 16 or 32
const GRID_Y: u32 = LANES / GRID_X; // teams
const TEAM_ROWS: u32 = 8u;
const ROWS: u32 = TEAM_ROWS * GRID_Y;
const COLS: u32 = 4u * GRID_X;
const WIDTH: u32 = 4u * QUADS * GRID_X; // columns of a wide product
const STEPS: u32 = 32u; // steps of a dot product that are staged at a time
const_assert(ROWS % SIZE == 0u && COLS % SIZE == 0u && STEPS % SIZE == 0u);

// Blocks of a subgroup: of the tile, and of a wide product.
const BLOCKS: u32 = ROWS * COLS / ELEMENTS / TEAMS;
const WIDE_BLOCKS: u32 = ROWS * WIDTH / ELEMENTS / TEAMS;
const_assert(BLOCKS * TEAMS * ELEMENTS == ROWS * COLS && WIDE_BLOCKS * TEAMS * ELEMENTS == ROWS * WIDTH);

// Where an invocation stands: an argument of the kernel's main.
struct Lane {
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
}

var<private> lane: u32;
// The place in the team, and the team's place in the workgroup.
var<private> x: u32;
var<private> y: u32;
var<private> own_subgroup: u32;

fn stand(at: Lane) {
    lane = at.local;
    x = at.local % GRID_X;
    y = at.local / GRID_X;
    own_subgroup = at.subgroup;
}

// Rows, then columns, STEPS of each; or SIZE rows of a wide product's operand.
var<workgroup> panel: array<f16, max((ROWS + COLS) * STEPS, SIZE * WIDTH)>;
// The coefficients, [row, column]: what f16 holds of them, and of the rest.
var<workgroup> high: array<f16, ROWS * COLS>;
var<workgroup> low: array<f16, ROWS * COLS>;
// A block of each subgroup, and one that nobody takes; or [place in a team, row] for reductions.
var<workgroup> results: array<f32, max((TEAMS + 1u) * ELEMENTS, GRID_X * ROWS)>;
// Set once a staged operand holds a number that is not finite.
var<workgroup> not_finite: atomic<u32>;

fn block_before(row: u32, col: u32, width: u32) -> u32 {
    return row / SIZE * (width / SIZE) + col / SIZE;
}

// Four neighbours of the results: of the subgroup that has block `block`, with `each` blocks to a subgroup.
fn result_at(block: u32, each: u32, row: u32, col: u32) -> vec4<f32> {
    let at = block / each * ELEMENTS + row % SIZE * SIZE + col % SIZE;
    return vec4(results[at], results[at + 1u], results[at + 2u], results[at + 3u]);
}

fn results_of(block: u32, each: u32, col: u32) -> Block {
    let row = 8u * y;
    return Block(
        result_at(block, each, row, col), result_at(block, each, row + 1u, col),
        result_at(block, each, row + 2u, col), result_at(block, each, row + 3u, col),
        result_at(block, each, row + 4u, col), result_at(block, each, row + 5u, col),
        result_at(block, each, row + 6u, col), result_at(block, each, row + 7u, col),
    );
}

fn stage_rows(source: u32, row0: u32, count: u32, first: u32, quads: u32, to: u32) {
    for (var i = lane; i < count * STEPS / 4u; i += LANES) {
        let row = i / (STEPS / 4u);
        let quad = first + i % (STEPS / 4u);
        var values = vec4<f32>();
        if quad < quads {
            values = quad_of(source, row0 + row, quad);
        }
        for (var e = 0u; e < 4u; e++) {
            panel[to + 4u * i + e] = f16(values[e]);
        }
    }
}

fn dot_rows(a: u32, row0: u32, b: u32, col0: u32, quads: u32, c: ptr<function, Block>) {
    var total: array<unit_c, BLOCKS>;
    let first_block = own_subgroup % TEAMS * BLOCKS;
    for (var first = 0u; first < quads; first += STEPS / 4u) {
        workgroupBarrier();
        stage_rows(a, row0, ROWS, first, quads, 0u);
        stage_rows(b, col0, COLS, first, quads, ROWS * STEPS);
        workgroupBarrier();
        for (var k = 0u; k < STEPS; k += SIZE) {
            for (var i = 0u; i < BLOCKS; i++) {
                let row = (first_block + i) / (COLS / SIZE) * SIZE;
                let col = (first_block + i) % (COLS / SIZE) * SIZE;
                let left = coopLoadT<unit_a>(&panel[row * STEPS + k], STEPS);
                let right = coopLoad<unit_b>(&panel[(ROWS + col) * STEPS + k], STEPS);
                total[i] = coopMultiplyAdd(left, right, total[i]);
            }
        }
    }
    let block = block_before(8u * y, 4u * x, COLS);
    for (var i = 0u; i < BLOCKS; i++) {
        workgroupBarrier();
        coopStoreT(total[i], &results[min(own_subgroup, TEAMS) * ELEMENTS], SIZE);
        workgroupBarrier();
        if block % BLOCKS == i {
            *c = sum(*c, results_of(block, BLOCKS, 4u * x));
        }
    }
}

// What coefficients, at most what dropout makes of 1, are multiplied by: the rest of one is no smaller than f16 can hold.
fn coefficient_scale() -> f32 {
    return ldexp(1.0, 12 - max(frexp(params.keep_scale).exp, 0));
}

// As many bits of the mantissa as f16 has. By the bits: compilers take a conversion to f16 and back for nothing.
fn upper_part(a: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(a) & 0xffffe000u);
}

// Hands the coefficients of this invocation to its team.
fn share(c: Block, count: u32) {
    var rows = rows_of(scaled(c, coefficient_scale()));
    workgroupBarrier();
    for (var r = 0u; r < 8u; r++) {
        let at = (8u * y + r) * COLS + 4u * x;
        for (var e = 0u; e < 4u; e++) {
            let upper = upper_part(rows[r][e]);
            high[at + e] = f16(upper);
            low[at + e] = f16(rows[r][e] - upper);
        }
    }
}

// The coefficients of this invocation's rows for column j.
fn coefficients(j: u32) -> Eight {
    var of_row: array<f32, 8>;
    for (var r = 0u; r < 8u; r++) {
        let at = (8u * y + r) * COLS + j;
        // A sum with zero would lose the sign of a hidden pair.
        of_row[r] = select(f32(high[at]) + f32(low[at]), f32(high[at]), low[at] == 0.0h);
    }
    return Eight(vec4(of_row[0], of_row[1], of_row[2], of_row[3]), vec4(of_row[4], of_row[5], of_row[6], of_row[7]));
}

fn finite_part(v: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(), v, finite(v));
}

fn other_part(v: vec4<f32>) -> vec4<f32> {
    return select(v, vec4<f32>(), finite(v));
}

// What is not finite of a panel's rows, added one by one.
fn add_not_finite(b: u32, first: u32, j0: u32, e: ptr<function, Wide>) {
    for (var k = 0u; k < SIZE; k++) {
        let a = coefficients(j0 + k);
        var right = vec4<f32>();
        if QUADS == 2u {
            right = other_part(quad_of(b, first + j0 + k, GRID_X + x));
        }
        add_outer_shown(a.lo, a.hi, other_part(quad_of(b, first + j0 + k, x)), right, e);
    }
}

fn add_left(c: Block, e: ptr<function, Wide>) {
    (*e).l0 += c.r0;
    (*e).l1 += c.r1;
    (*e).l2 += c.r2;
    (*e).l3 += c.r3;
    (*e).l4 += c.r4;
    (*e).l5 += c.r5;
    (*e).l6 += c.r6;
    (*e).l7 += c.r7;
}

fn add_right(c: Block, e: ptr<function, Wide>) {
    (*e).r0 += c.r0;
    (*e).r1 += c.r1;
    (*e).r2 += c.r2;
    (*e).r3 += c.r3;
    (*e).r4 += c.r4;
    (*e).r5 += c.r5;
    (*e).r6 += c.r6;
    (*e).r7 += c.r7;
}

fn add_weighted(b: u32, first: u32, guarded: bool, e: ptr<function, Wide>) {
    var total: array<unit_c, WIDE_BLOCKS>;
    let first_block = own_subgroup % TEAMS * WIDE_BLOCKS;
    for (var j0 = 0u; j0 < COLS; j0 += SIZE) {
        workgroupBarrier();
        for (var i = lane; i < SIZE * WIDTH / 4u; i += LANES) {
            let values = quad_of(b, first + j0 + i / (WIDTH / 4u), i % (WIDTH / 4u));
            let staged = finite_part(values);
            for (var n = 0u; n < 4u; n++) {
                panel[4u * i + n] = f16(staged[n]);
            }
            if !all(finite(values)) {
                atomicStore(&not_finite, 1u);
            }
        }
        workgroupBarrier();
        for (var i = 0u; i < WIDE_BLOCKS; i++) {
            let row = (first_block + i) / (WIDTH / SIZE) * SIZE;
            let col = (first_block + i) % (WIDTH / SIZE) * SIZE;
            let right = coopLoadT<unit_b>(&panel[col], WIDTH);
            total[i] = coopMultiplyAdd(coopLoadT<unit_a>(&low[row * COLS + j0], COLS), right, total[i]);
            total[i] = coopMultiplyAdd(coopLoadT<unit_a>(&high[row * COLS + j0], COLS), right, total[i]);
        }
    }
    let by = 1.0 / coefficient_scale();
    let left = block_before(8u * y, 4u * x, WIDTH);
    let right = block_before(8u * y, 4u * (GRID_X + x), WIDTH);
    for (var i = 0u; i < WIDE_BLOCKS; i++) {
        workgroupBarrier();
        coopStoreT(total[i], &results[min(own_subgroup, TEAMS) * ELEMENTS], SIZE);
        workgroupBarrier();
        if left % WIDE_BLOCKS == i {
            add_left(scaled(results_of(left, WIDE_BLOCKS, 4u * x), by), e);
        }
        if QUADS == 2u && right % WIDE_BLOCKS == i {
            add_right(scaled(results_of(right, WIDE_BLOCKS, 4u * (GRID_X + x)), by), e);
        }
    }
    if atomicLoad(&not_finite) == 1u {
        for (var j0 = 0u; j0 < COLS; j0 += SIZE) {
            add_not_finite(b, first, j0, e);
        }
    }
}

fn lay_out(mine: Eight) {
    for (var r = 0u; r < 8u; r++) {
        results[x * ROWS + 8u * y + r] = pick(mine, r);
    }
}

fn laid_out(place: u32) -> Eight {
    let at = place * ROWS + 8u * y;
    let hi = at + 4u;
    return Eight(
        vec4(results[at], results[at + 1u], results[at + 2u], results[at + 3u]),
        vec4(results[hi], results[hi + 1u], results[hi + 2u], results[hi + 3u]),
    );
}

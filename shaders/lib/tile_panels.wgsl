// The products of lib/tile through workgroup memory: panels of PANEL steps are staged there and turned around. No assumption about subgroups.

#import block
#import loops
#import team

const PANEL: u32 = 8u; // steps staged at a time; a multiple of 4 that divides COLS
const_assert(PANEL % 4u == 0u && COLS % PANEL == 0u);
// [column, row / 4], with one vector more in a row of it, so that neighbours use different memory banks.
const PITCH: u32 = ROWS / 4u + 1u;
// The coefficients of a tile; between tiles, room for reductions.
var<workgroup> shared_tile: array<vec4<f32>, COLS * PITCH>;
// A step of a panel: the quads of rows, then those of columns, or the quads of a Wide's operand.
const DEEP: u32 = max((ROWS + COLS) / 4u, QUADS * GRID_X) + 1u;
var<workgroup> panel: array<vec4<f32>, PANEL * DEEP>;
// No vectors: who writes one component may write all of them, says WGSL.
var<workgroup> row_values: array<f32, ROWS>;
// Set once a staged operand of a guarded tile holds a number that is not finite.
var<workgroup> not_finite: atomic<u32>;
// Steps that are written out.
const STEPS: u32 = select(4u, 1u, LOOPS_STAY);

// Stages `count` rows from `row0` on, `quads` quads of each from `first` on, four by four turned around.
fn stage_across(source: u32, row0: u32, count: u32, first: u32, quads: u32, to: u32) {
    for (var i = lane; i < count / 4u * quads; i += LANES) {
        let rows = i % (count / 4u);
        let quad = i / (count / 4u);
        let row = row0 + 4u * rows;
        let v0 = quad_of(source, row, first + quad);
        let v1 = quad_of(source, row + 1u, first + quad);
        let v2 = quad_of(source, row + 2u, first + quad);
        let v3 = quad_of(source, row + 3u, first + quad);
        let at = 4u * quad * DEEP + to + rows;
        panel[at] = vec4(v0.x, v1.x, v2.x, v3.x);
        panel[at + DEEP] = vec4(v0.y, v1.y, v2.y, v3.y);
        panel[at + 2u * DEEP] = vec4(v0.z, v1.z, v2.z, v3.z);
        panel[at + 3u * DEEP] = vec4(v0.w, v1.w, v2.w, v3.w);
    }
}

fn gather(of_row: f32) -> Eight {
    workgroupBarrier();
    if x < 8u {
        row_values[8u * y + x] = of_row;
    }
    workgroupBarrier();
    var all = array<f32, 8>();
    for (var r = 0u; r < turns(8u); r++) {
        all[r] = row_values[8u * y + r];
    }
    return Eight(vec4(all[0], all[1], all[2], all[3]), vec4(all[4], all[5], all[6], all[7]));
}

fn step_of(k: u32, c: ptr<function, Block>) {
    add_outer(panel[k * DEEP + 2u * y], panel[k * DEEP + 2u * y + 1u], panel[k * DEEP + ROWS / 4u + x], c);
}

fn dot_rows(a: u32, row0: u32, b: u32, col0: u32, quads: u32, c: ptr<function, Block>) {
    for (var first = 0u; first < quads; first += PANEL / 4u) {
        let staged = min(PANEL / 4u, quads - first);
        workgroupBarrier();
        stage_across(a, row0, ROWS, first, staged, 0u);
        stage_across(b, col0, COLS, first, staged, ROWS / 4u);
        workgroupBarrier();
        for (var k = 0u; k < 4u * staged; k += STEPS) {
            step_of(k, c);
            if STEPS == 4u {
                step_of(k + 1u, c);
                step_of(k + 2u, c);
                step_of(k + 3u, c);
            }
        }
    }
}

// Hands the coefficients of this invocation to its team.
fn share(c: Block, count: u32) {
    workgroupBarrier();
    let at = 4u * x * PITCH + 2u * y;
    if LOOPS_STAY {
        var rows = rows_of(c);
        for (var i = 0u; i < turns(8u); i++) {
            let r = i % 2u * 4u;
            let column = i / 2u;
            let four = vec4(rows[r][column], rows[r + 1u][column], rows[r + 2u][column], rows[r + 3u][column]);
            shared_tile[at + column * PITCH + i % 2u] = four;
        }
        return;
    }
    shared_tile[at] = vec4(c.r0.x, c.r1.x, c.r2.x, c.r3.x);
    shared_tile[at + 1u] = vec4(c.r4.x, c.r5.x, c.r6.x, c.r7.x);
    shared_tile[at + PITCH] = vec4(c.r0.y, c.r1.y, c.r2.y, c.r3.y);
    shared_tile[at + PITCH + 1u] = vec4(c.r4.y, c.r5.y, c.r6.y, c.r7.y);
    shared_tile[at + 2u * PITCH] = vec4(c.r0.z, c.r1.z, c.r2.z, c.r3.z);
    shared_tile[at + 2u * PITCH + 1u] = vec4(c.r4.z, c.r5.z, c.r6.z, c.r7.z);
    shared_tile[at + 3u * PITCH] = vec4(c.r0.w, c.r1.w, c.r2.w, c.r3.w);
    shared_tile[at + 3u * PITCH + 1u] = vec4(c.r4.w, c.r5.w, c.r6.w, c.r7.w);
}

fn right_quad(k: u32) -> vec4<f32> {
    if QUADS == 2u {
        return panel[k * DEEP + GRID_X + x];
    }
    return vec4<f32>();
}

fn step_wide(j: u32, k: u32, e: ptr<function, Wide>) {
    let at = j * PITCH + 2u * y;
    add_outer_wide(shared_tile[at], shared_tile[at + 1u], panel[k * DEEP + x], right_quad(k), e);
}

fn add_weighted(b: u32, first: u32, guarded: bool, e: ptr<function, Wide>) {
    for (var j0 = 0u; j0 < COLS; j0 += PANEL) {
        workgroupBarrier();
        for (var i = lane; i < PANEL * QUADS * GRID_X; i += LANES) {
            let k = i / (QUADS * GRID_X);
            let quad = i % (QUADS * GRID_X);
            let staged = quad_of(b, first + j0 + k, quad);
            panel[k * DEEP + quad] = staged;
            if guarded && !all(finite(staged)) {
                atomicStore(&not_finite, 1u);
            }
        }
        workgroupBarrier();
        if guarded && atomicLoad(&not_finite) == 1u {
            for (var k = 0u; k < turns(PANEL); k++) {
                let at = (j0 + k) * PITCH + 2u * y;
                add_outer_shown(shared_tile[at], shared_tile[at + 1u], panel[k * DEEP + x], right_quad(k), e);
            }
        } else {
            for (var k = 0u; k < turns(PANEL); k += STEPS) {
                step_wide(j0 + k, k, e);
                if STEPS == 4u {
                    step_wide(j0 + k + 1u, k + 1u, e);
                    step_wide(j0 + k + 2u, k + 2u, e);
                    step_wide(j0 + k + 3u, k + 3u, e);
                }
            }
        }
    }
}

fn lay_out(mine: Eight) {
    shared_tile[x * PITCH + 2u * y] = mine.lo;
    shared_tile[x * PITCH + 2u * y + 1u] = mine.hi;
}

fn laid_out(place: u32) -> Eight {
    let at = place * PITCH + 2u * y;
    return Eight(shared_tile[at], shared_tile[at + 1u]);
}

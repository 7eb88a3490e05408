// Additive scores, forward.
//
//     scores[b,i,j] = sum_f v[f] tanh(x[b,i,f] + y[b,j,f])          x = wq query + b, y = wk keys
//
// Nothing is stored for each (i, j, f). A masked key's score may be anything, since the softmax after this kernel does not look at it.
//
// Shapes    x: [batch, rows, features]   y: [batch, cols, features]   v: [features]   scores: [batch, rows, cols]
// Grid      one workgroup per ROWS x COLS scores of a batch, spread over x and y; an invocation has EACH rows of one column
// Numerics  f32; every PANEL features are summed on their own and then added
// Memory    reads x cols/COLS times and y rows/ROWS times, writes scores once
// Source    Bahdanau et al. 2014, arXiv:1409.0473, section A.1.2
// Twin      src/ops/additive_attention/cpu.rs

#import additive

const PANEL: u32 = 32u; // features in workgroup memory at a time

#if SINGLE
const GROUPS: u32 = 1u; // of EACH rows
#else
const GROUPS: u32 = 4u;
#end
const ROWS: u32 = GROUPS * EACH;
const COLS: u32 = LANES / GROUPS;
// One more, so that neighbours along features use different memory banks.
const PITCH: u32 = COLS + 1u;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [batch, rows, features]
@group(0) @binding(2) var<storage, read> y: array<f32>; // [batch, cols, features]
@group(0) @binding(3) var<storage, read> v: array<f32>; // [features]
@group(0) @binding(4) var<storage, read_write> scores: array<f32>; // [batch, rows, cols] by strides

// [feature, group], [feature, column], [feature]
var<workgroup> panel_x: array<several, PANEL * GROUPS>;
var<workgroup> panel_y: array<f32, PANEL * PITCH>;
var<workgroup> panel_v: array<f32, PANEL>;

fn x_of(batch: u32, row: u32, feature: u32) -> f32 {
    return x[params.x_base + batch * params.x_batch + min(row, params.rows - 1u) * params.x_row + feature];
}

fn y_of(batch: u32, col: u32, feature: u32) -> f32 {
    return y[params.y_base + batch * params.y_batch + min(col, params.cols - 1u) * params.y_col + feature];
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = spread(group, groups);
    if tile >= params.workgroups {
        return;
    }
    let across = (params.cols + COLS - 1u) / COLS;
    let down = (params.rows + ROWS - 1u) / ROWS;
    let batch = tile / across / down;
    let row0 = tile / across % down * ROWS;
    let col0 = tile % across * COLS;
    let own = local / COLS;
    let column = local % COLS;
    var total = several();
    for (var first = 0u; first < params.features; first += PANEL) {
        let count = min(PANEL, params.features - first);
        for (var i = local; i < PANEL * COLS; i += LANES) {
            let f = min(i % PANEL, count - 1u);
            panel_y[i % PANEL * PITCH + i / PANEL] = y_of(batch, col0 + i / PANEL, first + f);
        }
        for (var i = local; i < PANEL * GROUPS; i += LANES) {
            let f = min(i % PANEL, count - 1u);
            panel_x[i % PANEL * GROUPS + i / PANEL] = several_of_x(batch, row0 + i / PANEL * EACH, first + f);
        }
        if local < count {
            panel_v[local] = v[params.v_base + first + local];
        }
        workgroupBarrier();
        var sum = several();
        for (var f = 0u; f < count; f++) {
            sum += panel_v[f] * tanh_of(panel_x[f * GROUPS + own] + several(panel_y[f * PITCH + column]));
        }
        total += sum;
        workgroupBarrier();
    }
    let col = col0 + column;
    let row = row0 + own * EACH;
    if col >= params.cols || row >= params.rows {
        return;
    }
    for (var r = 0u; r < min(EACH, params.rows - row); r++) {
        let at = params.s_base + batch * params.s_batch + (row + r) * params.s_row + col * params.s_col;
        var score = row_of(total, r);
        if params.accumulate == 1u {
            score += scores[at];
        }
        scores[at] = score;
    }
}

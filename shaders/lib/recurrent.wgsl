// Time steps of a recurrent layer: where a workgroup stands, what time a step is, and where its tensors are.
//
// A dispatch walks `steps` steps from `first` on. Direction 0 goes through time upwards, direction 1 downwards, and the backward goes
// against both. A workgroup has ROWS sequences of one direction and `tiles` tiles of columns, and walks all steps with them: it may
// walk more than one where it has all columns, since it then waits for nobody else.
//
// A state has slots along time. The state before time t is in slot t for direction 0 and in slot t + 1 for direction 1, and the one
// after it in the other: what is kept for the backward has time + 1 slots, what is not takes as few as can be written and read at once.
//
// The importing kernel has
//     var<storage, read> lengths: array<i32>;      [batch]
// says what its product multiplies (lib/tile): rows of OPERAND are sequences, rows of WEIGHT are columns; and has for each step
//     fn enter(step: u32) -> bool      sets t, and says whether there is a product: otherwise it is 0
//     fn advance(place: Place, column0: u32, products: array<vec4<f32>, 8>)

#import index
#import tile

struct Params {
    // Steps to walk, counted as this pass goes through them.
    first: u32,
    steps: u32,
    // Of the layer.
    time: u32,
    batch: u32,
    directions: u32,
    // What this dispatch has of them: sequences, directions and columns.
    batch_begin: u32,
    batch_end: u32,
    direction_begin: u32,
    column_begin: u32,
    column_end: u32,
    // Tiles of columns for a workgroup; workgroups along columns and along sequences, and all of them.
    tiles: u32,
    across: u32,
    down: u32,
    workgroups: u32,
    // Elements of a cell state, and of an output; vectors of 4 of a row of the product's operand.
    hidden: u32,
    outputs: u32,
    quads: u32,
    // Slots of h, of the cells, and of what is projected.
    h_slots: u32,
    cell_slots: u32,
    m_slots: u32,
    // Whether the gates are kept for the backward.
    keep: u32,
    y_time: u32,
    y_batch: u32,
    y_direction: u32,
    y_unit: u32,
    weight_base: u32,
    lengths_base: u32,
    peep_base: u32,
    gates_base: u32,
    h_base: u32,
    cells_base: u32,
    y_base: u32,
    m_base: u32,
    d_h_base: u32,
    d_c_base: u32,
    scratch_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// The direction of this workgroup, and the time of the step.
var<private> direction: u32;
var<private> t: u32;

// Where a workgroup stands. Barriers depend on it, so it is handed around as a value.
struct Place {
    row0: u32,
    column0: u32,
    direction: u32,
}

fn place_of(workgroup: u32) -> Place {
    let tile = workgroup % params.across;
    let rest = workgroup / params.across;
    return Place(
        params.batch_begin + (rest % params.down) * ROWS,
        params.column_begin + tile * params.tiles * COLS,
        params.direction_begin + rest / params.down,
    );
}

const OPERAND: u32 = 0u;
const WEIGHT: u32 = 1u;

// Walks the steps of this dispatch.
fn walk(who: Lane, workgroup: u32) {
    if workgroup >= params.workgroups {
        return;
    }
    stand(who);
    let place = place_of(workgroup);
    direction = place.direction;
    for (var step = params.first; step < params.first + params.steps; step++) {
        let multiplied = enter(step);
        for (var column0 = place.column0; column0 < columns_end(place); column0 += COLS) {
            var c = Block();
            if multiplied {
                dot_rows(OPERAND, place.row0, WEIGHT, column0, params.quads, &c);
            }
            advance(place, column0, rows_of(c));
        }
        storageBarrier();
    }
}

// The columns past this workgroup's last.
fn columns_end(place: Place) -> u32 {
    return min(params.column_end, place.column0 + params.tiles * COLS);
}

// The time of a layer's step, counted in its own direction. One that is not there is past every sequence's end.
fn time_of(step: u32) -> u32 {
    return select(step, params.time - 1u - step, direction == 1u);
}

// The first row of this invocation, and how many of its 8 rows are sequences.
fn row_of(place: Place) -> u32 {
    return place.row0 + 8u * y;
}

fn rows_left(row: u32) -> u32 {
    return select(0u, min(8u, params.batch_end - row), row < params.batch_end);
}

// A sequence's place in a tensor of [slots, batch, directions].
fn at(slot: u32, row: u32) -> u32 {
    return (slot * params.batch + row) * params.directions + direction;
}

fn before(slots: u32) -> u32 {
    return (t + direction) % slots;
}

fn after(slots: u32) -> u32 {
    return (t + 1u - direction) % slots;
}

// Whether the step belongs to the sequence. Past its end nothing is.
fn visible(row: u32) -> bool {
    return t < u32(lengths[params.lengths_base + row]);
}

// The vectors of 4 that hold a row of n elements.
fn quads_of(n: u32) -> u32 {
    return (n + 3u) / 4u;
}

fn y_at(row: u32, unit: u32) -> u32 {
    return params.y_base + t * params.y_time + row * params.y_batch + direction * params.y_direction + unit * params.y_unit;
}

// Without an exponential that overflows.
fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

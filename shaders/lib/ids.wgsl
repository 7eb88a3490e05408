// The ids of an embedding, and the keys that its backward sorts them by.
//
// The importing kernel declares ids. A workgroup's number goes from first to end, since a dispatch may be a part of the whole.

struct Params {
    first: u32,
    end: u32,
    // Ids, rows of the weight, and columns.
    count: u32,
    vocabulary: u32,
    cols: u32,
    // The row whose gradient is 0; none where it is no row.
    padding: u32,
    // Rows of the weight that are bound: how many, from which on, and whether there are none after them.
    held: u32,
    low: u32,
    last: u32,
    flag: u32,
    // Blocks of ids, and the first bit of the digit by which they are sorted.
    blocks: u32,
    shift: u32,
    // Ids of a slice.
    slice: u32,
    // The index of each tensor's first element; 0 for one that a kernel does not have.
    ids_base: u32,
    weight_base: u32,
    y_base: u32,
    d_y_base: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

fn id_of(i: u32) -> u32 {
    return bitcast<u32>(ids[params.ids_base + i]);
}

// The row that id i adds its gradient to. Past the last one for an id that adds nothing: one out of range, and the padding.
fn key_of(i: u32) -> u32 {
    let id = id_of(i);
    return select(id, params.vocabulary, id >= params.vocabulary || id == params.padding);
}

// What becomes of the sums of a batched product: scaled, with the bias if there is one, and added to what y holds, or not.

#import batched

alias elem_y = f32;

#if BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>; // broadcast to [m, n]
#end
@group(0) @binding(4) var<storage, read_write> y: array<elem_y>; // [batch.., m, n]

// An element of y; there is one.
fn put(row: u32, col: u32, c: f32) {
    var sum = params.scale * c;
#if BIAS
    // Once: a later dispatch of the same sum adds to what this one stores.
    if params.accumulate == 0u {
        sum += bias[extra_at(row, col)];
    }
#end
    let at = y_at(row, col);
    if params.accumulate == 1u {
        sum += f32(y[at]);
    }
    y[at] = elem_y(sum);
}

// The gradient of a state of which d_sums are the gradients of the next step's sums:
//
//     d_h[t] = d_y[t] + carried + d_sums[t+1] U
//
// What is carried reaches a state past the products: at first d_hn, past a sequence's end all of d_h, in a GRU z d_h. So after the last
// step it is the gradient of h0.
//
// The importing kernel has
//     var<storage, read> d_y: array<f32>;                  [time, batch, directions, outputs] by strides
//     var<storage, read_write> d_h: array<vec4<f32>>;      [batch, directions, outputs]

#import through_time

fn enter(step: u32) -> bool {
    go_back_to(step);
    return step > 0u;
}

fn carried_at(row: u32, quad: u32) -> u32 {
    return params.d_h_base + at(0u, row) * quads_of(params.outputs) + quad;
}

// All of d_h of four units, given the product.
fn state_gradient(row: u32, quad: u32, product: vec4<f32>) -> vec4<f32> {
    var sum = product + d_h[carried_at(row, quad)];
    if visible(row) {
        for (var i = 0u; i < min(4u, params.outputs - 4u * quad); i++) {
            sum[i] += d_y[y_at(row, 4u * quad + i)];
        }
    }
    return sum;
}

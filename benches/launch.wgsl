// y = launch + 1, if x is what the launch before left; the first one starts anew. Only a chain that ran whole and in order counts all of
// its launches.

struct Params {
    launch: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<i32>;       // [1]
@group(0) @binding(2) var<storage, read_write> y: array<i32>; // [1]

@compute @workgroup_size(1)
fn main() {
    y[0] = select(0, params.launch + 1, params.launch == 0 || x[0] == params.launch);
}

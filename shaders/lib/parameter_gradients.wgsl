// The gradients of several parameters that a dispatch reads: three, since a kernel binds eight buffers everywhere, and eleven with MANY, where it
// binds sixteen.
//
// The importing kernel's params have three tables, each of three vectors since an array in a uniform has a stride of 16 bytes: `starts`, where
// each gradient begins among what the dispatch works on, and the largest u32 where there is none; `lengths`, its elements; `g_bases`, the
// index of the first.

#if MANY
const GRADIENTS: u32 = 11u;
#else
const GRADIENTS: u32 = 3u;
#end

// Where there is no further gradient, the first is bound again.
@group(0) @binding(1) var<storage, read> g0: array<f32>;
@group(0) @binding(2) var<storage, read> g1: array<f32>;
@group(0) @binding(3) var<storage, read> g2: array<f32>;
#if MANY
@group(0) @binding(4) var<storage, read> g3: array<f32>;
@group(0) @binding(5) var<storage, read> g4: array<f32>;
@group(0) @binding(6) var<storage, read> g5: array<f32>;
@group(0) @binding(7) var<storage, read> g6: array<f32>;
@group(0) @binding(8) var<storage, read> g7: array<f32>;
@group(0) @binding(9) var<storage, read> g8: array<f32>;
@group(0) @binding(10) var<storage, read> g9: array<f32>;
@group(0) @binding(11) var<storage, read> g10: array<f32>;
#end

// Element `at` of one of them.
fn gradient(tensor: u32, at: u32) -> f32 {
    let place = params.g_bases[tensor / 4u][tensor % 4u] + at;
    switch tensor {
        case 0u: { return g0[place]; }
        case 1u: { return g1[place]; }
#if MANY
        case 2u: { return g2[place]; }
        case 3u: { return g3[place]; }
        case 4u: { return g4[place]; }
        case 5u: { return g5[place]; }
        case 6u: { return g6[place]; }
        case 7u: { return g7[place]; }
        case 8u: { return g8[place]; }
        case 9u: { return g9[place]; }
        default: { return g10[place]; }
#else
        default: { return g2[place]; }
#end
    }
}

fn start_of(tensor: u32) -> u32 {
    return params.starts[tensor / 4u][tensor % 4u];
}

fn length_of(tensor: u32) -> u32 {
    return params.lengths[tensor / 4u][tensor % 4u];
}

// Which gradient `i` is in, or behind.
fn tensor_of(i: u32) -> u32 {
    var tensor = 0u;
    for (var next = 1u; next < GRADIENTS; next++) {
        tensor += u32(i >= start_of(next));
    }
    return tensor;
}

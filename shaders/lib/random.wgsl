// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011). Twin: src/ops/philox.rs, the same bits.

// 64-bit unsigned numbers as (low, high).
fn wide_multiply(a: u32, b: u32) -> vec2<u32> {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let low = a_low * b_low;
    let middle = a_high * b_low + (low >> 16u);
    let carry = a_low * b_high + (middle & 0xffffu);
    return vec2(a * b, a_high * b_high + (middle >> 16u) + (carry >> 16u));
}

fn wide_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2(low, a.y + b.y + u32(low < a.x));
}

// a times b, modulo 2^64.
fn wide_scale(a: vec2<u32>, b: u32) -> vec2<u32> {
    let low = wide_multiply(a.x, b);
    return vec2(low.x, low.y + a.y * b);
}

fn philox4x32(start: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var counter = start;
    var key = seed;
    for (var round = 0u; round < 10u; round++) {
        let p0 = wide_multiply(0xD2511F53u, counter.x);
        let p1 = wide_multiply(0xCD9E8D57u, counter.z);
        counter = vec4(p1.y ^ counter.y ^ key.x, p1.x, p0.y ^ counter.w ^ key.y, p0.x);
        key += vec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}

// The random word of element `index` under `seed`.
fn random_element(seed: vec2<u32>, index: vec2<u32>) -> u32 {
    let block = vec2((index.x >> 2u) | (index.y << 30u), index.y >> 2u);
    return philox4x32(vec4(block, 0u, 0u), seed)[index.x & 3u];
}

// Where things are: workgroups in more than one dimension of a dispatch, elements of strided tensors, bytes in words.

// The place of a workgroup in a dispatch whose workgroups are spread over x and y, since one dimension holds 65,535.
fn spread(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}

// Element `index`, counted row-major over `sizes` (the last fastest), as an index of each dimension.
fn indices_of(index: u32, sizes: vec4<u32>) -> vec4<u32> {
    let planes = index / sizes.w;
    let blocks = planes / sizes.z;
    return vec4(blocks / sizes.y, blocks % sizes.y, planes % sizes.z, index % sizes.w);
}

// The offset of these indices in a tensor of these strides. Wraps around as u32 does: a base that is negative in a window comes out right.
fn offset_at(at: vec4<u32>, strides: vec4<u32>) -> u32 {
    let steps = at * strides;
    return steps.x + steps.y + steps.z + steps.w;
}

fn offset_of(index: u32, sizes: vec4<u32>, strides: vec4<u32>) -> u32 {
    return offset_at(indices_of(index, sizes), strides);
}

// How far position i + offset is past position j; i and j are below 2^30. In i32, which holds it whatever the offset is: what an offset
// has beyond 2^30 is added in f32.
fn distance_past(i: u32, j: u32, offset: i32) -> f32 {
    let near = clamp(offset, -0x40000000, 0x40000000);
    return f32(i32(i) - i32(j) + near) + f32(offset - near);
}

// Byte `index` of a tensor of u8, given the word that it is in.
fn byte_of(word: u32, index: u32) -> u32 {
    return (word >> (8u * (index % 4u))) & 0xffu;
}

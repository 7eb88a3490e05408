// The flag that an index out of range raises: the next read reports it. The importing kernel binds it and calls this with its code.
//
//     @group(0) @binding(N) var<storage, read_write> flag: array<atomic<u32>>; // one word

fn raise(code: u32) {
    atomicMax(&flag[0], code);
}

// A digit of the keys of a block of ids, in the order that a sort by the lower digits left.
//
// The importing kernel declares ids and order.

#import ids

const LANES: u32 = 256u; // ids of a block, and values of a digit
const BITS: u32 = 8u;
const_assert(LANES == 1u << BITS);

var<workgroup> digits: array<u32, LANES>;

// The id in place k. There is no order before the first digit.
fn in_place(k: u32) -> u32 {
    return select(order[k], k, params.shift == 0u);
}

// Shows all invocations the digits of a block, LANES for none past the last id, and returns this invocation's.
fn show_digits(block: u32, local: u32) -> u32 {
    let k = block * LANES + local;
    var mine = LANES;
    if k < params.count {
        mine = (key_of(in_place(k)) >> params.shift) % LANES;
    }
    digits[local] = mine;
    workgroupBarrier();
    return mine;
}

// What becomes of the terms of a loss: they are written as they are, or each workgroup leaves the sum and the number of its own.
//
// The importing kernel declares loss and says
//     fn term(i: u32) -> f32        the loss of element i

#import elements
#import reduce

// Whether the terms are wanted, and not their sum.
const TERMS: bool = false;

fn write_terms(workgroup: u32, lane: Lane) {
    let slice = slice_of(workgroup);
    var sum = 0.0;
    for (var i = slice.x + lane.local; i < slice.y; i += LANES) {
        let x = term(i);
        sum += x;
        if TERMS {
            loss[params.loss_base + i] = x;
        }
    }
    if !TERMS {
        let total = reduce_sum(lane, sum);
        if lane.local == 0u {
            loss[params.loss_base + 2u * workgroup] = total;
            loss[params.loss_base + 2u * workgroup + 1u] = f32(slice.y - slice.x);
        }
    }
}

// Reductions over the LANES invocations of a workgroup, in a fixed order. Every invocation gets the result.
// Call them in uniform control flow.

#if SUBGROUPS
// One value for each subgroup, however wide subgroups are: there is room for subgroups of one.
#else
// One value for each invocation, halved in each step.
#end
const LANES: u32 = 64u; // power of two
const_assert((LANES & (LANES - 1u)) == 0u);

var<workgroup> partials: array<f32, LANES>;

// Where an invocation stands: an argument of the kernel's main.
struct Lane {
    @builtin(local_invocation_index) local: u32,
#if SUBGROUPS
    @builtin(subgroup_invocation_id) place: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
#end
}

fn combine(maximum: bool, a: f32, b: f32) -> f32 {
    return select(a + b, max(a, b), maximum);
}

fn reduce(lane: Lane, maximum: bool, x: f32) -> f32 {
    // The barrier keeps the values of an earlier reduction until every invocation has read them.
    workgroupBarrier();
#if SUBGROUPS
    let mine = select(subgroupAdd(x), subgroupMax(x), maximum);
    if lane.place == 0u {
        partials[lane.subgroup] = mine;
    }
    workgroupBarrier();
    var all = partials[0];
    for (var i = 1u; i < lane.subgroups; i++) {
        all = combine(maximum, all, partials[i]);
    }
    return all;
#else
    partials[lane.local] = x;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane.local < half {
            partials[lane.local] = combine(maximum, partials[lane.local], partials[lane.local + half]);
        }
    }
    workgroupBarrier();
    return partials[0];
#end
}

fn reduce_max(lane: Lane, x: f32) -> f32 {
    return reduce(lane, true, x);
}

fn reduce_sum(lane: Lane, x: f32) -> f32 {
    return reduce(lane, false, x);
}

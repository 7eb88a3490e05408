// The rows of a cross entropy and their targets: which count, and what a class weighs.
//
// The importing kernel declares targets, and weight under the flag WEIGHT.

struct Params {
    rows: u32,
    cols: u32,
    // Workgroups that share a row, and the columns of each.
    parts: u32,
    span: u32,
    ignore_index: i32,
    flag: u32,
    // What the target weighs beside the uniform distribution, and what each class has of that: 1 - eps and eps / cols.
    hit: f32,
    share: f32,
    // The index of each tensor's first element; 0 for one that a kernel does not have.
    logits_base: u32,
    targets_base: u32,
    weight_base: u32,
    stats_base: u32,
    own_base: u32,
    kept_base: u32,
    loss_base: u32,
    d_loss_base: u32,
    // From one row's d_loss to the next one's: 0 where all have one.
    d_loss_step: u32,
    sums_base: u32,
    d_logits_base: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Whether a row with this target counts: it is not ignored, and there is such a class.
fn counts(label: i32) -> bool {
    return label != params.ignore_index && bitcast<u32>(label) < params.cols;
}

fn class_weight(col: u32) -> f32 {
#if WEIGHT
    return weight[params.weight_base + col];
#else
    return 1.0;
#end
}

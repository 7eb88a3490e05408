// A linear chain of tags: sizes, where the sequences of a dispatch lie in each tensor, and scores that forbid.
//
// A dispatch has `batch` sequences, and of each of them the steps from `first` on. Sequences are counted from its first one; the base of a
// tensor makes an index one into its binding. Where a binding has a part of a sequence the base is negative, and wraps around as u32 does.

#import index

struct Params {
    batch: u32,
    time: u32,
    // The tags that a step chooses from.
    columns: u32,
    first: u32,
    steps: u32,
    // Rows are the steps of all sequences, one after the other: those past the dispatch's last, and how many a slice of a sum has.
    rows: u32,
    rows_each: u32,
    transposed: u32,
    // What a tag out of range raises (lib/flag).
    flag: u32,
    // Times d_loss: the gradient of each sequence's nll.
    scale: f32,
    emissions_base: u32,
    transitions_base: u32,
    start_base: u32,
    end_base: u32,
    tags_base: u32,
    lengths_base: u32,
    reached_base: u32,
    alphas_base: u32,
    norms_base: u32,
    state_base: u32,
    marginals_base: u32,
    links_base: u32,
    pointers_base: u32,
    last_base: u32,
    path_base: u32,
    d_loss_base: u32,
    d_emissions_base: u32,
    ends_base: u32,
    differences_base: u32,
    scores_base: u32,
    partials_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// A score of this or less forbids its tag, or its move from tag to tag, as -inf does.
const FORBIDS: f32 = -1e30;
// The logarithm of zero. It is finite, since compilers may assume that there are no infinities; what it is added to is below LOST.
const NOTHING: f32 = -1e36;
const LOST: f32 = -1e35;
// Probabilities below e to this are 0. Above e to the other there are none: rounding of huge scores must not become an infinity.
const FAR: f32 = -87.0;
const NEAR: f32 = 80.0;

fn allowed(score: f32) -> f32 {
    return select(score, NOTHING, score <= FORBIDS);
}

fn is_nothing(x: f32) -> bool {
    return x < LOST;
}

// x, or what stands for nothing however often it was added up.
fn or_nothing(x: f32) -> f32 {
    return select(x, NOTHING, is_nothing(x));
}

fn probability(logarithm: f32) -> f32 {
    return select(exp(min(logarithm, NEAR)), 0.0, logarithm < FAR);
}

// A step's place in [batch, time].
fn row_of(sequence: u32, t: u32) -> u32 {
    return sequence * params.time + t;
}

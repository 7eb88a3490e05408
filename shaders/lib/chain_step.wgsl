// A step of a chain: a workgroup has one sequence and walks its steps, an invocation has one tag.
//
// The importing kernel has
//     var<storage, read> table: array<f32>;      [columns + 2, columns]: moves, start, end; what is forbidden is NOTHING

#import chain

const LANES: u32 = 64u; // at least as many as tags

// Of each tag, what the step before handed on.
var<workgroup> held: array<f32, LANES>;

// The rows of the table behind the moves.
fn start_at(tag: u32) -> u32 {
    return params.columns * params.columns + tag;
}

fn end_at(tag: u32) -> u32 {
    return (params.columns + 1u) * params.columns + tag;
}

// The largest of what is held, as log_sum or best_of found it on their way.
var<private> highest: f32;

// log sum_i exp(held[i] + table[begin + i stride])
fn log_sum(begin: u32, stride: u32) -> f32 {
    highest = held[0];
    var top = highest + table[begin];
    for (var i = 1u; i < params.columns; i++) {
        let before = held[i];
        highest = max(highest, before);
        top = max(top, before + table[begin + i * stride]);
    }
    var sum = 0.0;
    for (var i = 0u; i < params.columns; i++) {
        sum += exp(held[i] + table[begin + i * stride] - top);
    }
    return select(top + log(sum), NOTHING, is_nothing(top));
}

// The tag i whose held[i] + table[begin + i stride] is the largest, the lowest where there are several, and that value.
struct Best {
    tag: u32,
    value: f32,
}

fn best_of(begin: u32, stride: u32) -> Best {
    highest = held[0];
    var best = Best(0u, highest + table[begin]);
    for (var i = 1u; i < params.columns; i++) {
        let before = held[i];
        highest = max(highest, before);
        let value = before + table[begin + i * stride];
        if value > best.value {
            best = Best(i, value);
        }
    }
    return best;
}

// By what the step after these is made smaller; 0 where nothing is possible.
fn norm_of_highest() -> f32 {
    return select(highest, 0.0, is_nothing(highest));
}

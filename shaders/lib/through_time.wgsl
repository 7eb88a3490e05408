// Backwards through time: step 0 is the last that the forward made, and step `time` stands for the state before all of them.

#import recurrent

// The time of the step that was walked before this one.
var<private> t_next: u32;

fn go_back_to(step: u32) {
    t = time_of(params.time - 1u - step);
    t_next = time_of(params.time - step);
}

// What lies past a sequence's end is marked (lib/math): its inputs may hold anything, and no gradient of a weight may see them.
fn absent() -> vec4<f32> {
    return vec4(hidden());
}

// What does not is a number: zero without a sign.
fn present(v: vec4<f32>) -> vec4<f32> {
    return select(v, vec4<f32>(), v == vec4<f32>());
}

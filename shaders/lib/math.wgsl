// Numbers that compilers must not reason about. Shader compilers may assume that no NaN and no infinity occurs, so tests for them
// and for the sign of zero look at the bits.

// The lowest finite number, a starting value for maxima. Masks in use elsewhere add just this, and such a logit is visible.
const LOWEST: f32 = -0x1.fffffep+127;
const MINUS_INFINITY: u32 = 0xff800000u;
const MINUS_ZERO: u32 = 0x80000000u;
const NOT_A_NUMBER: u32 = 0x7fc00000u;

// Through a variable, since an infinity must not be a constant.
fn minus_infinity() -> f32 {
    var bits = MINUS_INFINITY;
    return bitcast<f32>(bits);
}

fn not_a_number() -> f32 {
    var bits = NOT_A_NUMBER;
    return bitcast<f32>(bits);
}

fn is_minus_infinity(x: f32) -> bool {
    return bitcast<u32>(x) == MINUS_INFINITY;
}

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

fn finite(v: vec4<f32>) -> vec4<bool> {
    return vec4(is_finite(v.x), is_finite(v.y), is_finite(v.z), is_finite(v.w));
}

// A coefficient of minus zero marks a pair that is hidden: what it would multiply is not used, NaN included.
fn hidden() -> f32 {
    var bits = MINUS_ZERO;
    return bitcast<f32>(bits);
}

fn is_hidden(x: f32) -> bool {
    return bitcast<u32>(x) == MINUS_ZERO;
}

// A coefficient of a visible pair: zero without a sign.
fn shown(x: f32) -> f32 {
    return select(x, 0.0, x == 0.0);
}

// tanh through an exponential of a negative number, which cannot overflow; some drivers' own tanh returns NaN from about 44 on.
fn stable_tanh(x: f32) -> f32 {
    let t = exp(-2.0 * abs(x));
    let magnitude = (1.0 - t) / (1.0 + t);
    // The quotient cancels near zero, where the odd series is exact to f32: x - x^3/3 + 2 x^5/15 - 17 x^7/315.
    let s = x * x;
    let series = x * (1.0 + s * (-1.0 / 3.0 + s * (2.0 / 15.0 + s * (-17.0 / 315.0 + s * (62.0 / 2835.0)))));
    return select(sign(x) * magnitude, series, abs(x) < 0.3);
}

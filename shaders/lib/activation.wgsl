// The activation functions and their derivatives, one of which KIND chooses.
//
//     relu        max(x, 0)                                   the derivative at 0 is 0
//     gelu        x P(x)                                      P is the normal distribution's function
//     gelu_tanh   x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2
//     silu        x / (1 + exp(-x))
//     tanh, sigmoid
//
// Nothing overflows, so no large x gives NaN. Complements such as 1 - tanh^2 are computed as such and not by a subtraction that cancels.

#import math

const RELU: u32 = 0u;
const GELU: u32 = 1u;
const GELU_TANH: u32 = 2u;
const SILU: u32 = 3u;
const TANH: u32 = 4u;
const SIGMOID: u32 = 5u;
const KIND: u32 = 0u;
const_assert(KIND <= SIGMOID);

const ROOT_HALF: f32 = 0.70710678; // 1 / sqrt(2)
const DENSITY: f32 = 0.39894228; // 1 / sqrt(2 pi)
const GELU_SCALE: f32 = 0.79788456; // sqrt(2 / pi)
const GELU_CUBE: f32 = 0.044715;

// P(x) = erfc(-x / sqrt(2)) / 2.
//
// With z = |x| / sqrt(2): erf(z) = z p(z^2) up to z = 1, and erfc(z) = exp(-z^2) q(1 / (1 + z / 2)) beyond. p and q are minimax polynomials
// of the relative error, fitted for this file by Remez's exchange with 50 digits: 1.2e-9 on [0, 1] and 5.6e-9 on [1, 10], before their
// coefficients were rounded to f32. The form of the second is that of erfcc in Numerical Recipes, 2nd edition, section 6.2.
fn normal_distribution(x: f32) -> f32 {
    let c = clamp(x, -14.0, 14.0); // exp(-c^2 / 2) is 0 beyond
    let z = abs(c) * ROOT_HALF;
    let s = 0.5 * c * c;
    let p = 1.12837911 + s * (-0.37612626 + s * (0.11283585 + s * (-0.026853813 + s * (0.0051883277 + s * (-0.00080101937 + s * 0.0000785386146)))));
    let t = 1.0 / (1.0 + 0.5 * z);
    let q = -0.00000410356506 + t * (0.28219941 + t * (0.28099072 + t * (0.25296763 + t * (0.15804048 + t * (0.10534451 + t * (0.025057923
        + t * (-0.1850389 + t * 0.080890685)))))));
    let tail = 0.5 * exp(-s) * q;
    return select(select(tail, 1.0 - tail, c > 0.0), 0.5 + 0.5 * ROOT_HALF * c * p, z < 1.0);
}

// 1 / (1 + exp(-x)), and what is missing to 1.
fn logistic(x: f32) -> vec2<f32> {
    let t = exp(-abs(x));
    let parts = vec2(1.0, t) / (1.0 + t);
    return select(parts.yx, parts, x >= 0.0);
}

// 1 - tanh(x)^2.
fn tanh_slope(x: f32) -> f32 {
    let t = exp(-2.0 * abs(x));
    return 4.0 * t / ((1.0 + t) * (1.0 + t));
}

// What gelu_tanh takes the tanh of, where that is not 1.
fn gelu_inner(x: f32) -> f32 {
    let c = clamp(x, -16.0, 16.0);
    return GELU_SCALE * (c + GELU_CUBE * c * c * c);
}

fn activation(x: f32) -> f32 {
    switch KIND {
        case RELU: { return select(x, 0.0, x <= 0.0); }
        case GELU: { return x * normal_distribution(x); }
        case GELU_TANH: { return 0.5 * x * (1.0 + stable_tanh(gelu_inner(x))); }
        case SILU: { return x * logistic(x).x; }
        case TANH: { return stable_tanh(x); }
        default: { return logistic(x).x; }
    }
}

fn derivative(x: f32) -> f32 {
    switch KIND {
        case RELU: { return select(1.0, 0.0, x <= 0.0); }
        case GELU: {
            let c = clamp(x, -14.0, 14.0);
            return normal_distribution(x) + c * DENSITY * exp(-0.5 * c * c);
        }
        case GELU_TANH: {
            let c = clamp(x, -16.0, 16.0);
            let inner = gelu_inner(x);
            let slope = GELU_SCALE * (1.0 + 3.0 * GELU_CUBE * c * c);
            return 0.5 * (1.0 + stable_tanh(inner)) + 0.5 * c * tanh_slope(inner) * slope;
        }
        case SILU: {
            let s = logistic(x);
            return s.x * (1.0 + x * s.y);
        }
        case TANH: { return tanh_slope(x); }
        default: {
            let s = logistic(x);
            return s.x * s.y;
        }
    }
}

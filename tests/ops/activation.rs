use crate::{bits, floats, normal, run};
use wattn::Array;

crate::cases!("activation");

const KINDS: [&str; 6] = ["relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid"];

/// What each function is at its ends, and at 0 and its gradient there; PyTorch's relu has a gradient of 0 at 0.
#[test]
fn ends_and_zero() {
    let x = Array::f32(&[4], vec![f32::MAX, f32::MIN, 0.0, -0.0]);
    let ones = Array::f32(&[4], vec![1.0; 4]);
    for kind in KINDS {
        let results = run("activation", &[("x", &x), ("d_y", &ones)], &[("kind", kind)]);
        let (y, d_x) = (floats(&results["y"]), floats(&results["d_x"]));
        let (high, low) = match kind {
            "tanh" => (1.0, -1.0),
            "sigmoid" => (1.0, 0.0),
            _ => (f32::MAX, 0.0),
        };
        let (at_zero, slope, end) = match kind {
            "relu" => (0.0, 0.0, 1.0),
            "gelu" | "gelu_tanh" | "silu" => (0.0, 0.5, 1.0),
            "tanh" => (0.0, 1.0, 0.0),
            _ => (0.5, 0.25, 0.0),
        };
        assert_eq!(y, [high, low, at_zero, at_zero], "{kind}");
        assert_eq!(d_x, [end, 0.0, slope, slope], "{kind}");
    }
}

/// A NaN is not made into something else.
#[test]
fn a_nan_stays() {
    let x = Array::f32(&[2], vec![f32::NAN, 1.0]);
    for kind in KINDS {
        let y = run("activation", &[("x", &x)], &[("kind", kind)]);
        assert!(floats(&y["y"])[0].is_nan() && floats(&y["y"])[1].is_finite(), "{kind}");
    }
}

/// tanh and the others are odd or complementary, to the bit.
#[test]
fn symmetry() {
    let x = normal(1, &[300]);
    let negative = Array::f32(&[300], floats(&x).iter().map(|x| -x).collect());
    let y = |x: &Array, kind| floats(&run("activation", &[("x", x)], &[("kind", kind)])["y"]).to_vec();
    let minus: Vec<f32> = y(&negative, "tanh").iter().map(|y| -y).collect();
    assert_eq!(bits(&y(&x, "tanh")), bits(&minus));
    for (one, other) in y(&x, "sigmoid").iter().zip(y(&negative, "sigmoid")) {
        assert!((one + other - 1.0).abs() <= f32::EPSILON);
    }
}

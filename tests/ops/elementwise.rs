use crate::{bits, floats, normal, run};
use wattn::Array;

crate::cases!("elementwise");

/// Every element is one operation, which f32 rounds in one way.
#[test]
fn elements_are_those_of_the_host() {
    let (a, b) = (normal(1, &[5, 67]), normal(2, &[67]));
    let pairs = || floats(&a).iter().enumerate().map(|(i, a)| (*a, floats(&b)[i % 67]));
    let y = |kind| bits(floats(&run("elementwise", &[("a", &a), ("b", &b)], &[("kind", kind)])["y"]));
    assert_eq!(y("add"), bits(&pairs().map(|(a, b)| a + b).collect::<Vec<_>>()));
    assert_eq!(y("mul"), bits(&pairs().map(|(a, b)| a * b).collect::<Vec<_>>()));
}

/// What repeats a tensor is counted in its gradient.
#[test]
fn gradients_count_repetitions() {
    let ones = |shape: &[usize]| Array::f32(shape, vec![1.0; shape.iter().product()]);
    let d = run("elementwise", &[("a", &ones(&[7, 1, 5])), ("b", &ones(&[11, 1])), ("d_y", &ones(&[7, 11, 5]))], &[]);
    assert!(floats(&d["d_a"]).iter().all(|&d| d == 11.0) && d["d_a"].shape() == [7, 1, 5]);
    assert!(floats(&d["d_b"]).iter().all(|&d| d == 35.0) && d["d_b"].shape() == [11, 1]);
}

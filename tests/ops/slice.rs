use crate::{bits, floats, normal, run};

crate::cases!("slice");

/// Two slices that together are everything, put together, are what they were taken from.
#[test]
fn slices_are_put_together() {
    let x = normal(1, &[5, 13, 7]);
    let part = |range: &[(&str, &str)]| run("slice", &[("x", &x)], range).remove("y").unwrap();
    let (low, high) = (part(&[("axis", "1"), ("end", "4")]), part(&[("axis", "1"), ("start", "4")]));
    let y = run("concat", &[("x0", &low), ("x1", &high)], &[("axis", "1")]);
    assert_eq!(bits(floats(&y["y"])), bits(floats(&x)));
}

/// What was not taken has a gradient of zero.
#[test]
fn the_rest_has_no_gradient() {
    let (x, d_y) = (normal(1, &[11]), normal(2, &[4]));
    let d = run("slice", &[("x", &x), ("d_y", &d_y)], &[("start", "1"), ("end", "9"), ("step", "2")]);
    let expected: Vec<f32> = (0..11).map(|i| if i % 2 == 1 && i < 9 { floats(&d_y)[i / 2] } else { 0.0 }).collect();
    assert_eq!(bits(floats(&d["d_x"])), bits(&expected));
}

use crate::{floats, normal, run};
use wattn::Array;

crate::cases!("weighted_sum");

/// A mask that hides nothing changes nothing.
#[test]
fn a_mask_of_ones_changes_nothing() {
    let (weights, v) = (normal(1, &[2, 17, 67]), normal(2, &[2, 67, 33]));
    let mask = Array::u8(&[2, 17, 67], vec![1; 2 * 17 * 67]);
    let plain = run("weighted_sum", &[("weights", &weights), ("v", &v)], &[]);
    let masked = run("weighted_sum", &[("weights", &weights), ("v", &v), ("mask", &mask)], &[]);
    assert_eq!(floats(&plain["o"]), floats(&masked["o"]));
}

/// A weight of one on a single visible value returns it, whatever the hidden ones are.
#[test]
fn one_visible_value_is_returned() {
    let (keys, dim) = (67, 5);
    let mut v = normal(2, &[keys, dim]).to_f64().iter().map(|&x| x as f32).collect::<Vec<_>>();
    let visible = 41;
    let kept = v[visible * dim..][..dim].to_vec();
    for (i, x) in v.iter_mut().enumerate().filter(|(i, _)| i / dim != visible) {
        *x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][i % 3];
    }
    let mask = Array::u8(&[1, keys], (0..keys).map(|j| u8::from(j == visible)).collect());
    let weights = Array::f32(&[1, keys], vec![1.0; keys]);
    let o = run("weighted_sum", &[("weights", &weights), ("v", &Array::f32(&[keys, dim], v)), ("mask", &mask)], &[]);
    assert_eq!(floats(&o["o"]), kept);
}

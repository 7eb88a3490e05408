use crate::{floats, gpu, normal, run};
use wattn::Array;
use wattn::ops::dropout::{self, DropoutOptions};

crate::cases!("dropout");

/// About a share of p is dropped, the rest is scaled so that the mean stays.
#[test]
fn a_share_of_p_is_dropped() {
    let ones = Array::f32(&[100_000], vec![1.0; 100_000]);
    for (p, text) in [(0.1f32, "0.1"), (0.5, "0.5"), (0.9, "0.9")] {
        let y = run("dropout", &[("x", &ones)], &[("p", text), ("seed", "3")]);
        let kept: Vec<f32> = floats(&y["y"]).iter().copied().filter(|y| *y != 0.0).collect();
        let share = 1.0 - kept.len() as f32 / 1e5;
        assert!((share - p).abs() < 0.01, "{share} of {p}");
        assert!(kept.iter().all(|y| (y * (1.0 - p) - 1.0).abs() < 1e-6));
    }
}

/// The backward leaves out what the forward left out, and another seed leaves out others.
#[test]
fn the_backward_draws_the_same_numbers() {
    let gpu = gpu();
    let x = gpu.upload(&normal(1, &[1001])).unwrap();
    let zeros = |seed| {
        let options = DropoutOptions { p: 0.3, seed };
        let of = |tensor: wattn::Tensor| tensor.read_blocking::<f32>().unwrap().iter().map(|y| *y == 0.0).collect::<Vec<_>>();
        (of(dropout::forward(gpu, &x, &options).unwrap()), of(dropout::backward(gpu, &x, &options).unwrap()))
    };
    let ((forward, backward), (other, _)) = (zeros(1), zeros(2));
    assert_eq!(forward, backward);
    assert_ne!(forward, other);
}

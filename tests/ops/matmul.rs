use crate::{assert_close, bits, floats, gpu, normal, run};
use wattn::ops::matmul::{self, MatmulOptions};
use wattn::ops::philox::Rng;

use wattn::ops::Case;
use wattn::{Array, DType, f16};

crate::cases!("matmul");

/// The longest sums that are promised: terms of one sign, whose plain f32 sum would be off by the 65,536 roundings on its way.
#[test]
fn a_sum_of_65536_terms_is_as_good_as_a_short_one() {
    let (m, k, n) = (3, 65536, 5);
    let mut rng = Rng::new(7);
    let mut uniform = |shape: [usize; 2]| -> Array {
        let values = rng.normals(shape[0] * shape[1]).into_iter().map(|x| x.abs().min(4.0)).collect();
        Array::f32(&shape, values)
    };
    let (a, b) = (uniform([m, k]), uniform([k, n]));
    let y = run("matmul", &[("a", &a), ("b", &b)], &[]);
    let (a, b) = (floats(&a), floats(&b));
    for i in 0..m {
        for j in 0..n {
            let exact: f64 = (0..k).map(|t| f64::from(a[i * k + t]) * f64::from(b[t * n + j])).sum();
            let error = (f64::from(floats(&y["y"])[i * n + j]) - exact).abs() / exact;
            assert!(error < 4e-6, "y[{i}, {j}] is off by {error:.1e} of itself");
        }
    }
}

#[test]
fn the_identity_changes_no_bit() {
    let n = 65;
    let a = normal(1, &[33, n]);
    let identity = Array::f32(&[n, n], (0..n * n).map(|i| f32::from(i % (n + 1) == 0)).collect());
    let y = run("matmul", &[("a", &a), ("b", &identity)], &[]);
    assert_eq!(bits(floats(&y["y"])), bits(floats(&a)));
}

/// (A B)ᵀ = Bᵀ Aᵀ, to the bit: each sum has the same terms in the same order.
#[test]
fn the_transpose_of_a_product_is_the_product_of_transposes() {
    let (m, k, n) = (67, 35, 130);
    let (a, b) = (normal(1, &[m, k]), normal(2, &[k, n]));
    let y = run("matmul", &[("a", &a), ("b", &b)], &[]);
    let t = run("matmul", &[("a", &b), ("b", &a)], &[("trans_a", "true"), ("trans_b", "true")]);
    let (y, t) = (floats(&y["y"]), floats(&t["y"]));
    let transposed: Vec<f32> = (0..m * n).map(|at| t[at % n * m + at / n]).collect();
    assert_eq!(bits(y), bits(&transposed));
}

#[test]
fn products_of_f16_run_on_matrix_units() {
    let case = Case::new("f16", "68,132,36", &[("dtype", "f16")]);
    crate::run_on_matrix_units("matmul", &[case], "matmul/units");
}

/// A batch is its matrices, one by one.
#[test]
fn a_batch_is_its_members() {
    let (a, b) = (normal(1, &[3, 17, 65]), normal(2, &[65, 19]));
    let together = run("matmul", &[("a", &a), ("b", &b)], &[]);
    for i in 0..3 {
        let one = Array::f32(&[17, 65], floats(&a)[i * 17 * 65..][..17 * 65].to_vec());
        let alone = run("matmul", &[("a", &one), ("b", &b)], &[]);
        assert_close(&floats(&together["y"])[i * 17 * 19..][..17 * 19], floats(&alone["y"]), 0.0);
    }
}

/// Stored as f16 a product is the one stored as f32, rounded once.
#[test]
fn a_product_stored_as_f16_is_rounded_once() {
    if !gpu().caps().f16 {
        println!("matmul: the f16 output is skipped, the device cannot store f16");
        return;
    }
    let (a, b) = (gpu().upload(&normal(1, &[2, 65, 67])).unwrap(), gpu().upload(&normal(2, &[67, 70])).unwrap());
    let bias = gpu().upload(&normal(3, &[70])).unwrap();
    let product = |output| matmul::forward(gpu(), &a, &b, Some(&bias), &MatmulOptions { output, ..Default::default() }).unwrap();
    let exact = product(DType::F32).read_blocking::<f32>().unwrap();
    let rounded: Vec<f16> = exact.into_iter().map(f16::from_f32).collect();
    assert_eq!(product(DType::F16).read_blocking::<f16>().unwrap(), rounded);
}

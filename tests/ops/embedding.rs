use crate::{bits, floats, gpu, normal, run};
use wattn::ops::embedding::{EmbeddingOptions, backward, forward};
use wattn::{Array, Error};

crate::cases!("embedding");

/// Rows are copied, to the bit.
#[test]
fn rows_are_copied() {
    let (weight, ids) = (normal(1, &[7, 300]), [6, 0, 3, 3, 6]);
    let y = run("embedding", &[("ids", &Array::i32(&[5], ids.into())), ("weight", &weight)], &[]);
    let expected: Vec<f32> = ids.iter().flat_map(|&id| floats(&weight)[id as usize * 300..][..300].to_vec()).collect();
    assert_eq!(bits(floats(&y["y"])), bits(&expected));
}

/// With an upstream gradient of ones each row's gradient is the number of its ids, which f32 holds exactly.
#[test]
fn ids_are_counted() {
    for (count, rows) in [(1usize, 1usize), (1000, 2), (4097, 3), (5000, 256), (3000, 70000)] {
        let ids: Vec<i32> = normal(7, &[count]).to_f64().iter().map(|x| ((x.abs() * 1e4) as usize % rows) as i32).collect();
        let mut expected = vec![0.0; rows];
        ids.iter().for_each(|&id| expected[id as usize] += 1.0);
        let (ids, weight, d_y) = (Array::i32(&[count], ids), normal(1, &[rows, 1]), Array::f32(&[count, 1], vec![1.0; count]));
        let got = run("embedding", &[("ids", &ids), ("weight", &weight), ("d_y", &d_y)], &[]);
        assert_eq!(floats(&got["d_weight"]), expected, "{count} ids of {rows} rows");
    }
}

/// What only the device sees: y is 0 there, nothing is added, and the next read says so.
#[test]
fn ids_out_of_range_are_reported() {
    let gpu = gpu();
    let (weight, d_y) = (gpu.upload(&normal(1, &[5, 3])).unwrap(), gpu.upload(&normal(2, &[4, 3])).unwrap());
    let options = EmbeddingOptions::default();
    let of = |last: i32| {
        let ids = gpu.tensor(&[4, 0, 4, last], &[4]).unwrap();
        let d_weight = backward(gpu, &ids, &[5, 3], &d_y, &options).unwrap();
        (forward(gpu, &ids, &weight, &options).unwrap(), d_weight)
    };
    let [y, d_weight] = <[_; 2]>::from(of(2)).map(|tensor| tensor.read_blocking::<f32>().unwrap());
    for wrong in [5, -1, i32::MAX, i32::MIN] {
        let (bad_y, bad_d_weight) = of(wrong);
        let error = bad_d_weight.read_blocking::<f32>().unwrap_err();
        assert!(matches!(error, Error::Index { op: "embedding", tensor: "ids" }), "{error}");
        let expected = [&y[..9], &[0.0; 3]].concat();
        assert_eq!(bad_y.read_blocking::<f32>().unwrap(), expected);
        // Row 2 is that of the last id alone.
        let expected = [&d_weight[..6], &[0.0; 3], &d_weight[9..]].concat();
        assert_eq!(bad_d_weight.read_blocking::<f32>().unwrap(), expected);
    }
}

use crate::{assert_close, bits, floats, normal, run, try_run};
use wattn::ops::philox::Rng;
use wattn::{Array, DType, Gpu, GpuOptions};

crate::cases!("rotary_embedding");

/// A rotation keeps lengths, at every position that there is.
#[test]
fn lengths_stay() {
    let x = normal(1, &[1, 2, 8, 6]);
    let far = [i32::MIN, i32::MIN + 1, -(1 << 24), -1, 0, 1 << 24, i32::MAX - 1, i32::MAX];
    for layout in ["interleaved", "half"] {
        let y = run("rotary_embedding", &[("x", &x), ("positions", &Array::i32(&[8], far.into()))], &[("layout", layout)]);
        let lengths = |values: &[f32]| values.chunks(6).map(|row| row.iter().map(|x| x * x).sum()).collect::<Vec<f32>>();
        assert_close(&lengths(floats(&y["y"])), &lengths(floats(&x)), 1e-5);
    }
}

/// Positions that are those of the rows are no others than the offset's, to the bit, and the row at position 0 stays as it is.
#[test]
fn positions_are_those_of_the_offset() {
    let x = normal(1, &[2, 3, 9, 10]);
    let at: Vec<i32> = (-4..5).collect();
    let by_offset = run("rotary_embedding", &[("x", &x)], &[("offset", "-4"), ("dim", "6")]);
    for shape in [&[9][..], &[2, 9]] {
        let positions = Array::i32(shape, at.repeat(shape.len()));
        let y = run("rotary_embedding", &[("x", &x), ("positions", &positions)], &[("dim", "6")]);
        assert_eq!(bits(floats(&y["y"])), bits(floats(&by_offset["y"])));
    }
    let row = |array: &Array, row: usize| floats(array)[10 * row..][..10].to_vec();
    assert_eq!(row(&by_offset["y"], 4), row(&x, 4));
}

/// Rotated queries and keys have a product that goes by their distance alone, far from the first position as well.
#[test]
fn products_go_by_distance() {
    let mut rng = Rng::new(5);
    let [q, k]: [Vec<f32>; 2] = std::array::from_fn(|_| rng.normals(64));
    let product = |at: i32| {
        let rows = Array::f32(&[1, 1, 2, 64], [q.as_slice(), &k].concat());
        let y = run("rotary_embedding", &[("x", &rows), ("positions", &Array::i32(&[2], vec![at, at - 7]))], &[]);
        let (q, k) = floats(&y["y"]).split_at(64);
        q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>() as f32
    };
    assert_close(&[-300_000, 1000, 131_072, 1 << 24].map(product), &[product(7); 4], 2e-5);
}

/// Rows of batches and heads apart, where a binding holds a few rows only: cut along each, the bits are those of the whole.
#[test]
fn pieces_have_the_bits_of_the_whole() {
    let limits = wattn::wgpu::Limits { max_storage_buffer_binding_size: 1 << 10, ..wattn::wgpu::Limits::defaults() };
    let small = crate::common::open(GpuOptions { limits: Some(limits), ..Default::default() });
    let x = normal(1, &[3, 5, 7, 34]);
    let positions = Array::i32(&[3, 7], (0..21).map(|i| 1000 * i - 9000).collect());
    let y = |gpu: &Gpu| {
        let tensors = [("x", &x), ("positions", &positions), ("d_y", &x)];
        try_run(gpu, "rotary_embedding", &tensors, &[("layout", "half"), ("dim", "32")]).unwrap()
    };
    let (whole, cut) = (y(crate::gpu()), y(&small));
    for name in ["y", "d_x"] {
        assert_eq!(whole[name].dtype(), DType::F32);
        assert_eq!(bits(floats(&whole[name])), bits(floats(&cut[name])), "{name}");
    }
}

//! transpose, slice and concat.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::draw::{chance, dims};
use super::plan::{Fill, Plan};

const NORMAL: Fill = Fill::Normal(1.0);

/// An axis, counted from the end or not.
fn named(axis: usize, rank: usize, from_end: bool) -> isize {
    if from_end { axis as isize - rank as isize } else { axis as isize }
}

/// Any order of any dimensions.
pub fn transpose() -> BoxedStrategy<Plan> {
    let order = dims(5, 7).prop_flat_map(|shape| {
        let axes = Just((0..shape.len()).collect::<Vec<_>>()).prop_shuffle();
        (Just(shape), axes)
    });
    (order, chance(0.8), chance(0.3), chance(0.8), any::<u64>())
        .prop_map(|((shape, axes), given, from_end, upstream, seed)| {
            let mut plan = Plan::new("transpose", seed);
            // No axis at all has no way of being written.
            let given = given && !shape.is_empty();
            let axes: Vec<usize> = if given { axes } else { (0..shape.len()).rev().collect() };
            plan.tensor("x", &shape, NORMAL);
            if upstream {
                plan.tensor("d_y", &axes.iter().map(|&axis| shape[axis]).collect::<Vec<_>>(), NORMAL);
            }
            if given {
                let names = axes.iter().map(|&axis| named(axis, shape.len(), from_end).to_string());
                plan.set("axes", names.collect::<Vec<_>>().join(","));
            }
            plan
        })
        .boxed()
}

/// Any indices of any dimension.
pub fn slice() -> BoxedStrategy<Plan> {
    let shape = proptest::collection::vec(1..=9usize, 1..=5);
    let given = (chance(0.8), chance(0.8), chance(0.8), chance(0.3), chance(0.8));
    (shape, any::<[u64; 3]>(), proptest::option::weighted(0.5, 1..=4usize), given, any::<u64>())
        .prop_map(|(shape, [axis, start, end], step, (has_axis, has_start, has_end, from_end, upstream), seed)| {
            let mut plan = Plan::new("slice", seed);
            let rank = shape.len();
            let axis = if has_axis { axis as usize % rank } else { 0 };
            let size = shape[axis];
            let start = if has_start { start as usize % size } else { 0 };
            let end = if has_end { start + 1 + end as usize % (size - start) } else { size };
            let mut y = shape.clone();
            y[axis] = (end - start).div_ceil(step.unwrap_or(1));
            plan.tensor("x", &shape, NORMAL);
            if upstream {
                plan.tensor("d_y", &y, NORMAL);
            }
            plan.set_some("axis", has_axis.then(|| named(axis, rank, from_end)));
            plan.set_some("start", has_start.then(|| named(start, size, from_end)));
            // The dimension's own end cannot be counted from there.
            plan.set_some("end", has_end.then(|| named(end, size, from_end && end < size)));
            plan.set_some("step", step);
            plan
        })
        .boxed()
}

/// Any tensors in any dimension.
pub fn concat() -> BoxedStrategy<Plan> {
    let shape = proptest::collection::vec(1..=7usize, 1..=5);
    (shape, proptest::collection::vec(1..=5usize, 1..=4), any::<u64>(), chance(0.8), chance(0.3), chance(0.8), any::<u64>())
        .prop_map(|(shape, sizes, axis, has_axis, from_end, upstream, seed)| {
            let mut plan = Plan::new("concat", seed);
            let axis = if has_axis { axis as usize % shape.len() } else { 0 };
            let with = |size: usize| {
                let mut part = shape.clone();
                part[axis] = size;
                part
            };
            for (n, &size) in sizes.iter().enumerate() {
                plan.tensor(format!("x{n}"), &with(size), NORMAL);
            }
            if upstream {
                plan.tensor("d_y", &with(sizes.iter().sum()), NORMAL);
            }
            plan.set_some("axis", has_axis.then(|| named(axis, shape.len(), from_end)));
            plan
        })
        .boxed()
}

//! Compares what a device computed with the reference, within the numeric budget.
//!
//! For each tensor of the reference, over its elements i and the rows r of its last axis (a scalar is one row):
//!
//! ```text
//! T    = 4 max_i |plain - exact|  + 1e-6 max_i |exact|  + 2^-22 max_i A
//! T_r  = 4 max_ir |plain - exact| + 1e-6 max_ir |exact| + T/2
//! max_i |got - exact| <= T    and in every row    max_ir |got - exact| <= T_r
//! ```
//!
//! `exact` is the formula in f64, `plain` the same formula done plainly in f32, A the formula in f64 with the absolute value of
//! every term. Of operations that go through time there are two plain runs ([`Rough`](super::Rough)), of which the worse counts. The
//! budget is thus what honest f32 arithmetic needs for this very input, and the rows keep a small one that is wrong from hiding behind a
//! large one.
//!
//! Where `exact` is an infinity or NaN, `got` must be the same, and maxima are taken over the finite elements. Where only `plain`
//! is not finite it overflowed, which says nothing about the rounding of the rest: such an element is left out of its maximum.
//! Integers must be equal: those of a row to the exact ones, or to those of a plain run.

use std::fmt;

#[cfg(not(target_arch = "wasm32"))]
pub use super::verify::{Outcome, verify};
use super::{Arrays, Operation, Precision, References, Request, Values};
use crate::{Array, DType, Result};

/// How far one tensor is from the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorCheck {
    /// The tensor.
    pub name: String,
    /// The reference's shape.
    pub shape: Vec<usize>,
    /// The largest error; infinite for a NaN or infinity that should not be there. When the tensor keeps its budget and only a row
    /// breaks its own, the row's error.
    pub error: f64,
    /// What `error` may be: the tensor's budget, or that row's.
    pub budget: f64,
    /// Whether the tensor and each of its rows keep their budgets.
    pub ok: bool,
    /// The largest error as a part of its budget, over the tensor and its rows: above 1 is wrong.
    pub ratio: f64,
    /// The element that `error` belongs to; `None` where there is nothing to compare.
    pub worst: Option<Worst>,
    /// Why the tensor could not be compared, if so: it is missing, or has another shape or type.
    pub misfit: Option<String>,
}

/// One element.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// Where it is.
    pub index: Vec<usize>,
    /// The device's value.
    pub got: f64,
    /// The reference's value.
    pub expected: f64,
}

impl fmt::Display for TensorCheck {
    /// `d_x: error 3.1e-3 over the budget of 2.0e-5 at [3, 17]: got 0.5, expected 0.25`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(misfit) = &self.misfit {
            return write!(f, "{}: {misfit}", self.name);
        }
        let relation = if self.ok { "within" } else { "over" };
        write!(f, "{}: error {:.2e} {relation} the budget of {:.2e}", self.name, self.error, self.budget)?;
        match &self.worst {
            Some(worst) => write!(f, " at {:?}: got {}, expected {}", worst.index, worst.got, worst.expected),
            None => Ok(()),
        }
    }
}

/// What is wrong, if anything: the tensors that are, one after the other.
pub fn wrong(checks: &[TensorCheck]) -> Option<String> {
    let wrong: Vec<String> = checks.iter().filter(|check| !check.ok).map(TensorCheck::to_string).collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// What a request's results are compared with. Worth keeping when one request is run in several ways.
#[derive(Clone, Debug)]
pub struct Expected {
    exact: References,
    /// One, or two where the operation goes through time.
    plain: Vec<References>,
}

/// Compares results with the reference: one check for each tensor of either.
///
/// # Errors
/// Those of the reference. Whatever is wrong with `got` is a check that is not ok.
pub fn compare(op: &dyn Operation, request: &Request, got: &Arrays) -> Result<Vec<TensorCheck>> {
    Ok(Expected::new(op, request)?.compare(op, got))
}

impl Expected {
    /// Evaluates the reference.
    ///
    /// # Errors
    /// Those of the reference.
    pub fn new(op: &dyn Operation, request: &Request) -> Result<Self> {
        // Precision::Magnitude computes the values of Precision::Exact and the magnitudes beside them.
        let exact = op.reference(request, Precision::Magnitude)?;
        let rough = op.steps(request).map(|_| Precision::Rough);
        let plain = [Precision::Plain].into_iter().chain(rough).map(|precision| op.reference(request, precision)).collect::<Result<_>>()?;
        Ok(Expected { exact, plain })
    }

    /// Compares results with the reference: one check for each tensor of either.
    pub fn compare(&self, op: &dyn Operation, got: &Arrays) -> Vec<TensorCheck> {
        let integer = |name: &str| op.spec().outputs.iter().any(|o| o.name == name && o.dtype == DType::I32);
        let expected = self.exact.iter().map(|(name, exact)| {
            let misfit = |what: String| TensorCheck::misfit(name, &exact.shape, what);
            let Some(array) = got.get(name) else { return misfit("missing from the results".into()) };
            if array.shape() != exact.shape {
                return misfit(format!("shape {:?} instead of {:?}", array.shape(), exact.shape));
            }
            if integer(name) && array.dtype() != DType::I32 {
                return misfit(format!("{} instead of i32", array.dtype()));
            }
            match self.plain.iter().map(|plain| plain.get(name).filter(|plain| plain.shape == exact.shape)).collect::<Option<Vec<_>>>() {
                Some(plain) if integer(name) => equal(name, exact, &plain, array),
                Some(plain) => within_budget(name, exact, &plain, array),
                None => misfit("the reference gives it another shape in f32 than in f64".into()),
            }
        });
        let unknown = got.iter().filter(|(name, _)| !self.exact.contains_key(*name));
        let unknown = unknown.map(|(name, array)| TensorCheck::misfit(name, array.shape(), "not among the reference's tensors".into()));
        expected.chain(unknown).collect()
    }
}

/// One tensor, compared with the exact one within the budget that the plain runs leave. The shapes must be the same.
pub fn tensor(name: &str, exact: &Values, plain: &[&Values], got: &Array) -> TensorCheck {
    if got.shape() != exact.shape || plain.iter().any(|plain| plain.shape != exact.shape) {
        return TensorCheck::misfit(name, &exact.shape, format!("shape {:?} instead of {:?}", got.shape(), exact.shape));
    }
    within_budget(name, exact, plain, got)
}

impl TensorCheck {
    fn misfit(name: &str, shape: &[usize], what: String) -> Self {
        let (name, shape) = (name.to_string(), shape.to_vec());
        TensorCheck { name, shape, error: f64::INFINITY, budget: 0.0, ok: false, ratio: f64::INFINITY, worst: None, misfit: Some(what) }
    }

    fn of(name: &str, exact: &Values, got: &[f64], place: Place, ratio: f64) -> Self {
        let worst = got.get(place.at).map(|&got| Worst { index: index(&exact.shape, place.at), got, expected: exact.value[place.at] });
        TensorCheck {
            name: name.to_string(),
            shape: exact.shape.clone(),
            error: place.error,
            budget: place.budget,
            ok: place.error <= place.budget,
            ratio,
            worst,
            misfit: None,
        }
    }
}

/// An element, its error, and the budget that this is held against.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    at: usize,
    error: f64,
    budget: f64,
}

impl Place {
    /// The error as a part of the budget; no error is right even without a budget.
    fn ratio(self) -> f64 {
        if self.error == 0.0 { 0.0 } else { self.error / self.budget }
    }
}

/// Integers: no budget. A row may be a plain run's instead: what is chosen by comparing sums may differ in f32, and is as good there.
fn equal(name: &str, exact: &Values, plain: &[&Values], got: &Array) -> TensorCheck {
    let got = got.to_f64();
    let columns = exact.shape.last().copied().unwrap_or(1).max(1);
    let rows = (0..got.len()).step_by(columns).map(|from| from..from + columns);
    let other = rows.filter(|row| plain.iter().all(|plain| plain.value[row.clone()] != got[row.clone()]));
    let place = other.map(|row| largest_error(&exact.value[row.clone()], &got[row.clone()], row.start, 0.0));
    let place = place.fold(Place::default(), |worst, place| if place.error > worst.error { place } else { worst });
    TensorCheck::of(name, exact, &got, place, place.ratio())
}

fn within_budget(name: &str, exact: &Values, plain: &[&Values], got: &Array) -> TensorCheck {
    let got = got.to_f64();
    let rounding = |from: usize, to: usize| {
        let naive = plain.iter().flat_map(|plain| (from..to).map(|i| (plain.value[i] - exact.value[i]).abs()));
        4.0 * finite_max(naive) + 1e-6 * finite_max(exact.value[from..to].iter().map(|x| x.abs()))
    };
    let budget = rounding(0, got.len()) + finite_max(exact.magnitude.iter().copied()) / f64::from(1 << 22);
    let tensor = largest_error(&exact.value, &got, 0, budget);

    let columns = exact.shape.last().copied().unwrap_or(1).max(1);
    let mut row = Place::default();
    for from in (0..got.len()).step_by(columns) {
        let to = from + columns;
        let place = largest_error(&exact.value[from..to], &got[from..to], from, rounding(from, to) + budget / 2.0);
        if place.ratio() > row.ratio() {
            row = place;
        }
    }
    let shown = if tensor.error <= tensor.budget && row.error > row.budget { row } else { tensor };
    TensorCheck::of(name, exact, &got, shown, tensor.ratio().max(row.ratio()))
}

/// The element that is furthest off; `first` is the index of the slices' first element.
fn largest_error(exact: &[f64], got: &[f64], first: usize, budget: f64) -> Place {
    let mut worst = Place { at: first, error: 0.0, budget };
    for (i, (&exact, &got)) in exact.iter().zip(got).enumerate() {
        let error = error(exact, got);
        if error > worst.error {
            worst = Place { at: first + i, error, budget };
        }
    }
    worst
}

fn error(exact: f64, got: f64) -> f64 {
    if exact.is_finite() && got.is_finite() {
        (got - exact).abs()
    } else if exact == got || (exact.is_nan() && got.is_nan()) {
        0.0
    } else {
        f64::INFINITY
    }
}

fn finite_max(values: impl Iterator<Item = f64>) -> f64 {
    values.filter(|x| x.is_finite()).fold(0.0, f64::max)
}

/// The index of element `at` of a shape without zeros.
fn index(shape: &[usize], at: usize) -> Vec<usize> {
    let mut rest = at;
    let mut index = vec![0; shape.len()];
    for (i, &size) in index.iter_mut().zip(shape).rev() {
        *i = rest % size;
        rest /= size;
    }
    index
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::gpu::{AnyVariant, Caps, Gpu};
    use crate::ops::{Case, Cost, Output, Prepared, Settings, Spec};

    /// An operation that has outputs and nothing else.
    struct Fake;

    static SPEC: Spec = Spec {
        name: "fake",
        about: "",
        shape: "",
        inputs: &[],
        outputs: &[Output::new("y", ""), Output { name: "ids", shape: "", dtype: DType::I32, upstream: false }],
        keys: &[],
    };

    impl Operation for Fake {
        fn spec(&self) -> &'static Spec {
            &SPEC
        }
        fn kernels(&self, _: &Caps) -> Vec<AnyVariant> {
            vec![]
        }
        fn cases(&self) -> Vec<Case> {
            vec![]
        }
        fn draw(&self, _: &str, _: &Settings, _: u64) -> Result<Arrays> {
            Ok(Arrays::new())
        }
        fn prepare(&self, _: &Gpu, _: &Request) -> Result<Prepared> {
            Ok(Box::new(|| Ok(vec![])))
        }
        fn reference(&self, _: &Request, _: Precision) -> Result<References> {
            Ok(References::new())
        }
        fn cost(&self, _: &Request) -> Result<Cost> {
            Ok(Cost::default())
        }
    }

    fn values(shape: &[usize], value: &[f64]) -> Values {
        Values::of(shape, value)
    }

    /// Compares one tensor named `name`; the plain reference is exact unless `plain` says otherwise.
    fn check(name: &str, exact: Values, plain: Option<Values>, got: Array) -> TensorCheck {
        let plain = plain.unwrap_or_else(|| exact.clone());
        let one = |values| BTreeMap::from([(name.to_string(), values)]);
        let expected = Expected { exact: one(exact), plain: vec![one(plain)] };
        expected.compare(&Fake, &BTreeMap::from([(name.to_string(), got)])).remove(0)
    }

    #[test]
    fn equal_values_pass_and_name_no_error() {
        let got = check("y", values(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), None, Array::f32(&[2, 2], vec![1.0, 2.0, 3.0, 4.0]));
        assert!(got.ok && got.error == 0.0 && got.ratio == 0.0, "{got}");
    }

    #[test]
    fn the_budget_is_the_contract_s() {
        // Twice the plain run's error of 1e-4, against 4 times of it.
        let plain = values(&[4], &[1.0001, 2.0, 3.0, 4.0]);
        let got = check("y", values(&[4], &[1.0, 2.0, 3.0, 4.0]), Some(plain), Array::f32(&[4], vec![1.0, 2.0002, 3.0, 4.0]));
        assert!((got.budget - (4e-4 + 4e-6 + 4.0 / 4194304.0)).abs() < 1e-9, "{got}");
        assert!(got.ok && got.worst.as_ref().unwrap().index == [1], "{got}");
    }

    #[test]
    fn the_worse_of_two_plain_runs_counts() {
        let exact = values(&[2], &[1.0, 2.0]);
        let plain = [values(&[2], &[1.0, 2.0001]), values(&[2], &[1.001, 2.0])];
        let budget = within_budget("y", &exact, &plain.iter().collect::<Vec<_>>(), &Array::f32(&[2], vec![1.0, 2.0])).budget;
        assert!((budget - (4e-3 + 2e-6 + 2.0 / 4194304.0)).abs() < 1e-9, "{budget}");
    }

    #[test]
    fn a_small_row_cannot_hide_behind_a_large_one() {
        // Row 0 is rounded to 0.01, which makes a budget that an error of 0.03 in row 1 keeps as a tensor and not as a row.
        let exact = values(&[2, 2], &[1000.0, 2000.0, 1.0, 2.0]);
        let plain = values(&[2, 2], &[1000.01, 2000.0, 1.0, 2.0]);
        let got = check("y", exact, Some(plain), Array::f32(&[2, 2], vec![1000.0, 2000.0, 1.0, 2.03]));
        assert!(!got.ok && got.ratio > 1.0 && got.error > got.budget, "{got}");
        assert_eq!(got.worst.unwrap().index, [1, 1]);
    }

    #[test]
    fn what_is_not_finite_must_be_the_same() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let ok = |expected: f64, got: f32| check("y", values(&[2], &[expected, 1.0]), None, Array::f32(&[2], vec![got, 1.0])).ok;
        assert!(ok(f64::NEG_INFINITY, -inf) && ok(f64::NAN, nan));
        for (expected, got) in
            [(0.5, nan), (0.5, inf), (f64::NEG_INFINITY, -1e30), (f64::NEG_INFINITY, inf), (f64::NEG_INFINITY, nan), (f64::NAN, 0.0)]
        {
            assert!(!ok(expected, got), "{expected} {got}");
        }
    }

    #[test]
    fn a_plain_run_that_overflows_buys_no_budget() {
        let exact = values(&[2], &[1.0, 2.0]);
        let plain = values(&[2], &[f64::INFINITY, 2.0]);
        assert!(!check("y", exact, Some(plain), Array::f32(&[2], vec![1.1, 2.0])).ok);
    }

    #[test]
    fn integers_are_equal_or_wrong() {
        let exact = || values(&[2], &[70000.0, -1.0]);
        assert!(check("ids", exact(), None, Array::i32(&[2], vec![70000, -1])).ok);
        assert!(!check("ids", exact(), None, Array::i32(&[2], vec![70000, 0])).ok);
        assert!(!check("ids", exact(), None, Array::f32(&[2], vec![70000.0, -1.0])).ok);
    }

    /// Two paths that f32 cannot tell apart: whole rows of the one or of the other, and no mixture.
    #[test]
    fn a_row_of_integers_may_be_that_of_a_plain_run() {
        let exact = || values(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let got = |row: [i32; 2]| {
            check("ids", exact(), Some(values(&[2, 2], &[1.0, 2.0, 4.0, 3.0])), Array::i32(&[2, 2], vec![1, 2, row[0], row[1]]))
        };
        assert!(got([3, 4]).ok && got([4, 3]).ok);
        let wrong = got([4, 4]);
        assert!(!wrong.ok && wrong.worst.unwrap().index == [1, 0]);
    }

    #[test]
    fn what_cannot_be_compared_is_wrong() {
        assert!(!check("y", values(&[2], &[1.0, 2.0]), None, Array::f32(&[1, 2], vec![1.0, 2.0])).ok);
        let one = BTreeMap::from([("y".to_string(), values(&[1], &[1.0]))]);
        let expected = Expected { exact: one.clone(), plain: vec![one] };
        let got = expected.compare(&Fake, &BTreeMap::from([("z".to_string(), Array::f32(&[1], vec![1.0]))]));
        assert_eq!(got.iter().map(|c| (c.name.as_str(), c.ok)).collect::<Vec<_>>(), [("y", false), ("z", false)]);
        assert!(got.iter().all(|c| c.misfit.is_some() && c.ratio.is_infinite()));
    }

    #[test]
    fn a_scalar_is_one_row() {
        let got = check("y", values(&[], &[2.0]), None, Array::f32(&[], vec![2.5]));
        assert!(!got.ok && got.worst.unwrap().index.is_empty());
    }
}

//! Cases computed elsewhere: PyTorch autograd in f64, forward and backward. `data/README.md` describes the files; those of a whole model are
//! made by `models/translator.py`.
//!
//! The references and the kernels are written by the same hands from the same formula, so a misreading of that formula would pass
//! every comparison between them. These cases would show it.

mod case;
#[path = "../common/mod.rs"]
mod common;
#[path = "../drivers/faults.rs"]
mod faults;
mod layers;
#[cfg(feature = "cli")]
mod models;

use std::collections::BTreeMap;

use case::{Case, read_all};
use wattn::ops::check::Expected;
use wattn::ops::{Arrays, Operation, Precision, Request, find};
use wattn::{Error, Gpu, GpuOptions};

/// Outputs and gradients by name.
type Results = BTreeMap<String, Vec<f64>>;

/// What runs a request: the reference here, a device when there is one.
type Runner<'a> = &'a dyn Fn(&dyn Operation, &Request) -> wattn::Result<Results>;

/// How far a result may be from the files.
#[derive(Clone, Copy)]
struct Tolerance {
    /// Times the expected value.
    element: f64,
    /// Times the largest expected value of the tensor.
    tensor: f64,
    /// Of a tensor that is zero throughout, which gives no scale: terms of order one that cancel leave as much.
    zero: f64,
}

/// The files are rounded to f32 (2⁻²⁴ of the value). Keys such as eps and scale are f32 here and f64 there, which moves a result
/// by no more than 2⁻²⁴ of its terms.
const REFERENCE: Tolerance = Tolerance { element: 1.2e-7, tensor: 1e-7, zero: 0.0 };

fn reference(op: &dyn Operation, request: &Request) -> wattn::Result<Results> {
    Ok(op.reference(request, Precision::Exact)?.into_iter().map(|(name, values)| (name, values.value)).collect())
}

/// The largest violation of the tolerance; an infinity must be met exactly, and a NaN is never right.
fn compare(expected: &[f64], got: &[f64], tolerance: Tolerance) -> Result<(), String> {
    if expected.len() != got.len() {
        return Err(format!("{} elements, expected {}", got.len(), expected.len()));
    }
    let largest = expected.iter().filter(|x| x.is_finite()).fold(0.0, |m: f64, x| m.max(x.abs()));
    let scale = if largest > 0.0 { tolerance.tensor * largest } else { tolerance.zero };
    for (i, (&e, &g)) in expected.iter().zip(got).enumerate() {
        let allowed = tolerance.element * e.abs() + scale;
        let right = if e.is_finite() { (g - e).abs() <= allowed } else { g == e };
        if !right {
            return Err(format!("[{i}] = {g:e}, expected {e:e} within {allowed:.1e}"));
        }
    }
    Ok(())
}

/// Runs one case, in as many requests as it takes, and compares every tensor that the file has.
fn check(case: &Case, run: Runner, tolerance: Tolerance) -> Result<(), String> {
    let mut gradients: Results = BTreeMap::new();
    for part in case.parts()? {
        let op = find(part.op).ok_or_else(|| format!("no operation {}", part.op))?;
        let request = Request::new(op.spec(), case.inputs(&part), part.settings.clone()).map_err(|e| e.to_string())?;
        let results = run(op, &request).map_err(|e| e.to_string())?;
        for (theirs, ours) in &part.outputs {
            let got = results.get(ours).ok_or_else(|| format!("output {ours} is missing"))?;
            compare(&case.tensor("out", theirs)?.to_f64(), got, tolerance).map_err(|e| format!("{ours}{e}"))?;
        }
        for (name, values) in results.into_iter().filter_map(|(name, v)| Some((name.strip_prefix("d_")?.to_string(), v))) {
            // The gradient of an input that several parts read is the sum of theirs.
            match gradients.get_mut(&name) {
                Some(sum) => sum.iter_mut().zip(values).for_each(|(sum, x)| *sum += x),
                None => drop(gradients.insert(name, values)),
            }
        }
    }
    for (name, expected) in case.all("grad") {
        let got = gradients.get(name).ok_or_else(|| format!("d_{name} is missing"))?;
        compare(&expected.to_f64(), got, tolerance).map_err(|e| format!("d_{name}{e}"))?;
    }
    Ok(())
}

/// Every case, and the driver's known faults where a device runs them.
fn check_all(run: Runner, tolerance: Tolerance, device: Option<&Gpu>) {
    let mut failures = Vec::new();
    for case in read_all() {
        let known = device.and_then(|gpu| faults::expected(faults::KNOWN, gpu.info(), "golden", &case.name, ""));
        match faults::judge(known, check(&case, run, tolerance)) {
            Ok(Some(())) => println!("{}: ok", case.name),
            Ok(None) => println!("{}: a known fault of the driver, {known:?}", case.name),
            Err(message) => failures.push(format!("{}: {message}", case.name)),
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn references_agree() {
    check_all(&reference, REFERENCE, None);
}

/// What is left to a device after the check of its budget: nothing that a misread formula could hide behind.
const DEVICE: Tolerance = Tolerance { element: 5e-5, tensor: 5e-6, zero: 1e-6 };

/// A device's results against the files, and against the reference within the budget that tests/ops holds it to.
#[test]
fn devices_agree() {
    let gpu = common::open(GpuOptions::default());
    let run = |op: &dyn Operation, request: &Request| {
        let outputs = op.prepare(&gpu, request)?()?;
        let arrays: Arrays = outputs.into_iter().map(|(name, tensor)| Ok((name, tensor.array()?))).collect::<wattn::Result<_>>()?;
        match Expected::new(op, request)?.compare(op, &arrays).into_iter().find(|check| !check.ok) {
            None => Ok(arrays.into_iter().map(|(name, array)| (name, array.to_f64())).collect()),
            Some(check) => Err(Error::Device { message: check.to_string() }),
        }
    };
    check_all(&run, DEVICE, Some(&gpu));
}

/// Nothing is left out silently: every operation with cases is in the registry.
#[test]
fn every_operation_is_accounted_for() {
    let cases = read_all();
    for case in &cases {
        assert!(find(case.registry_name()).is_some(), "{}: {} is not in the registry", case.name, case.op);
    }
    assert!(!cases.is_empty());
}

/// The comparison must be able to fail: a runner that is off in one element of one tensor is found.
#[test]
fn a_wrong_result_is_found() {
    let names: Vec<String> = ["y", "d_x", "d_weight", "d_bias"].map(String::from).into();
    let cases = read_all();
    let case = cases.iter().find(|case| case.name == "linear").unwrap();
    for name in names {
        let wrong = |op: &dyn Operation, request: &Request| {
            let mut results = reference(op, request)?;
            results.get_mut(&name).unwrap()[3] *= 1.0 + 1e-5;
            Ok(results)
        };
        assert!(check(case, &wrong, REFERENCE).unwrap_err().starts_with(&name));
    }
}

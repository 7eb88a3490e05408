//! Every gradient of every reference against central differences of its own forward.
//!
//! A reference is what all kernels are compared with, so it must be right on its own account. Each operation of the registry
//! is tested on each of its cases that has upstream gradients and is cheap enough; nothing needs to be added here for a new one.

mod difference;

use difference::{check, on_grid};
use wattn::ops::{Case, Operation, Precision, REGISTRY, Request};

/// Above this many floating-point operations a case is left to the comparison with the device: the reference is evaluated a
/// dozen times for each input.
const MAX_FLOPS: f64 = 3e7;

/// The case's request on a grid, or why it is not tested.
fn request(op: &dyn Operation, case: &Case) -> Result<Request, String> {
    let request = case.request(op, 1).map_err(|e| format!("cannot be drawn: {e}"))?;
    if !request.wants_gradients() {
        return Err("skipped, no upstream gradient".into());
    }
    let flops = op.cost(&request).map_err(|e| e.to_string())?.flops;
    if flops > MAX_FLOPS {
        return Err(format!("skipped, {:.0} MFLOP", flops / 1e6));
    }
    Ok(on_grid(request))
}

#[test]
fn gradients_agree_with_central_differences() {
    let mut failures = Vec::new();
    for op in REGISTRY {
        let name = op.spec().name;
        let mut tested = 0;
        for case in op.cases() {
            let request = match request(*op, &case) {
                Ok(request) => request,
                Err(reason) => {
                    println!("{name} {}: {reason}", case.name);
                    if !reason.starts_with("skipped") {
                        failures.push(format!("{name} {}: {reason}", case.name));
                    }
                    continue;
                }
            };
            let gradients = op.reference(&request, Precision::Exact);
            match gradients.map_err(|e| e.to_string()).and_then(|gradients| check(*op, &request, &gradients)) {
                Ok(worst) => println!("{name} {}: {worst:.1e} of the tolerance", case.name),
                Err(message) => failures.push(format!("{name} {}: {message}", case.name)),
            }
            tested += 1;
        }
        let differentiable = op.spec().outputs.iter().any(|o| o.upstream);
        assert!(tested > 0 || !differentiable, "{name}: no case is cheap enough to test its gradients");
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// The test above must be able to fail: one element of one gradient, off by a thousandth of the largest, is found in every operation.
#[test]
fn a_wrong_gradient_is_found() {
    for op in REGISTRY {
        for case in op.cases().iter().filter(|case| case.quick) {
            let Ok(request) = request(*op, case) else { continue };
            let right = op.reference(&request, Precision::Exact).unwrap();
            for name in right.keys().filter(|name| name.starts_with("d_")) {
                let mut wrong = right.clone();
                let values = &mut wrong.get_mut(name).unwrap().value;
                // An element that the directions reach: its input is finite.
                let input = request.tensor(&name[2..]).unwrap().to_f64();
                let at = (0..values.len()).rev().find(|&i| input[i].is_finite()).unwrap();
                let largest = values.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
                values[at] += if largest > 0.0 { 1e-3 * largest } else { 1e-3 };
                let found = check(*op, &request, &wrong);
                assert!(found.is_err(), "{} {}: a wrong {name} passed", op.spec().name, case.name);
            }
        }
    }
}

/// So is a gradient that is missing, that has another shape, or that is not finite.
#[test]
fn a_malformed_gradient_is_found() {
    let op = wattn::ops::find("matmul").unwrap();
    let request = on_grid(Case::new("malformed", "3,5,7", &[]).request(op, 1).unwrap());
    let right = op.reference(&request, Precision::Exact).unwrap();
    assert!(check(op, &request, &right).is_ok());
    let mut missing = right.clone();
    missing.remove("d_a");
    assert!(check(op, &request, &missing).unwrap_err().contains("d_a is missing"));
    let mut reshaped = right.clone();
    reshaped.get_mut("d_a").unwrap().shape.reverse();
    assert!(check(op, &request, &reshaped).unwrap_err().contains("shape"));
    let mut poisoned = right.clone();
    poisoned.get_mut("d_b").unwrap().value[0] = f64::NAN;
    assert!(check(op, &request, &poisoned).unwrap_err().contains("not finite"));
}

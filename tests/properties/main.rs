//! Random requests of every operation, device against reference: shapes that no case has, and options that no case combines.
//!
//! A normal run draws 20 requests of each operation, always the same ones; `PROPTEST_CASES=200` draws more, `PROPTEST_RNG_SEED=7` others. What
//! has ever failed is kept in tests/properties/regressions and comes first. A failure is shrunk, printed as the command that repeats it, and
//! its tensors are left in a file for that command. What was skipped is counted (`cargo test --test properties -- --nocapture`).
//!
//! Without an adapter the tests fail. `WATTN_DEVICE` chooses one, as `--device` does.

mod attention;
#[path = "../common/mod.rs"]
mod common;
mod crf;
mod draw;
mod elements;
mod layout;
mod losses;
mod plan;
mod products;
mod recurrent;
mod rows;
mod scores;
mod training;

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestCaseError, TestError, TestRunner};
use wattn::ops::check::{Expected, Outcome, wrong};
use wattn::ops::{Operation, REGISTRY, Request, Tuning, find};
use wattn::{Gpu, GpuOptions};

use plan::Plan;

/// Requests of each operation in a normal run.
const CASES: u32 = 20;

/// The seed of a run that names none.
const SEED: u64 = 1;

/// A test of each operation's name, and the list of their strategies.
macro_rules! properties {
    ($($op:ident: $strategy:expr,)*) => {
        $(
            #[test]
            fn $op() {
                check(stringify!($op), $strategy);
            }
        )*

        fn strategies() -> Vec<(&'static str, BoxedStrategy<Plan>)> {
            vec![$((stringify!($op), $strategy)),*]
        }
    };
}

properties! {
    matmul: products::matmul(),
    softmax: rows::softmax(),
    weighted_sum: products::weighted_sum(),
    sum: rows::sum(),
    linear: products::linear(),
    cross_entropy: losses::cross_entropy(),
    embedding: rows::embedding(),
    mse: losses::mse(),
    binary_cross_entropy: losses::binary_cross_entropy(),
    attention: attention::attention(),
    attention_varlen: attention::attention_varlen(),
    additive_attention: scores::additive_attention(),
    luong_attention: scores::luong_attention(),
    multi_head_attention: scores::multi_head_attention(),
    rnn: recurrent::rnn(),
    gru: recurrent::gru(),
    lstm: recurrent::lstm(),
    optimizer: training::optimizer(),
    elementwise: elements::elementwise(),
    activation: elements::activation(),
    dropout: elements::dropout(),
    transpose: layout::transpose(),
    slice: layout::slice(),
    concat: layout::concat(),
    crf: crf::crf(),
    layer_norm: rows::norm("layer_norm"),
    rms_norm: rows::norm("rms_norm"),
    rotary_embedding: rows::rotary_embedding(),
}

/// A device of the test's own, so that a wrong result is the request's doing alone.
fn open() -> Gpu {
    common::open(GpuOptions::default())
}

/// proptest's own variables count; without them a run is short, and the same every time.
fn config(op: &str) -> Config {
    let told = Config::default();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/properties/regressions");
    Config {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { told.cases } else { CASES },
        rng_seed: if told.rng_seed == RngSeed::Random { RngSeed::Fixed(SEED) } else { told.rng_seed },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(format!("{folder}/{op}.txt").leak()))),
        max_shrink_iters: 400,
        ..told
    }
}

/// Runs an operation's requests, and names the smallest that is wrong.
fn check(op: &'static str, strategy: BoxedStrategy<Plan>) {
    let (gpu, ran, skipped) = (open(), Cell::new(0), Cell::new(0));
    let result = run(config(op), &strategy, |request| {
        let op = find(op).ok_or("no such operation")?;
        let expected = Expected::new(op, request).map_err(|e| e.to_string())?;
        match outcome(&gpu, op, request, &expected)? {
            None => ran.set(ran.get() + 1),
            Some(_) => skipped.set(skipped.get() + 1),
        }
        Ok(())
    });
    println!("{op}: {} right, {} skipped for want of f16", ran.get(), skipped.get());
    if let Err(message) = result {
        panic!("{message}");
    }
    assert!(ran.get() > 2 * skipped.get(), "{op}: {} were skipped and only {} ran", skipped.get(), ran.get());
}

/// `Ok(Some(…))` is why it cannot run here.
fn outcome(gpu: &Gpu, op: &dyn Operation, request: &Request, expected: &Expected) -> Result<Option<String>, String> {
    match expected.verify(gpu, op, request, &Tuning::default()).map_err(|e| e.to_string())? {
        Outcome::Skipped(reason) => Ok(Some(reason)),
        Outcome::Checked(checks) => wrong(&checks).map_or(Ok(None), Err),
    }
}

/// Draws requests until one fails `property`; the error is the smallest that does.
fn run(config: Config, strategy: &BoxedStrategy<Plan>, property: impl Fn(&Request) -> Result<(), String>) -> Result<(), String> {
    let test = |plan: Plan| {
        let request = plan.request().map_err(|e| TestCaseError::fail(e.to_string()))?;
        property(&request).map_err(TestCaseError::fail)
    };
    match TestRunner::new(config).run(strategy, test) {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, plan)) => Err(format!("{plan:?}\n{}{reason}", plan.save())),
        Err(TestError::Abort(reason)) => Err(format!("nothing was drawn: {reason}")),
    }
}

/// No operation of the registry is left out.
#[test]
fn every_operation_has_a_strategy() {
    let here: BTreeSet<&str> = strategies().into_iter().map(|(op, _)| op).collect();
    assert_eq!(here, REGISTRY.iter().map(|op| op.spec().name).collect());
}

/// And none of its tensors and keys: each is in some request that is drawn, and missing from another where it may be.
#[test]
fn every_tensor_and_key_is_drawn() {
    let mut missing = vec![];
    for (name, strategy) in strategies() {
        let spec = find(name).unwrap().spec();
        let mut runner = TestRunner::new(config(name));
        let plans: Vec<Plan> = (0..300).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
        let mut sometimes = |what: String, optional: bool, has: &dyn Fn(&Plan) -> bool| {
            let count = plans.iter().filter(|plan| has(plan)).count();
            if count == 0 || (optional && count == plans.len()) {
                missing.push(format!("{name}: {what} in {count} of {}", plans.len()));
            }
        };
        for input in spec.inputs {
            sometimes(input.first(), input.optional, &|plan| plan.names().any(|name| input.takes(name)));
        }
        for output in spec.outputs.iter().filter(|output| output.upstream) {
            sometimes(format!("d_{}", output.name), true, &|plan| plan.names().any(|name| name == format!("d_{}", output.name)));
        }
        for key in spec.keys {
            sometimes(key.name.into(), true, &|plan| plan.settings.iter().any(|(set, _)| *set == key.name));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The runner must be able to fail, on a device as well, and must name the smallest request that does.
#[test]
fn a_wrong_result_is_found_and_shrunk() {
    let config = || Config { failure_persistence: None, ..config("softmax") };
    let (gpu, softmax) = (open(), find("softmax").unwrap());
    let wrong = |request: &Request| {
        let mut other = request.clone();
        if let Some(wattn::Data::F32(x)) = other.tensors.get_mut("x").map(|x| x.data_mut()) {
            x.iter_mut().for_each(|x| *x += if request.tensors["x"].shape().len() > 1 { *x } else { 0.0 });
        }
        let expected = Expected::new(softmax, &other).map_err(|e| e.to_string())?;
        outcome(&gpu, softmax, request, &expected).map(drop)
    };
    let message = run(config(), &rows::softmax(), wrong).unwrap_err();
    assert!(message.contains("over the budget") && message.contains("wattn run softmax "), "{message}");
    // The smallest of those with a dimension beside the columns: one row, with as few columns as can be wrong.
    assert!(message.contains("x [1,1]") || message.contains("x [1,2]"), "{message}");
}

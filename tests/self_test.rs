//! The self-test finds what a driver gets wrong, names it, and says what to leave out. A driver that miscompiles is made by giving a process
//! shaders of its own, which are wrong where a flag is raised.

#[path = "common/alone.rs"]
mod alone;
mod common;

use std::path::Path;

use alone::run_alone;
use wattn::gpu::Optional;
use wattn::{Error, Gpu, GpuOptions};

const CHILD: &str = "WATTN_TEST_MISCOMPILED";

fn open() -> Gpu {
    common::open(GpuOptions::default())
}

/// Runs the test `name` again in a process whose shader `file` has `wrong` in place of `right`.
fn miscompiled(name: &str, file: &str, right: &str, wrong: &str) {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders").join(file)).unwrap();
    assert!(text.contains(right), "{file} has no '{right}'");
    let path = dir.path().join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text.replace(right, wrong)).unwrap();
    run_alone(name, |child| _ = child.env(CHILD, "1").env("WATTN_SHADERS", dir.path()));
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn a_right_driver() {
    let gpu = open();
    let test = gpu.self_test().unwrap();
    assert!(test.ran >= wattn::ops::REGISTRY.len() && test.faults.is_empty() && test.without.is_empty(), "{test:?}");
    assert_eq!(test.into_safe().unwrap().caps(), gpu.caps());
}

#[test]
fn wrong_subgroup_operations() {
    let gpu = open();
    if !gpu.caps().subgroups {
        return println!("not run: this device has no subgroups");
    }
    if !is_child() {
        return miscompiled("wrong_subgroup_operations", "lib/reduce.wgsl", "subgroupAdd(", "2.0 * subgroupAdd(");
    }
    let test = gpu.self_test().unwrap();
    let named = |fault: &wattn::ops::Fault| {
        fault.op == "softmax" && fault.variants.iter().any(|v| v.contains("softmax/forward") && v.contains("+SUBGROUPS"))
    };
    assert!(test.faults.iter().any(named), "{:?}", test.faults);
    assert_eq!(test.without, [Optional::Subgroups]);
    let safe = test.into_safe().unwrap();
    assert!(!safe.caps().subgroups && gpu.caps().subgroups);
    assert!(safe.self_test().unwrap().faults.is_empty());
}

#[test]
fn nothing_right() {
    if !is_child() {
        return miscompiled("nothing_right", "sum/backward.wgsl", "d_x[", "d_x[1u + ");
    }
    let test = open().self_test().unwrap();
    assert!(test.safe.is_none() && test.faults.iter().any(|fault| fault.op == "sum"), "{:?}", test.faults);
    let error = test.into_safe().unwrap_err();
    assert!(matches!(&error, Error::Wrong { faults } if faults.contains("sum/backward")), "{error}");
}

/// What is left out is refused or not used, and the handle it was taken from still has it.
#[test]
fn a_handle_without_features() {
    let gpu = open();
    let less = gpu.without(&Optional::ALL);
    assert!(Optional::ALL.iter().all(|&feature| !less.caps().has(feature)));
    let halves = less.tensor(&[wattn::f16::ONE; 4], &[4]);
    assert!(matches!(halves, Err(Error::Dtype { .. })));
    assert_eq!(gpu.tensor(&[wattn::f16::ONE; 4], &[4]).is_ok(), gpu.caps().f16);
    // Tensors of one handle are tensors of the other.
    let x = less.tensor(&[1.0f32; 8], &[2, 4]).unwrap();
    let sum = wattn::ops::sum::forward(&gpu, &x, &Default::default()).unwrap();
    assert_eq!(sum.read_blocking::<f32>().unwrap(), [8.0]);
}

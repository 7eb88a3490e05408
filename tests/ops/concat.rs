use crate::{floats, normal, run, try_run};
use wattn::Error;

crate::cases!("concat");

/// Along the first dimension it is one list behind the other.
#[test]
fn lists_follow_one_another() {
    let parts = [normal(1, &[3, 2]), normal(2, &[1, 2]), normal(3, &[5, 2])];
    let y = run("concat", &[("x0", &parts[0]), ("x1", &parts[1]), ("x2", &parts[2])], &[]);
    assert_eq!(floats(&y["y"]), parts.iter().flat_map(|part| floats(part).to_vec()).collect::<Vec<_>>());
}

#[test]
fn numbers_have_no_gaps() {
    let part = normal(1, &[2]);
    let error = try_run(crate::gpu(), "concat", &[("x0", &part), ("x2", &part)], &[]).unwrap_err();
    assert!(matches!(error, Error::Tensors { .. }), "{error}");
    let error = try_run(crate::gpu(), "concat", &[("x1", &part)], &[]).unwrap_err();
    assert!(matches!(error, Error::Tensors { .. }), "{error}");
}

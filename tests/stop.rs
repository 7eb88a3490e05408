//! Ctrl-C: the first is a wish, the second an order.
#![cfg(all(feature = "cli", unix))]

#[path = "common/program.rs"]
mod program;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wattn::cli::progress::{catch_stop, stopped};

/// What the process of this test is to do.
const ROLE: &str = "WATTN_TEST_STOP";

/// Takes steps until it is asked to stop, if it asks.
fn steps(asks: bool) {
    catch_stop().unwrap();
    // Once is enough.
    catch_stop().unwrap();
    println!("ready");
    for _ in 0..2_000 {
        std::thread::sleep(Duration::from_millis(10));
        if asks && stopped() {
            println!("saved");
            return;
        }
    }
}

fn child(name: &str, role: &str) -> (Child, impl Iterator<Item = String>) {
    let mut command = program::this_program();
    command.args(["--exact", name, "--nocapture"]).env(ROLE, role).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.ends_with("ready")));
    (child, lines)
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn the_first_lets_the_step_end() {
    if std::env::var_os(ROLE).is_some() {
        return steps(true);
    }
    for name in ["INT", "TERM"] {
        let (child, mut lines) = child("the_first_lets_the_step_end", "asks");
        signal(&child, name);
        assert!(lines.any(|line| line == "saved"));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("stopping after this step"));
    }
}

#[test]
fn the_second_ends_the_process() {
    if std::env::var_os(ROLE).is_some() {
        return steps(false);
    }
    let (mut child, _lines) = child("the_second_ends_the_process", "does not ask");
    signal(&child, "INT");
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("once more stops at once")));
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

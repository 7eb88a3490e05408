//! Checkpoints of processes that are killed while they save, and on disks that are full.
#![cfg(feature = "cli")]

#[cfg(unix)]
#[path = "common/limited.rs"]
mod limited;
#[path = "common/program.rs"]
mod program;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wattn::Array;
use wattn::io::checkpoint::{self, Model, Progress, Row};
use wattn::ops::philox::Rng;
use wattn::tasks::vocabulary::Vocabularies;

/// The directory that a process of this test is to save to.
const DIR: &str = "WATTN_TEST_CHECKPOINT";

/// Elements of each tensor: enough for a save to take some time.
const ELEMENTS: usize = 50_000;

/// A checkpoint in which everything says of which step it is.
fn at(step: u64) -> (Model<u64>, Progress<u64>) {
    let tensors = |prefix: &str| (0..4).map(|i| (format!("{prefix}{i}"), Array::f32(&[ELEMENTS], vec![step as f32; ELEMENTS]))).collect();
    let row = |epoch| Row {
        epoch,
        step: epoch,
        train_loss: 0.1,
        valid_loss: None,
        score: None,
        learning_rate: 0.1,
        tokens_per_s: 1.0,
        seconds: 1.0,
    };
    let model = Model { task: "test".into(), config: step, vocabularies: Vocabularies::default(), weights: tensors("w") };
    (model, Progress { state: tensors("m"), position: step, log: (1..=step).map(row).collect() })
}

/// The step of the checkpoint, all parts of which must be of that step.
fn step(dir: &Path) -> u64 {
    let model: Model<u64> = checkpoint::load(dir, "test").unwrap();
    let step = model.config;
    assert_eq!((model, checkpoint::load_progress(dir).unwrap()), at(step));
    step
}

fn child(name: &str, dir: &Path) -> Command {
    let mut command = program::this_program();
    command.args(["--exact", name, "--nocapture"]).env(DIR, dir).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Reads what the child says until it has saved this often, or has ended.
fn wait(child: &mut Child, saves: usize) {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    lines.map_while(Result::ok).filter(|line| line.contains("saved")).take(saves).for_each(drop);
}

#[test]
fn a_process_killed_at_any_moment_leaves_a_whole_checkpoint() {
    const NAME: &str = "a_process_killed_at_any_moment_leaves_a_whole_checkpoint";
    if let Some(dir) = std::env::var_os(DIR) {
        let dir = Path::new(&dir);
        for next in step(dir) + 1.. {
            let (model, progress) = at(next);
            checkpoint::save(dir, &model, &progress).unwrap();
            println!("saved {next}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (model, progress) = at(1);
    checkpoint::save(dir.path(), &model, &progress).unwrap();
    let mut rng = Rng::new(17);
    let (mut reached, mut halfway) = (1, 0);
    for _ in 0..20 {
        let mut child = child(NAME, dir.path()).spawn().unwrap();
        wait(&mut child, 1);
        std::thread::sleep(Duration::from_micros(rng.below(30_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        halfway += usize::from([".writing", ".done"].iter().any(|name| dir.path().join(name).exists()));
        let now = step(dir.path());
        assert!(now > reached, "{now} after {reached}");
        reached = now;
    }
    // Saving is all that the child does, so that most of the kills hit one.
    assert!(halfway >= 5, "{halfway} of 20 kills were during a save");
}

#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing() {
    const NAME: &str = "a_full_disk_loses_nothing";
    if let Some(dir) = std::env::var_os(DIR) {
        let (model, progress) = at(2);
        let error = checkpoint::save(Path::new(&dir), &model, &progress).unwrap_err();
        println!("{error}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (model, progress) = at(1);
    checkpoint::save(dir.path(), &model, &progress).unwrap();
    let output = limited::with_small_files(&child(NAME, dir.path()), 100).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("model.safetensors: ") && said.contains("; the checkpoint that was there is kept"), "{said}");
    assert!(!said.contains(".writing"), "{said}");
    assert_eq!(step(dir.path()), 1);
    assert!(!dir.path().join(".writing").exists());
}

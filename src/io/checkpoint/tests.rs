use std::fs;

use super::files::{DONE, FILES, WRITING};
use super::*;
use crate::tasks::{Unit, Vocabulary};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Size {
    hidden: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Position {
    step: u64,
    best: f64,
}

/// A checkpoint in which everything is of one step.
fn at(step: u64) -> (Model<Size>, Progress<Position>) {
    let array = Array::f32(&[2, 3], vec![step as f32; 6]);
    let vocabulary = Vocabulary::of(Unit::Characters, [format!("abc{step}").as_str()], 1);
    let model = Model {
        task: "translate".into(),
        config: Size { hidden: step as usize },
        vocabularies: Vocabularies([("source".to_string(), vocabulary)].into()),
        weights: [("w".to_string(), array.clone())].into(),
    };
    let row = |epoch| Row {
        epoch,
        step: 7 * epoch,
        train_loss: 0.1 + epoch as f64,
        valid_loss: None,
        score: (epoch % 2 == 0).then_some(1.0 / 3.0),
        learning_rate: 1e-3,
        tokens_per_s: 1e5,
        seconds: 1.5,
    };
    let log = (1..=step).map(row).collect();
    // Numbers that 53 bits do not hold, or that decimals hold only if they are many.
    let position = Position { step: u64::MAX - step, best: 0.1 + 0.2 };
    (model, Progress { state: [("m.w".to_string(), array)].into(), position, log })
}

fn put(dir: &Path, step: u64) {
    let (model, progress) = at(step);
    save(dir, &model, &progress).unwrap();
}

#[track_caller]
fn holds(dir: &Path, step: u64) {
    assert_eq!((load::<Size>(dir, "translate").unwrap(), load_progress::<Position>(dir).unwrap()), at(step));
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_saved_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), 0);
    holds(dir.path(), 0);
    put(dir.path(), 3);
    holds(dir.path(), 3);
    assert_eq!(names(dir.path()), ["config.json", "log.csv", "model.safetensors", "state.safetensors", "vocab.txt"]);
    assert_eq!(task(dir.path()).unwrap(), "translate");
    let log = fs::read_to_string(dir.path().join(LOG)).unwrap();
    assert!(
        log.starts_with("epoch,step,train_loss,valid_loss,score,learning_rate,tokens_per_s,seconds\n1,7,1.1,,,0.001,100000.0,1.5\n"),
        "{log}"
    );
}

/// Every state that a process can leave behind, put together by hand.
#[test]
fn a_death_at_any_moment_leaves_a_whole_checkpoint() {
    let newer = tempfile::tempdir().unwrap();
    put(newer.path(), 2);
    let copy = |name: &str, to: &Path| {
        fs::copy(newer.path().join(name), to.join(name)).unwrap();
    };
    // While the files are written, the last of them half.
    for count in 0..=FILES.len() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), 1);
        let writing = dir.path().join(WRITING);
        fs::create_dir(&writing).unwrap();
        FILES[..count].iter().for_each(|name| copy(name, &writing));
        if let Some(last) = FILES[..count].last() {
            let bytes = fs::read(writing.join(last)).unwrap();
            fs::write(writing.join(last), &bytes[..bytes.len() / 2]).unwrap();
        }
        holds(dir.path(), 1);
        put(dir.path(), 3);
        holds(dir.path(), 3);
        assert_eq!(names(dir.path()).len(), FILES.len());
    }
    // While they are moved to their places.
    for moved in 0..=FILES.len() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), 1);
        let done = dir.path().join(DONE);
        fs::create_dir(&done).unwrap();
        FILES[..moved].iter().for_each(|name| copy(name, dir.path()));
        FILES[moved..].iter().for_each(|name| copy(name, &done));
        holds(dir.path(), 2);
        claim(dir.path(), true).unwrap();
        holds(dir.path(), 2);
        assert_eq!(names(dir.path()).len(), FILES.len());
    }
    // The first save of all.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(WRITING)).unwrap();
    assert!(task(dir.path()).unwrap_err().to_string().contains("holds no checkpoint"));
}

#[test]
fn directories_of_something_else_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path, part: &str| {
        let error = claim(path, false).unwrap_err();
        assert!(error.is_input_fault() && error.to_string().contains(part), "{error}");
    };
    claim(dir.path(), false).unwrap();
    claim(&dir.path().join("new/deep"), false).unwrap();
    assert!(dir.path().join("new/deep").is_dir());

    let file = dir.path().join("notes.txt");
    fs::write(&file, "mine").unwrap();
    refused(dir.path(), "is not empty and holds no checkpoint");
    refused(&file, "is a file");
    assert!(claim(&file, true).is_err());
    claim(dir.path(), true).unwrap();
    put(dir.path(), 1);
    refused(dir.path(), "--resume goes on with it");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = |part: &str| {
        let error = load::<Size>(dir.path(), "translate").map(|_| ()).and_then(|()| load_progress::<Position>(dir.path()).map(|_| ()));
        let error = error.unwrap_err();
        assert!(error.is_input_fault() && error.to_string().contains(part), "{error}");
    };
    error("there is no config.json");
    let config = |text: &str| fs::write(dir.path().join(CONFIG), text).unwrap();
    config("{}");
    error("missing field `format`");
    config(r#"{"format": "other", "task": "translate", "config": {"hidden": 1}}"#);
    error("format 'other'; expected 'wattn checkpoint 1'");
    put(dir.path(), 1);
    config(r#"{"format": "wattn checkpoint 1", "task": "tag", "config": {"hidden": 1}}"#);
    error("is a model for 'tag'; expected one for 'translate'");
    config(r#"{"format": "wattn checkpoint 1", "task": "translate", "config": {}}"#);
    error("missing field `hidden`");
    for (name, part) in
        [(VOCABULARIES, "vocab.txt: line 1"), (MODEL, "model.safetensors: "), (STATE, "state.safetensors: "), (LOG, "log.csv: ")]
    {
        put(dir.path(), 1);
        fs::write(dir.path().join(name), "a,b\n1\n").unwrap();
        error(part);
        fs::remove_file(dir.path().join(name)).unwrap();
        error(name);
    }
    assert!(matches!(task(&dir.path().join("absent")), Err(Error::Io { .. })));
}

#[test]
fn what_cannot_be_written_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), 1);
    let (mut model, mut progress) = at(2);
    model.weights.insert("__metadata__".into(), Array::u8(&[1], vec![0]));
    let error = save(dir.path(), &model, &progress).unwrap_err().to_string();
    assert!(error.contains("model.safetensors: no tensor can be named") && !error.contains(WRITING), "{error}");
    holds(dir.path(), 1);
    model.weights.remove("__metadata__");
    progress.state.insert(POSITION.into(), Array::u8(&[1], vec![0]));
    assert!(save(dir.path(), &model, &progress).is_err());
    holds(dir.path(), 1);
    assert_eq!(names(dir.path()).len(), FILES.len());
}

//! `wattn train` and `wattn predict` from outside: training that is killed and goes on, the same bits twice, what is refused. Tests on a device fail
//! without one.
#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;
#[cfg(unix)]
#[path = "common/limited.rs"]
mod limited;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use command::{Ran, command, finish, wattn};
use wattn::io;
use wattn::ops::philox::Rng;

/// Words and the same backwards.
const PAIRS: [&str; 12] = ["ab", "ba", "cab", "bac", "abc", "cba", "aab", "bba", "ccb", "acb", "bca", "cc"];

/// Sentences with a predicate in the second column.
const COLUMNS: &str = "Anna - B-A0\nsaw V O\nhim - B-A1\n\nold - B-A1\nhats - I-A1\nhe V O\nsold - O\n\nBern - B-A0\nsaw V O\nit - B-A1\n";

/// A folder with examples.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let line = |word: &&str| format!("{word}\t{}\n", word.chars().rev().collect::<String>());
        std::fs::write(dir.path().join("pairs.tsv"), PAIRS.iter().map(line).collect::<String>()).unwrap();
        std::fs::write(dir.path().join("valid.tsv"), PAIRS[..3].iter().map(line).collect::<String>()).unwrap();
        std::fs::write(dir.path().join("columns.txt"), COLUMNS).unwrap();
        Folder(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_string()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.0.path().join(name), text).unwrap();
        self.path(name)
    }

    /// A small training of the translator to `out`.
    fn train(&self, out: &str, args: &[&str]) -> Command {
        let (train, valid, out) = (self.path("pairs.tsv"), self.path("valid.tsv"), self.path(out));
        let fixed = ["train", "translate", "--train", &train, "--valid", &valid, "--out", &out];
        let hidden: &[&str] = if args.contains(&"--hidden") { &[] } else { &["--hidden", "6"] };
        command(&[&fixed[..], &SMALL, hidden, args].concat())
    }

    fn predict(&self, args: &[&str], input: &str) -> Ran {
        let file = self.write("input.txt", input);
        wattn(&[&["predict", &self.path(args[0]), &file], &args[1..]].concat())
    }
}

const SMALL: [&str; 8] = ["--embedding", "5", "--batch", "4", "--warm-up", "2", "--seed", "3"];

fn run(mut command: Command, more: &[&str]) -> Ran {
    command.args(more);
    finish(command)
}

/// What must be the same however often a run was interrupted: everything but how long it took.
fn trained(dir: &str) -> (Vec<u8>, wattn::ops::Arrays, Vec<Vec<String>>) {
    let dir = Path::new(dir);
    let mut state = io::read(&dir.join("state.safetensors")).unwrap();
    state.remove("position").unwrap();
    let log = std::fs::read_to_string(dir.join("log.csv")).unwrap();
    let log = log.lines().map(|line| line.split(',').take(6).map(String::from).collect()).collect();
    (std::fs::read(dir.join("model.safetensors")).unwrap(), state, log)
}

#[test]
fn a_run_that_is_killed_goes_on_to_the_same_weights() {
    let folder = Folder::new();
    let args = ["--device", "cpu", "--epochs", "40", "--patience", "40", "--save-every", "1", "--dropout", "0.2", "--resume"];
    let begun = Instant::now();
    run(folder.train("whole", &args), &[]).succeeded();
    let whole = begun.elapsed();
    let mut rng = Rng::new(5);
    let (mut kills, mut during_a_save) = (0, 0);
    while kills < 20 {
        let mut child = folder.train("killed", &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // A twelfth of the whole at most, and half of that in the mean: twenty of them do not reach the end.
        std::thread::sleep(whole.mul_f64(rng.uniform() / 12.0) + Duration::from_millis(10));
        if child.try_wait().unwrap().is_some() {
            // On a machine that has become faster it is over already: another beginning, other moments.
            std::fs::remove_dir_all(folder.path("killed")).unwrap();
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let halfway = [".writing", ".done"].iter().any(|name| Path::new(&folder.path("killed")).join(name).exists());
        during_a_save += usize::from(halfway);
    }
    assert!(during_a_save > 0, "none of {kills} kills was during a save");
    run(folder.train("killed", &args), &[]).succeeded();
    assert_eq!(trained(&folder.path("killed")), trained(&folder.path("whole")));
}

#[test]
fn a_device_gives_the_same_bits_twice_and_learns() {
    let folder = Folder::new();
    let args = ["--epochs", "80", "--lr", "0.02", "--dropout", "0", "--hidden", "16", "--patience", "80", "--json"];
    let summary = run(folder.train("one", &args[..]), &[]).succeeded().json();
    run(folder.train("two", &args), &[]).succeeded();
    assert_eq!(trained(&folder.path("one")), trained(&folder.path("two")));
    assert_eq!((&summary["metric"], &summary["epochs"], &summary["steps"]), (&"exact".into(), &80.into(), &240.into()));
    assert_eq!(summary["valid"], 1.0, "{summary}");
    let answers = folder.predict(&["one"], "cab\n\nab\n").succeeded();
    assert_eq!(answers.out, "bac\n\nba\n");
    // Files are where users look for them, and the curve is a picture.
    for name in ["model.safetensors", "config.json", "vocab.txt", "state.safetensors", "log.csv", "curve.svg"] {
        assert!(Path::new(&folder.path("one")).join(name).is_file(), "{name}");
    }
    let beam = folder.predict(&["one", "--beam", "3", "--device", "cpu"], "cab\n").succeeded();
    assert_eq!(beam.out, "bac\n");
    for name in ["a.svg", "a.png", "a.html"] {
        let seen = folder.predict(&["one", "--attention", &folder.path(name), "--show-attention"], "cab\nab\n").succeeded();
        assert_eq!(seen.out, "bac\nba\n");
        assert!(seen.err.contains("cab → bac") && seen.err.contains('█'), "{}", seen.err);
        assert!(std::fs::metadata(folder.path(name)).unwrap().len() > 500);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_resume_goes_on() {
    let folder = Folder::new();
    let args = ["--device", "cpu", "--epochs", "60", "--patience", "60"];
    run(folder.train("whole", &args), &[]).succeeded();
    let child = folder.train("stopped", &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    // The first checkpoint says that Ctrl-C is listened to.
    while !Path::new(&folder.path("stopped")).join("config.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("stopped after step") && said.contains("--resume goes on"), "{said}");
    run(folder.train("stopped", &args), &["--resume"]).succeeded();
    assert_eq!(trained(&folder.path("stopped")), trained(&folder.path("whole")));
    // More epochs may follow, other sizes may not.
    run(folder.train("stopped", &["--device", "cpu", "--epochs", "61"]), &["--resume", "--patience", "61"]).succeeded();
    let refused = run(folder.train("stopped", &["--device", "cpu", "--resume"]), &["--layers", "2"]);
    refused.failed(2, "train: --layers = 2; expected 1, with which the run in");
    folder.write("pairs.tsv", "ab\tba\n");
    run(folder.train("stopped", &["--device", "cpu", "--resume"]), &[]).failed(2, "the examples to learn from are not those");
}

#[test]
fn training_ends_when_nothing_becomes_better() {
    let folder = Folder::new();
    // With this rate nothing changes in the first digits of the loss; ties do not count as better.
    let ran = run(
        folder.train("model", &["--device", "cpu", "--epochs", "50", "--lr", "1e-30", "--weight-decay", "0"]),
        &["--patience", "2", "--json"],
    );
    let summary = ran.succeeded().json();
    assert_eq!((&summary["epochs"], &summary["best_epoch"]), (&3.into(), &1.into()), "{summary}");
}

#[test]
fn tags_with_and_without_columns() {
    let folder = Folder::new();
    let columns = folder.path("columns.txt");
    let out = folder.path("tagger");
    let args = ["train", "tag", "--train", &columns, "--valid", &columns, "--predicate-column", "2", "--out", &out, "--score", "dot"];
    let more =
        ["--epochs", "60", "--lr", "0.03", "--hidden", "8", "--dropout", "0", "--min-count", "1", "--device", "cpu", "--patience", "60"];
    let ran = wattn(&[&args[..], &SMALL, &more].concat()).succeeded();
    assert!(ran.out.contains("F1 100.00 % after epoch"), "{}", ran.out);
    let plain = folder.predict(&["tagger"], "Anna *saw* him\n\nold hats *he* sold\n").succeeded();
    assert_eq!(plain.out, "B-A0 O B-A1\n\nB-A1 I-A1 O O\n");
    let rows = folder.predict(&["tagger", "--columns"], COLUMNS).succeeded();
    let expected: String = COLUMNS.lines().map(|line| format!("{}\n", line.split(' ').next_back().unwrap())).collect();
    assert_eq!(rows.out, expected);
    let picture = folder.path("self.html");
    folder.predict(&["tagger", "--attention", &picture], "Anna *saw* him\n").succeeded();
    assert!(std::fs::read_to_string(picture).unwrap().contains("Anna"));
    folder.predict(&["tagger"], "Anna saw him\n").failed(2, "line 1: no token is marked as the predicate");
    folder.predict(&["tagger", "--columns"], "Anna\n").failed(2, "line 1: there is no column 2");
    folder.predict(&["tagger", "--beam", "2"], "Anna\n").failed(2, "--beam");
}

#[test]
fn bad_input_is_refused_and_nothing_is_overwritten() {
    let folder = Folder::new();
    let fast = ["--device", "cpu", "--epochs", "1"];
    run(folder.train("model", &fast), &[]).succeeded();
    let before = trained(&folder.path("model"));
    run(folder.train("model", &fast), &[]).failed(2, "there is a checkpoint already");
    run(folder.train("pairs.tsv", &fast), &[]).failed(2, "is a file");
    run(folder.train("", &fast), &[]).failed(2, "is not empty and holds no checkpoint");
    for (text, part) in [("", "the file is empty"), ("ab\n", "line 1 has no tab"), ("ab\t\n", "line 1: the source or the target is empty")]
    {
        let wrong = folder.write("wrong.tsv", text);
        let args = ["train", "translate", "--train", &wrong, "--out", &folder.path("none"), "--device", "cpu"];
        wattn(&args).failed(2, part);
    }
    for (args, part) in [
        (&["--lr", "0"][..], "--lr = 0; expected a rate above 0"),
        (&["--dropout", "1"], "--dropout = 1"),
        (&["--clip=-1"], "--clip = -1"),
        (&["--layers", "0"], "0 is not in 1..=64"),
        (&["--cell", "lstn"], "expected rnn, gru or lstm"),
        (&["--directions", "3"], "3 is not in 1..=2"),
        (&["--generate"], "cannot be used with"),
        (&["--heads", "5"], "a divisor of 6"),
        (&["--device", "no such adapter"], "'no such adapter'"),
    ] {
        let (code, ran) = (2, run(folder.train("none", &[]), args));
        assert!(ran.code == code && ran.err.contains(part), "{args:?}: {}", ran.err);
    }
    wattn(&["train", "translate", "--out", &folder.path("none")]).failed(2, "--train = (missing); expected --train FILE, or --generate");
    wattn(&["train", "tag", "--generate", "places", "--predicate-column", "2", "--out", &folder.path("none")])
        .failed(2, "--generate roles");
    assert!(!Path::new(&folder.path("none")).exists());
    run(folder.train("diverged", &["--device", "cpu", "--clip", "0"]), &["--lr", "1e30"]).failed(1, "the loss is");

    folder.predict(&["model"], "ab\nxä\n").failed(2, "input.txt: line 2: 'x', character 1 of the text, is none of the 3");
    folder.predict(&["model"], "").failed(2, "there is no text");
    folder.predict(&["model", "--attention", "a.jpg"], "ab\n").failed(2, ".svg, .png or .html");
    folder.predict(&["model", "--columns"], "ab\n").failed(2, "--columns");
    folder.predict(&["absent"], "ab\n").failed(2, "absent");
    folder.predict(&["."], "ab\n").failed(2, "holds no checkpoint");
    let columns = folder.path("columns.txt");
    let other = ["train", "tag", "--train", &columns, "--out", &folder.path("model"), "--resume", "--device", "cpu"];
    wattn(&other).failed(2, "is a model for 'translate'; expected one for 'tag'");

    // The weights of a model with other sizes.
    run(folder.train("larger", &["--device", "cpu", "--epochs", "1", "--hidden", "7"]), &[]).succeeded();
    std::fs::copy(folder.path("larger/model.safetensors"), folder.path("model/model.safetensors")).unwrap();
    folder.predict(&["model"], "ab\n").failed(2, "model: ");
    std::fs::write(folder.path("model/model.safetensors"), &before.0).unwrap();
    assert_eq!(trained(&folder.path("model")), before);
    run(folder.train("model", &fast), &["--force", "--lr", "0.01"]).succeeded();
    assert_ne!(trained(&folder.path("model")).0, before.0);
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_training_and_keeps_the_checkpoint() {
    let folder = Folder::new();
    run(folder.train("model", &["--device", "cpu", "--epochs", "1"]), &[]).succeeded();
    let before = trained(&folder.path("model"));
    let inner = folder.train("model", &["--device", "cpu", "--epochs", "2", "--resume"]);
    let ran = finish(limited::with_small_files(&inner, 8));
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("; the checkpoint that was there is kept"), "{}", ran.err);
    assert_eq!(trained(&folder.path("model")), before);
}

//! What scripts/bench-compare says about two records: ratios, warnings, and why it refuses.
#![cfg(feature = "cli")]

#[path = "../benches/record/compare.rs"]
#[allow(dead_code, reason = "its main is the script's")]
mod compare;

use std::path::PathBuf;

const HEADING: &str = "date,commit,command,device,driver,op,case,shape,runs,fastest_ms,median_ms,gflops,gbytes_per_s,clock,load";

/// A row whose device and driver hold commas, as llvmpipe's do.
fn row(commit: &str, case: &str, shape: &str, fastest: f64, median: f64, ends: &str) -> String {
    format!(
        "2026-11-21,{commit},cargo bench,\"soft (LLVM 15, 256 bits)\",\"soft 1,0\",{case},\"{shape}\",10,{fastest:.4},{median:.4},1,1,{ends}\n"
    )
}

struct Records(tempfile::TempDir);

impl Records {
    fn new(old: &str, new: &str) -> Self {
        let records = Records(tempfile::tempdir().unwrap());
        for (name, text) in [("old.csv", old), ("new.csv", new)] {
            std::fs::write(records.path(name), text).unwrap();
        }
        records
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// On a machine with two cores.
    fn compare(&self, filter: &[&str]) -> (u8, String) {
        let files = ["old.csv", "new.csv"].map(|name| self.path(name).into_os_string());
        compare::run(["bench-compare".into()].into_iter().chain(files).chain(filter.iter().map(Into::into)), 2)
    }

    /// What it says when it compares.
    #[track_caller]
    fn said(&self, filter: &[&str]) -> String {
        let (code, text) = self.compare(filter);
        assert_eq!(code, 0, "{text}");
        text
    }
}

/// The words of the row that begins so.
fn words<'a>(text: &'a str, case: &str) -> Vec<&'a str> {
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(&format!("{case} "))).collect();
    assert_eq!(rows.len(), 1, "{case}: {text}");
    rows[0].split_whitespace().collect()
}

fn warnings(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("warning: ")).collect()
}

fn two() -> Records {
    let of = |commit, halves: [f64; 3], rest: String| {
        let [a, b, c] = halves;
        let rows = [row(commit, "matmul,a", "2,3", 0.9 * a, a, "gpu,1.5"), row(commit, "matmul,b", "4,5", b, b, "gpu,2.9")];
        [HEADING, "\n", &rows.concat(), &row(commit, "sum,a", "6", c, c, "gpu,"), &rest].concat()
    };
    let old = of("0000aaaa", [8.0, 3.0, 1.0], row("0000aaaa", "sum,gone", "1", 1.0, 1.0, "gpu,1"));
    // The shape of a case is a part of what it is.
    let new = of("1111bbbb", [2.0, 6.0, 1.0], row("1111bbbb", "sum,gone", "2", 1.0, 1.0, "gpu,1"));
    Records::new(&old, &new)
}

#[test]
fn ratios_are_old_over_new() {
    let text = two().said(&[]);
    assert_eq!(words(&text, "matmul/a"), "matmul/a 2,3 8.0000 ms 2.0000 ms 4.000 7.2000 ms 1.8000 ms".split(' ').collect::<Vec<_>>());
    assert_eq!(words(&text, "matmul/b")[6], "0.500");
    assert_eq!(words(&text, "sum/a")[6], "1.000");
    // The cube root of 4 * 0.5 * 1.
    assert_eq!(text.lines().last().unwrap(), "geometric mean of old/new over 3 cases: 1.260 (above 1 is faster)");
    assert!(text.contains("only in old: sum/gone 1\n") && text.contains("only in new: sum/gone 2\n"), "{text}");
    for part in ["commit 0000aaaa, 2026-11-21; soft (LLVM 15, 256 bits); soft 1,0\n", "commit 1111bbbb, 2026-11-21; "] {
        assert!(text.contains(part), "{text}");
    }
    assert!(warnings(&text).is_empty(), "{text}");
}

#[test]
fn a_filter_is_a_part_of_the_name() {
    let text = two().said(&["matmul/"]);
    assert!(!text.contains("sum/"), "{text}");
    assert_eq!(text.lines().last().unwrap(), "geometric mean of old/new over 2 cases: 1.414 (above 1 is faster)");
    let (code, text) = two().compare(&["lstm"]);
    assert!(code == 1 && text.contains("no case in common whose name contains 'lstm'"), "{code} {text}");
}

#[test]
fn what_is_not_alike_is_warned_of() {
    let line = |ends| row("c", "sum,a", "6", 1.0, 1.0, ends);
    let of = |first: &str, second: String| [HEADING, "\n", first, &second].concat();
    let (plain, other) = (line("gpu,1"), row("c", "sum,b", "6", 1.0, 1.0, "gpu,1"));
    let against = |changed: String| {
        let text = Records::new(&of(&plain, other.clone()), &of(&changed, other.clone())).said(&[]);
        warnings(&text).join("|")
    };
    assert_eq!(against(plain.clone()), "");
    assert_eq!(against(plain.replace("soft (", "hard (")), "devices differ: sum/a 6");
    assert_eq!(against(plain.replace("soft 1,0", "soft 1,1")), "drivers differ: sum/a 6");
    assert_eq!(against(line("wall,1")), "clocks differ: sum/a 6");
    assert_eq!(against(line("gpu,2.99")), "");
    assert_eq!(against(line("gpu,3")), "new: the load was up to 3.00, and this machine has 2 cores");
    assert_eq!(against(row("c", "sum,a", "6", 1.0, 1.49, "gpu,1")), "");
    assert_eq!(against(row("c", "sum,a", "6", 1.0, 1.5, "gpu,1")), "new: medians 1.5 times the fastest run or more: sum/a 6");

    let all = Records::new(&of(&plain, String::new()), &of(&plain.replace("soft (", "hard ("), String::new())).said(&[]);
    assert_eq!(warnings(&all), ["devices differ: all cases"]);
}

#[test]
fn what_is_no_record_is_refused() {
    let good = [HEADING, "\n", &row("c", "sum,a", "6", 1.0, 1.0, "gpu,1")].concat();
    let refused = |text: &str, part: &str| {
        for (name, records) in [("old.csv", Records::new(text, &good)), ("new.csv", Records::new(&good, text))] {
            let (code, said) = records.compare(&[]);
            assert!(code == 1 && said.starts_with("error: ") && said.contains(name) && said.contains(part), "{code} {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    };
    refused("", "empty");
    refused(&format!("{HEADING}\n"), "empty");
    refused("name,ms\na,1\n", "no record of scripts/bench-record");
    refused(&good.replace("1.0000,1.0000", "1.0000,fast"), "no record of scripts/bench-record");
    refused(&good.replace("1.0000,1.0000", "0.0000,0.0000"), "took 0 ms");
    refused(&good.replace(",gpu,1", ""), "no record of scripts/bench-record");
    refused(&format!("{good}{}", row("c", "sum,a", "6", 1.0, 1.0, "gpu,1")), "twice");

    let records = Records::new(&good, &good);
    std::fs::remove_file(records.path("new.csv")).unwrap();
    let (code, said) = records.compare(&[]);
    assert!(code == 1 && said.contains("new.csv: "), "{code} {said}");
}

#[test]
fn bad_usage_is_two() {
    let run = |args: &[&str]| compare::run(args.iter().map(Into::into), 2);
    for args in
        [&["bench-compare"][..], &["bench-compare", "a"], &["bench-compare", "a", "b", "c", "d"], &["bench-compare", "--fast", "a", "b"]]
    {
        let (code, said) = run(args);
        assert!(code == 2 && said.contains("Usage: scripts/bench-compare"), "{code} {said}");
    }
    assert_eq!(run(&["bench-compare", "--help"]).0, 0);
}

/// The records that are kept can be read, and one compared with itself is as fast.
#[test]
fn kept_records_can_be_compared() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/record");
    let files = |path: PathBuf| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let records: Vec<_> =
        files(folder).filter(|path| path.is_dir()).flat_map(files).filter(|path| path.extension().is_some_and(|e| e == "csv")).collect();
    assert!(!records.is_empty());
    for record in records {
        let (code, said) = compare::run(["bench-compare".into(), record.clone().into(), record.into()], usize::MAX);
        assert!(code == 0 && said.contains(": 1.000 (above 1 is faster)") && !said.contains("only in"), "{said}");
    }
}

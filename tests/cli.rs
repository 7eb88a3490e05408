//! The binary from outside: files in and out, exit codes, one-line errors. Tests that need an adapter fail without one.
#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use command::{command, finish, wattn};
use wattn::ops::Arrays;
use wattn::{Array, DType, io};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Dir(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_string()
    }

    /// Writes tensors and returns the file's path.
    fn file(&self, name: &str, arrays: &Arrays) -> String {
        io::write(&self.0.path().join(name), arrays).unwrap();
        self.path(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn arrays<const N: usize>(pairs: [(&str, Array); N]) -> Arrays {
    pairs.into_iter().map(|(name, array)| (name.to_string(), array)).collect()
}

/// Different numbers of no particular pattern.
fn floats(shape: &[usize]) -> Array {
    let count = shape.iter().product::<usize>();
    Array::f32(shape, (0..count).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0).collect())
}

fn read(path: &str) -> Arrays {
    io::read(Path::new(path)).unwrap()
}

fn softmax_input() -> Arrays {
    arrays([("x", floats(&[2, 3, 5])), ("d_y", floats(&[2, 3, 5])), ("mask", Array::u8(&[5], vec![1, 1, 0, 1, 1]))])
}

#[test]
fn files_go_through_the_reference_in_both_formats_and_the_same_twice() {
    let dir = Dir::new();
    let mut results = Vec::new();
    for (input, output) in [("a.npz", "b.safetensors"), ("a.safetensors", "b.npz")] {
        let input = dir.file(input, &softmax_input());
        let output = dir.path(output);
        let run = || {
            let ran = wattn(&["run", "softmax", &input, "-o", &output, "--set", "scale=0.5", "--device", "cpu"]).succeeded();
            assert!(ran.out.contains("softmax on CPU") && ran.out.contains("[2, 3, 5]"), "{}", ran.out);
            std::fs::read(&output).unwrap()
        };
        assert_eq!(run(), run());
        results.push(read(&output));
    }
    assert_eq!(results[0], results[1]);
    let got = &results[0];
    assert_eq!(got.keys().collect::<Vec<_>>(), ["d_x", "lse", "y"]);
    let y = got["y"].to_f64();
    assert!(y.chunks(5).all(|row| row[2] == 0.0 && (row.iter().sum::<f64>() - 1.0).abs() < 1e-6), "{y:?}");
}

#[test]
fn without_an_upstream_gradient_there_are_no_gradients() {
    let dir = Dir::new();
    let input = dir.file("a.npz", &arrays([("x", floats(&[3, 4]))]));
    let output = dir.path("b.npz");
    wattn(&["run", "softmax", &input, "-o", &output, "--device", "cpu"]).succeeded();
    assert_eq!(read(&output).keys().collect::<Vec<_>>(), ["lse", "y"]);
    wattn(&["run", "softmax", "--shape", "3,4", "--forward-only", "-o", &output, "--device", "cpu"]).succeeded();
    assert_eq!(read(&output).keys().collect::<Vec<_>>(), ["lse", "y"]);
    wattn(&["run", "softmax", "--shape", "3,4", "-o", &output, "--device", "cpu"]).succeeded();
    assert_eq!(read(&output).keys().collect::<Vec<_>>(), ["d_x", "lse", "y"]);
}

#[test]
fn f16_in_a_file_is_widened() {
    let dir = Dir::new();
    let narrow: Arrays = softmax_input().into_iter().map(|(name, array)| (name, array.to_float(DType::F16))).collect();
    let wide: Arrays = narrow.iter().map(|(name, array)| (name.clone(), array.to_float(DType::F32))).collect();
    let run = |name: &str, tensors: &Arrays| {
        let (input, output) = (dir.file(name, tensors), dir.path("out.npz"));
        wattn(&["run", "softmax", &input, "-o", &output, "--device", "cpu"]).succeeded();
        std::fs::read(output).unwrap()
    };
    assert_eq!(run("narrow.npz", &narrow), run("wide.npz", &wide));
}

#[test]
fn the_seed_decides_what_is_drawn() {
    let dir = Dir::new();
    let run = |name: &str, seed: &str| {
        let path = dir.path(name);
        wattn(&["run", "softmax", "--shape", "3,4", "--seed", seed, "-o", &path, "--device", "cpu"]).succeeded();
        std::fs::read(path).unwrap()
    };
    assert_eq!(run("a.npz", "7"), run("b.npz", "7"));
    assert_ne!(run("a.npz", "7"), run("b.npz", "8"));
}

#[test]
fn the_reference_is_within_its_own_budget() {
    let ran = wattn(&["run", "attention", "--shape", "2,4/2,5/7,8/6", "--compare", "--device", "cpu"]).succeeded();
    assert!(ran.out.contains("budget") && !ran.out.contains("NO"), "{}", ran.out);
}

#[test]
fn run_json_has_the_keys_that_are_promised() {
    let json = |args: &[&str]| {
        let base = ["run", "softmax", "--shape", "2,3", "--json", "--device", "cpu"];
        wattn(&[&base, args].concat()).succeeded().json()
    };
    let report = json(&["--compare"]);
    let keys: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = ["op", "device", "driver", "variants", "gpu_ms", "wall_ms", "gflops", "peak_bytes", "tensors"];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert!(report["gpu_ms"].is_null() && report["wall_ms"].is_f64());
    let tensor = &report["tensors"][0];
    assert_eq!(tensor["name"], "d_x");
    assert_eq!(tensor["ok"], true);
    assert!(tensor["max_error"].as_f64().unwrap() <= tensor["budget"].as_f64().unwrap());
    assert!(json(&[])["tensors"][0]["max_error"].is_null());
}

/// What must be refused: an operation, its tensors, further arguments, and a part of the message.
fn refused(op: &str, tensors: Arrays, args: &[&str], part: &str) {
    let dir = Dir::new();
    let input = dir.file("in.npz", &tensors);
    let output = dir.path("out.npz");
    let base = ["run", op, &input, "-o", &output, "--device", "cpu"];
    let ran = wattn(&[&base, args].concat()).failed(2, part);
    assert_eq!(ran.out, "");
    assert_eq!(dir.names(), ["in.npz"], "{op}: something was written");
}

#[test]
fn wrong_tensors_are_refused_by_name() {
    let x = || floats(&[2, 3]);
    refused("softmax", arrays([("x", x()), ("bogus", x())]), &[], "unknown tensor 'bogus'; expected x, [mask], [d_y]");
    refused("softmax", arrays([("x", x()), ("a\nb", x())]), &[], "unknown tensor 'a b'");
    refused("softmax", arrays([("x", x()), ("d_lse", floats(&[2]))]), &[], "unknown tensor 'd_lse'");
    refused("softmax", arrays([("mask", Array::u8(&[1], vec![1]))]), &[], "tensor 'x' [.., C] is missing");
    refused("softmax", arrays([("x", Array::i32(&[2], vec![1, 2]))]), &[], "'x' is i32; expected f32");
    refused("softmax", arrays([("x", x()), ("mask", x())]), &[], "'mask' is f32; expected u8");
    refused("softmax", arrays([("x", Array::f32(&[2, 0], vec![]))]), &[], "'x' has shape [2, 0]");
    refused("softmax", arrays([("x", Array::f32(&[], vec![1.0]))]), &[], "'x' has shape []");
    refused("softmax", arrays([("x", x()), ("mask", Array::u8(&[2], vec![1; 2]))]), &[], "'mask' has shape [2]");
    refused("softmax", arrays([("x", x()), ("d_y", floats(&[3, 2]))]), &[], "'d_y' has shape [3, 2]");
    refused("matmul", arrays([("a", x()), ("b", floats(&[4, 5]))]), &[], "'b' has shape [4, 5]");
}

fn qkv() -> Arrays {
    arrays([("q", floats(&[2, 4, 5, 8])), ("k", floats(&[2, 2, 7, 8])), ("v", floats(&[2, 2, 7, 6]))])
}

#[test]
fn wrong_attention_is_refused() {
    let with = |name: &str, array: Array| {
        let mut tensors = qkv();
        tensors.insert(name.into(), array);
        tensors
    };
    refused("attention", with("q", floats(&[2, 5, 8])), &[], "'q' has shape [2, 5, 8]");
    refused("attention", with("q", floats(&[2, 3, 5, 8])), &[], "a divisor of q's 3 heads");
    refused("attention", with("v", floats(&[2, 2, 6, 6])), &[], "'v' has shape");
    refused("attention", with("mask", Array::u8(&[3, 1, 5, 7], vec![1; 105])), &[], "'mask' has shape [3, 1, 5, 7]");
    refused("attention", with("bias", floats(&[2, 2, 5, 7])), &[], "'bias' has shape");
    refused("attention", with("kv_lengths", floats(&[2])), &[], "'kv_lengths' is f32; expected i32");
    refused("attention", with("kv_lengths", Array::i32(&[2], vec![3, 8])), &[], "kv_lengths");
    refused("attention", with("kv_lengths", Array::i32(&[2], vec![3, -1])), &[], "kv_lengths");
    refused("attention", qkv(), &["--set", "dropout_p=1"], "dropout_p = ");
    refused("attention", qkv(), &["--set", "scale=nan"], "scale = ");
    refused("attention", qkv(), &["--set", "causal=perhaps"], "; expected true or false");
    refused("attention", qkv(), &["--set", "path=scenic"], "path = ");
    refused("attention", qkv(), &["--set", "path=fused", "--set", "weights=true"], "path = ");
    refused("attention", qkv(), &["--set", "bogus=1"], "bogus = '1'; expected one of scale,");
    refused("attention", qkv(), &["--set", "bogus"], "--set = 'bogus'; expected KEY=VALUE");
}

#[test]
fn broken_files_are_refused_by_name() {
    let dir = Dir::new();
    for name in ["in.npz", "in.safetensors"] {
        let path = dir.file(name, &softmax_input());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
        wattn(&["run", "softmax", &path, "-o", &dir.path("out.npz"), "--device", "cpu"]).failed(2, name);
    }
    wattn(&["run", "softmax", &dir.path("absent.npz"), "-o", &dir.path("out.npz")]).failed(2, "absent.npz");
    wattn(&["run", "softmax", &dir.path("x.csv"), "-o", &dir.path("out.npz")]).failed(2, ".safetensors or .npz");
    let input = dir.file("in.npz", &softmax_input());
    wattn(&["run", "softmax", &input, "-o", &dir.path("out.csv")]).failed(2, "out.csv");
    wattn(&["run", "softmax", &input, "-o", &dir.path("no/such/out.npz")]).failed(2, "out.npz");
    wattn(&["run", "softmax", "tests/data/double.npz", "-o", &dir.path("out.npz")]).failed(2, "\"<f8\"");
    assert!(!dir.names().contains(&"out.npz".to_string()));
}

#[test]
fn wrong_arguments_are_refused_in_one_line() {
    for (args, part) in [
        (&["frob"][..], "unrecognized subcommand 'frob'"),
        (&["run"], "OP = (missing); expected one of"),
        (&["run", "nope"], "OP = 'nope'; expected one of"),
        (&["run", "softmax"], "IN = (missing)"),
        (&["run", "softmax", "a.npz"], "-o = (missing)"),
        (&["run", "softmax", "a.npz", "--shape", "2,3"], "cannot be used with"),
        (&["run", "softmax", "a.npz", "--forward-only"], "cannot be used with"),
        (&["run", "softmax", "--shape", "2,x"], "shape = 2,x"),
        (&["run", "softmax", "--shape", "0,3"], "at least 1"),
        (&["run", "softmax", "--shape=-1,3"], "shape = -1,3"),
        (&["run", "softmax", "--shape", "99999999999999999999"], "shape = 9"),
        (&["run", "softmax", "--shape", "99999999,99999999,99999999"], "shape = 9"),
        (&["run", "softmax", "--shape", "2,3", "--seed", "minus"], "invalid value 'minus'"),
        (&["run", "softmax", "--frob"], "--frob"),
        (&["verify", "nope"], "OP = 'nope'"),
        (&["verify", "--case", "nope"], "--case = 'nope'; expected one of"),
        (&["profile", "nope"], "OP = 'nope'"),
        (&["profile", "--shape", "2,3"], "one operation"),
        (&["profile", "softmax", "matmul", "--shape", "2,3"], "one operation"),
        (&["shaders", "show", "nope"], "KERNEL = 'nope'; expected one of"),
        (&["shaders", "show", "softmax/forward", "--variant", "nope"], "--variant = 'nope'"),
        (&["shaders", "show", "softmax/forward", "--to", "spirv"], "-o = (missing)"),
        (&["shaders", "show", "softmax/forward", "--to", "morse"], "[possible values: wgsl, spirv, msl, hlsl]"),
    ] {
        let ran = wattn(args).failed(2, part);
        assert_eq!(ran.out, "", "{args:?}");
    }
    assert_eq!(wattn(&[]).code, 2);
}

#[test]
fn help_is_on_stdout() {
    for args in
        [&["--help"][..], &["run", "--help"], &["verify", "--help"], &["profile", "-h"], &["shaders", "show", "--help"], &["--version"]]
    {
        let ran = wattn(args).succeeded();
        assert!(!ran.out.is_empty() && ran.err.is_empty(), "{args:?}");
    }
    for op in wattn::ops::REGISTRY {
        let spec = op.spec();
        let ran = wattn(&["run", spec.name, "--help"]).succeeded();
        let names = spec.inputs.iter().map(|i| i.name).chain(spec.outputs.iter().map(|o| o.name)).chain(spec.keys.iter().map(|k| k.name));
        for name in names {
            assert!(ran.out.contains(name), "{} {name}: {}", spec.name, ran.out);
        }
    }
}

#[test]
fn on_the_cpu_there_is_nothing_to_verify_or_profile() {
    wattn(&["verify", "softmax", "--device", "cpu"]).failed(1, "nothing to verify");
    wattn(&["profile", "softmax", "--device", "cpu"]).failed(1, "nothing to profile");
}

/// Nor a file that cannot be written: said before anything is timed.
#[test]
fn a_profile_goes_where_it_can_be_written() {
    let dir = Dir::new();
    for option in ["--csv", "--svg", "--trace"] {
        wattn(&["profile", "softmax", option, &dir.path("no/such/file")]).failed(2, "no/such/file");
        wattn(&["profile", "softmax", option, &dir.path("")]).failed(2, "directory");
        wattn(&["profile", "softmax", option, &dir.path("a"), "--device", "cpu"]).failed(1, "nothing to profile");
    }
    assert_eq!(dir.names(), Vec::<String>::new());
}

#[test]
fn shaders_need_no_device() {
    let dir = Dir::new();
    let list = wattn(&["shaders", "list", "--json", "--device", "cpu"]).succeeded().json();
    assert!(list.as_array().unwrap().iter().any(|row| row["kernel"] == "softmax/forward"), "{list}");
    wattn(&["shaders", "check"]).succeeded();
    for (language, part) in [("wgsl", "@compute"), ("msl", "metal_stdlib"), ("hlsl", "numthreads")] {
        let ran = wattn(&["shaders", "show", "softmax/forward", "--to", language]).succeeded();
        assert!(ran.out.contains(part), "{}", ran.out);
    }
    let path = dir.path("a.spv");
    wattn(&["shaders", "show", "softmax/forward", "--to", "spirv", "-o", &path]).succeeded();
    assert_eq!(std::fs::read(path).unwrap()[..4], 0x0723_0203u32.to_le_bytes());
}

#[test]
fn a_reader_that_leaves_is_no_panic() {
    let mut child = command(&["shaders", "list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.code().is_some() && output.stderr.is_empty(), "{output:?}");
}

/// The loader of Vulkan drivers can be told of none; elsewhere an adapter cannot be made to go away.
#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_the_reference_runs_and_says_so() {
    let without = |args: &[&str]| {
        let mut command = command(args);
        command.env("VK_ICD_FILENAMES", "/nonexistent").env("VK_DRIVER_FILES", "/nonexistent");
        finish(command)
    };
    let ran = without(&["run", "softmax", "--shape", "2,3", "--compare"]).succeeded();
    assert!(ran.out.contains("softmax on CPU") && ran.err.contains("no adapter"), "{}{}", ran.out, ran.err);
    without(&["verify", "softmax"]).failed(1, "no adapter");
    without(&["profile", "softmax"]).failed(1, "no adapter");
    without(&["run", "softmax", "--shape", "2,3", "--device", "0"]).failed(2, "'0'");
    assert_eq!(without(&["devices", "--json"]).succeeded().out, "[]\n");
}

// From here on an adapter is needed.

#[test]
fn devices_lists_what_json_lists() {
    let list = wattn(&["devices", "--json"]).succeeded().json();
    let list = list.as_array().unwrap();
    assert!(!list.is_empty(), "no adapter");
    let text = wattn(&["devices"]).succeeded().out;
    assert!(list.iter().all(|adapter| text.contains(adapter["name"].as_str().unwrap())), "{text}");
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    wattn(&["run", "softmax", "--shape", "2,3", "--device", "99"]).failed(2, "'99'");
    wattn(&["verify", "softmax", "--device", "no such adapter"]).failed(2, "'no such adapter'");
    let mut asked = command(&["verify", "softmax"]);
    asked.env("WATTN_DEVICE", "no such adapter");
    finish(asked).failed(2, "'no such adapter'");
}

#[test]
fn the_device_agrees_with_the_reference_and_with_itself() {
    let dir = Dir::new();
    let input = dir.file("a.npz", &softmax_input());
    let run = |name: &str| {
        let path = dir.path(name);
        let ran = wattn(&["run", "softmax", &input, "-o", &path, "--compare"]).succeeded();
        assert!(ran.out.contains("softmax/forward") && ran.out.contains("FLOP/s"), "{}", ran.out);
        std::fs::read(path).unwrap()
    };
    assert_eq!(run("b.safetensors"), run("c.safetensors"));
    let report = wattn(&["run", "softmax", "--shape", "7,65", "--compare", "--json"]).succeeded().json();
    assert!(!report["variants"].as_array().unwrap().is_empty() && report["peak_bytes"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn verify_and_profile_an_operation() {
    let rows = wattn(&["verify", "softmax", "--quick", "--json"]).succeeded().json();
    let first = rows[0].as_object().unwrap();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["case", "ok", "op", "variant", "worst"]);
    assert!(rows.as_array().unwrap().iter().all(|row| row["worst"].as_f64().unwrap() <= 1.0));
    let ran = wattn(&["verify", "softmax", "--case", "one", "--variant", "auto", "--baseline"]).succeeded();
    assert!(ran.out.contains("all 1 right"), "{}", ran.out);
    wattn(&["verify", "softmax", "--variant", "nope"]).failed(2, "--variant = 'nope'; expected one of auto");

    let rows = wattn(&["profile", "softmax", "--shape", "5,67", "--json"]).succeeded().json();
    let keys = "bound case clock device dispatches driver dtype flops_per_byte gbytes_per_s gflops gpu_ms gpu_ms_iqr launch_us op peak_f16_gflops \
                peak_f32_gflops peak_gbytes_per_s peak_matrix_gflops runs share_of_case share_of_peak submission_us variant";
    assert_eq!(rows[0].as_object().unwrap().keys().collect::<Vec<_>>(), keys.split(' ').collect::<Vec<_>>());
    assert_eq!((&rows[0]["op"], &rows[0]["case"], &rows[0]["dtype"]), (&"softmax".into(), &"5,67".into(), &"f32".into()));
    let ran = wattn(&["profile", "softmax"]).succeeded();
    assert!(ran.out.contains("softmax/backward"), "{}", ran.out);
    // What goes through time also says what a step takes.
    let rows = wattn(&["profile", "rnn", "--shape", "5,3,7,11", "--json"]).succeeded().json();
    let milliseconds = rows[0]["gpu_ms"].as_f64().unwrap();
    assert!((rows[0]["us_per_step"].as_f64().unwrap() - 1e3 * milliseconds / 5.0).abs() < 1e-6 * milliseconds, "{rows}");
}

/// What `tune` finds is kept for this device alone, chosen from then on, and forgotten when that is asked for.
#[test]
fn tunings_are_remembered() {
    let dir = Dir::new();
    let path = dir.path("folder/tunings.tsv");
    let tuned = |args: &[&str]| {
        let mut command = command(args);
        command.env("WATTN_TUNINGS", &path);
        finish(command)
    };
    let lines = || std::fs::read_to_string(&path).unwrap().lines().map(str::to_string).collect::<Vec<_>>();
    let rows = tuned(&["tune", "softmax", "--json"]).succeeded().json();
    let rows = rows.as_array().unwrap();
    let found = lines();
    assert!(!rows.is_empty() && found.len() == rows.len(), "{rows:?} {found:?}");
    for (row, line) in rows.iter().zip(&found) {
        assert_eq!(row["tuning"].as_str().unwrap(), line.split('\t').next_back().unwrap(), "{row} {line}");
    }

    // The other way for rows of 65, which nothing was found for, and a line for another device, which stays.
    let fields: Vec<&str> = found[0].split('\t').collect();
    let line = |device: &str, label: &str| format!("{device}\t{}\t{}\trows\t6\t{label}\n", fields[1], fields[2]);
    let kernel = |label: &str| {
        std::fs::write(&path, line(fields[0], label) + &line("another", label)).unwrap();
        let rows = tuned(&["profile", "softmax", "--shape", "5,67", "--forward-only", "--json"]).succeeded().json();
        rows[0]["variant"].as_str().unwrap().to_string()
    };
    assert!(kernel("lanes=256").contains("LANES=256u"));
    assert!(kernel("lanes=64").contains("LANES=64u"));
    // What this device does not have, or a later wattn had, is not chosen.
    assert!(kernel("lanes=7").contains("LANES=64u"));
    tuned(&["tune", "--forget"]).succeeded();
    assert_eq!(lines(), [line("another", "lanes=7").trim_end()]);

    tuned(&["tune", "sum"]).failed(2, "one of softmax, matmul, attention, lstm");
    tuned(&["tune", "--device", "cpu"]).failed(1, "nothing to tune");
    wattn(&["tune"]).failed(2, "WATTN_TUNINGS");
    std::fs::create_dir(dir.path("a")).unwrap();
    let mut folder = command(&["tune", "--forget"]);
    folder.env("WATTN_TUNINGS", dir.path("a"));
    finish(folder).failed(2, "directory");
}

/// The table, the plot and the timeline of one profile say the same as its JSON.
#[test]
fn a_profile_in_files() {
    let dir = Dir::new();
    let [table, plot, timeline] = ["a.csv", "a.svg", "a.json"].map(|name| dir.path(name));
    let args = ["profile", "lstm", "--shape", "5,3,7,11", "--json", "--csv", &table, "--svg", &plot, "--trace", &timeline];
    let rows = wattn(&args).succeeded().json();
    let rows = rows.as_array().unwrap();
    let kernels: BTreeSet<&str> = rows.iter().map(|row| row["variant"].as_str().unwrap().split(' ').next().unwrap()).collect();
    assert!(kernels.contains("lstm/forward") && kernels.contains("lstm/backward"), "{kernels:?}");

    let mut reader = csv::Reader::from_path(&table).unwrap();
    let columns = reader.headers().unwrap().clone();
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), rows.len());
    for (record, row) in records.iter().zip(rows) {
        for (column, cell) in columns.iter().zip(record) {
            // The last digit of a number may differ, as the two readers round.
            let near = |x: f64| cell.parse().is_ok_and(|y: f64| (x - y).abs() <= 1e-12 * x.abs());
            let same = match &row[column] {
                serde_json::Value::Null => cell.is_empty(),
                serde_json::Value::String(text) => text == cell,
                other => other.as_f64().is_some_and(near),
            };
            assert!(same, "{column}: {cell}, {row}");
        }
    }

    let text = std::fs::read_to_string(&plot).unwrap();
    assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{text}");
    let missing: Vec<&&str> = kernels.iter().filter(|kernel| !text.contains(**kernel)).collect();
    assert!(missing.is_empty(), "{missing:?} not in {text}");

    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&timeline).unwrap()).unwrap();
    let events = file["traceEvents"].as_array().unwrap();
    let count = |kernel: &str| events.iter().filter(|event| event["ph"] == "X" && event["name"] == kernel).count() as u64;
    let dispatches = |kernel: &str| -> u64 {
        let rows = rows.iter().filter(|row| row["variant"].as_str().unwrap().starts_with(&format!("{kernel} ")));
        rows.map(|row| row["dispatches"].as_u64().unwrap()).sum()
    };
    assert!(kernels.iter().all(|kernel| count(kernel) == dispatches(kernel)), "{file}");
    let number = |event: &serde_json::Value, key: &str| event[key].as_f64().unwrap();
    assert!(events.iter().filter(|event| event["ph"] == "X").all(|event| number(event, "ts") >= 0.0 && number(event, "dur") >= 0.0));
    let names = |what: &str| -> Vec<&str> {
        events.iter().filter(|event| event["name"] == what).map(|event| event["args"]["name"].as_str().unwrap()).collect()
    };
    assert_eq!(names("process_name"), ["lstm 5,3,7,11"]);
    assert!(kernels.iter().all(|kernel| names("thread_name").contains(kernel)), "{file}");
}

/// Without timestamps times are the host's, and everything says so.
#[test]
fn without_timestamps_the_host_times() {
    let dir = Dir::new();
    let timeline = dir.path("a.json");
    let ran = wattn(&["profile", "softmax", "--shape", "5,67", "--baseline", "--json", "--trace", &timeline]).succeeded();
    let rows = ran.json();
    assert!(rows.as_array().unwrap().iter().all(|row| row["clock"] == "host" && row["gpu_ms"].as_f64().unwrap() > 0.0), "{rows}");
    assert!(rows[0]["peak_f16_gflops"].is_null() && rows[0]["peak_f32_gflops"].as_f64().unwrap() > 0.0, "{rows}");
    assert!(ran.err.contains("no timestamps"), "{}", ran.err);
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(timeline).unwrap()).unwrap();
    assert_eq!(file["otherData"]["clock"], "host");
    let ran = wattn(&["profile", "softmax", "--shape", "5,67", "--baseline"]).succeeded();
    assert!(ran.out.contains("wall time") && ran.out.contains("by the host's clock"), "{}", ran.out);
}

/// A ceiling that was reached by leaving work out is none.
#[test]
fn a_ceiling_that_is_wrong_is_found() {
    let dir = Dir::new();
    let shaders = PathBuf::from(dir.path("shaders"));
    std::fs::create_dir_all(shaders.join("gpu")).unwrap();
    let plot = dir.path("a.svg");
    for (name, good, part, spoiled) in [
        ("fma", include_str!("../shaders/gpu/fma.wgsl"), "turns_16(turns_16(s, a, b), a, b)", "turns_16(s, a, b)"),
        ("copy", include_str!("../shaders/gpu/copy.wgsl"), "i < params.count", "i < params.count / 2u"),
    ] {
        let bad = good.replace(part, spoiled);
        assert_ne!(good, bad, "the line that this test spoils is not there any more");
        let path = shaders.join("gpu").join(name).with_extension("wgsl");
        std::fs::write(&path, bad).unwrap();
        let mut command = command(&["profile", "softmax", "--shape", "5,67", "--json", "--svg", &plot]);
        command.env("WATTN_SHADERS", &shaders);
        let ran = finish(command);
        assert!(ran.code == 1 && ran.err.contains(&format!("gpu/{name}")), "{}{}", ran.out, ran.err);
        assert!(ran.json()[0]["share_of_peak"].is_null(), "{}", ran.out);
        assert_eq!(dir.names(), ["shaders"]);
        std::fs::remove_file(path).unwrap();
    }
}

/// A kernel that is wrong by one part in a thousand is found by everything that compares, and nothing is written.
#[test]
fn a_wrong_kernel_is_found() {
    let dir = Dir::new();
    let shaders = PathBuf::from(dir.path("shaders"));
    std::fs::create_dir_all(shaders.join("softmax")).unwrap();
    let good = include_str!("../shaders/softmax/forward.wgsl");
    let bad = good.replace("= reduce_sum(", "= 1.001 * reduce_sum(");
    assert_ne!(good, bad, "the line that this test spoils is not there any more");
    std::fs::write(shaders.join("softmax/forward.wgsl"), bad).unwrap();
    let spoiled = |args: &[&str]| {
        let mut command = command(args);
        command.env("WATTN_SHADERS", &shaders);
        finish(command)
    };
    let output = dir.path("out.npz");
    let ran = spoiled(&["run", "softmax", "--shape", "4,9", "--compare", "-o", &output]).failed(1, "was not written");
    assert!(ran.out.contains("NO"), "{}", ran.out);
    assert_eq!(dir.names(), ["shaders"]);
    let ran = spoiled(&["verify", "softmax", "--case", "log"]);
    assert!(ran.code == 1 && ran.out.contains("WRONG   log auto"), "{}{}", ran.out, ran.err);
    spoiled(&["profile", "softmax", "--shape", "4,9"]).failed(1, "is wrong, so not timed");
    let table = dir.path("a.csv");
    let ran = spoiled(&["profile", "softmax", "--shape", "4,9", "--csv", &table]);
    assert!(ran.code == 1 && ran.err.contains("a.csv was not written"), "{}", ran.err);
    assert_eq!(dir.names(), ["shaders"]);
}

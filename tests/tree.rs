//! One name per operation, the same everywhere: what an operation lacks, what belongs to none, and the rules of the tree that
//! need no compiler. Each test lists everything that is missing, so that a new operation can be completed in one go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use wattn::gpu::Caps;
use wattn::ops::REGISTRY;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The entries of a folder; none when it is not there.
fn list(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The names of the folders in a folder.
fn folders(folder: &str) -> Vec<String> {
    let names = list(folder).into_iter().filter(|path| path.is_dir());
    names.map(|path| path.file_name().unwrap().to_str().unwrap().to_string()).collect()
}

/// All files below a folder with this ending, as paths from the root; not what Cargo has built for a crate of its own.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = vec![];
    let mut open = list(folder);
    while let Some(path) = open.pop() {
        if path.is_dir() && !path.ends_with("target") {
            open.extend(list(path.strip_prefix(root()).unwrap().to_str().unwrap()));
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"));
        }
    }
    found.sort();
    found
}

fn names() -> BTreeSet<&'static str> {
    REGISTRY.iter().map(|op| op.spec().name).collect()
}

#[track_caller]
fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// Lower case, words joined by underscores.
fn is_snake(name: &str) -> bool {
    !name.is_empty() && name.split('_').all(|w| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
}

#[test]
fn every_operation_has_every_part() {
    let mut missing = vec![];
    for op in REGISTRY {
        let name = op.spec().name;
        let mut parts: Vec<String> = ["mod", "cpu", "gpu", "cases"].map(|part| format!("src/ops/{name}/{part}.rs")).into();
        parts.extend([format!("tests/ops/{name}.rs"), format!("benches/ops/{name}.rs")]);
        // An operation may be composed of others, or share the kernels of one.
        if op.kernels(&Caps::everything()).iter().any(|variant| variant.kernel.name.starts_with(&format!("{name}/"))) {
            parts.push(format!("shaders/{name}"));
        }
        missing.extend(parts.into_iter().filter(|part| !root().join(part).exists()));
    }
    none("missing", missing);
}

#[test]
fn every_folder_belongs_to_an_operation() {
    // What an operation's folder may share with others: shaders/lib; recurrent, which is what rnn, gru and lstm have in common, a family of
    // three that differ in the formula of one step; loss, the reductions of losses; and context, what follows the scores of attention whose
    // weights are stored. shaders/gpu is the device layer's own.
    let families = ["recurrent", "loss", "context"].map(|family| [("shaders", family), ("src/ops", family)]).concat();
    let shared = [families, vec![("shaders", "lib"), ("shaders", "gpu")]].concat();
    let names = names();
    assert_eq!(names.len(), REGISTRY.len(), "two operations have one name");
    let mut strangers = vec![];
    for parent in ["shaders", "src/ops"] {
        let unknown =
            folders(parent).into_iter().filter(|name| !names.contains(name.as_str()) && !shared.contains(&(parent, name.as_str())));
        strangers.extend(unknown.map(|name| format!("{parent}/{name}")));
    }
    for parent in ["tests/ops", "benches/ops"] {
        let unknown = files(parent, "rs").into_iter().filter(|path| {
            let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
            // The cache is a part of attention that holds something from call to call, which no operation does; recurrent is the family;
            // bounds and cuts are of all operations.
            let of_several = ["bounds", "cache", "cuts", "recurrent"].contains(&stem) && parent == "tests/ops";
            !names.contains(stem) && stem != "main" && !of_several
        });
        strangers.extend(unknown);
    }
    none("of no registered operation", strangers);
}

/// The table that people find operations by: a row for each, with links to its parts.
#[test]
fn every_operation_has_a_row_in_the_readme() {
    let readme = read("README.md");
    let mut missing = vec![];
    for op in REGISTRY {
        let name = op.spec().name;
        let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with('|') && line.contains(&format!("(src/ops/{name}/"))).collect();
        let [row] = rows[..] else {
            missing.push(format!("{name}: {} rows with a link to src/ops/{name}/", rows.len()));
            continue;
        };
        let parts = [
            format!("src/ops/{name}/gpu.rs"),
            format!("src/ops/{name}/cpu.rs"),
            format!("tests/ops/{name}.rs"),
            format!("benches/ops/{name}.rs"),
        ];
        let lacks = parts.iter().filter(|part| !row.contains(&format!("({part})")));
        missing.extend(lacks.map(|part| format!("{name}: a link to {part}")));
        if root().join("shaders").join(name).is_dir() && !row.contains(&format!("(shaders/{name}")) {
            missing.push(format!("{name}: a link to shaders/{name}"));
        }
    }
    none("missing in README.md", missing);
}

/// Links from one file of the repository to another lead somewhere.
#[test]
fn links_exist() {
    let mut broken = vec![];
    for page in list("").into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !link.contains("://") && !root().join(target).exists() {
                broken.push(format!("{}: {link}", page.file_name().unwrap().display()));
            }
        }
    }
    none("links to nothing", broken);
}

#[test]
fn names_are_snake_case_and_unique() {
    let mut wrong = vec![];
    for op in REGISTRY {
        let spec = op.spec();
        let mut seen = BTreeSet::new();
        for case in op.cases() {
            if !is_snake(case.name) || !seen.insert(case.name) {
                wrong.push(format!("{} case '{}'", spec.name, case.name));
            }
        }
        let words = spec.inputs.iter().map(|i| i.name).chain(spec.outputs.iter().map(|o| o.name)).chain(spec.keys.iter().map(|k| k.name));
        wrong.extend(words.chain([spec.name]).filter(|word| !is_snake(word)).map(|word| format!("{}: '{word}'", spec.name)));
        if op.cases().iter().all(|case| !case.quick) {
            wrong.push(format!("{} has no case for `verify --quick`", spec.name));
        }
    }
    none("not lower_snake_case, or there twice", wrong);
}

/// A kernel's file opens with what it computes and the lines that everyone looks for.
#[test]
fn every_shader_has_a_header() {
    let mut missing = vec![];
    for file in files("shaders", "wgsl") {
        let text = read(&file);
        let header: Vec<&str> =
            text.lines().take_while(|line| line.starts_with("//")).map(|line| line.trim_start_matches("//").trim()).collect();
        let has = |word: &str| header.iter().any(|line| line.split_whitespace().next() == Some(word));
        if header.first().is_none_or(|line| line.is_empty()) {
            missing.push(format!("{file}: a first line that says what it is"));
        }
        if file.starts_with("shaders/lib/") {
            continue;
        }
        missing.extend(["Shapes", "Grid", "Twin"].iter().filter(|word| !has(word)).map(|word| format!("{file}: {word}")));
        if !has("Numerics") && !has("Memory") {
            missing.push(format!("{file}: Numerics or Memory"));
        }
        let twin = header.iter().find_map(|line| line.strip_prefix("Twin")).map(str::trim);
        missing.extend(twin.filter(|twin| !root().join(twin).exists()).map(|twin| format!("{file}: its twin {twin}")));
    }
    none("missing", missing);
}

/// A file that has grown beyond this is two files.
#[test]
fn files_stay_short() {
    const LINES: usize = 400;
    let all = ["src", "shaders", "benches", "examples"]
        .into_iter()
        .flat_map(|folder| files(folder, "rs").into_iter().chain(files(folder, "wgsl")));
    let long = all.map(|file| (read(&file).lines().count(), file)).filter(|(lines, _)| *lines > LINES);
    none("over 400 lines", long.map(|(lines, file)| format!("{file}: {lines}")).collect());
}

/// cli -> models -> optim -> nn -> autograd -> tasks -> ops -> gpu: nothing points the other way.
#[test]
fn arrows_point_one_way() {
    let layers = ["gpu", "ops", "tasks", "autograd", "nn", "optim", "models", "cli"];
    let mut wrong = vec![];
    for (height, layer) in layers.iter().enumerate() {
        for file in files(&format!("src/{layer}"), "rs") {
            for (number, line) in read(&file).lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
                let imported = line.trim_start().trim_start_matches("pub ").starts_with("use crate::");
                let above = layers[height + 1..]
                    .iter()
                    .find(|upper| line.contains(&format!("crate::{upper}::")) || (imported && words.contains(upper)));
                wrong.extend(above.map(|upper| format!("{file}:{}: {layer} uses {upper}", number + 1)));
            }
        }
    }
    none("against the arrows", wrong);
}

/// An exception to a lint gives its reason.
#[test]
fn exceptions_have_reasons() {
    let mut wrong = vec![];
    for file in ["src", "tests", "benches", "examples"].into_iter().flat_map(|folder| files(folder, "rs")) {
        // A reason may stand on the line below the attribute's first.
        let text = read(&file);
        let attributes = text.match_indices("#[allow(").chain(text.match_indices("#![allow(")).chain(text.match_indices("#[ignore"));
        let bare = attributes.filter(|(at, _)| !text[*at..].split(']').next().unwrap_or_default().contains("reason ="));
        wrong.extend(bare.filter(|_| file != "tests/tree.rs").map(|(at, _)| format!("{file}:{}", text[..at].lines().count())));
    }
    none("an exception without a reason", wrong);
}

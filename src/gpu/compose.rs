//! The composer: plain WGSL files, three directives, and knobs that are ordinary declarations.
//!
//! - `#import name` pastes shaders/lib/name.wgsl, once.
//! - `#if FLAG`, `#else`, `#end` keep or drop lines.
//! - `const NAME: u32 = 16u;`, `const NAME: bool = false;` and `alias name = f32;` at the start of a line are knobs: the host may replace
//!   the value.
//!
//! Whatever is unknown is an error: an import that no file has, a knob that no line declares, a flag that no `#if` asks for.

use std::collections::BTreeSet;

use super::kernel::{Kernel, Knobs};
use crate::{Error, Result};

/// The shared files, each `#import`ed by its stem.
pub const LIBRARY: &[(&str, &str)] = &[
    ("activation", include_str!("../../shaders/lib/activation.wgsl")),
    ("additive", include_str!("../../shaders/lib/additive.wgsl")),
    ("batched", include_str!("../../shaders/lib/batched.wgsl")),
    ("block", include_str!("../../shaders/lib/block.wgsl")),
    ("chain", include_str!("../../shaders/lib/chain.wgsl")),
    ("chain_step", include_str!("../../shaders/lib/chain_step.wgsl")),
    ("cosine", include_str!("../../shaders/lib/cosine.wgsl")),
    ("digits", include_str!("../../shaders/lib/digits.wgsl")),
    ("elements", include_str!("../../shaders/lib/elements.wgsl")),
    ("flag", include_str!("../../shaders/lib/flag.wgsl")),
    ("fused", include_str!("../../shaders/lib/fused.wgsl")),
    ("gradient", include_str!("../../shaders/lib/gradient.wgsl")),
    ("handover", include_str!("../../shaders/lib/handover.wgsl")),
    ("ids", include_str!("../../shaders/lib/ids.wgsl")),
    ("index", include_str!("../../shaders/lib/index.wgsl")),
    ("loops", include_str!("../../shaders/lib/loops.wgsl")),
    ("math", include_str!("../../shaders/lib/math.wgsl")),
    ("matrix", include_str!("../../shaders/lib/matrix.wgsl")),
    ("operands", include_str!("../../shaders/lib/operands.wgsl")),
    ("pairs", include_str!("../../shaders/lib/pairs.wgsl")),
    ("parameter_gradients", include_str!("../../shaders/lib/parameter_gradients.wgsl")),
    ("product", include_str!("../../shaders/lib/product.wgsl")),
    ("random", include_str!("../../shaders/lib/random.wgsl")),
    ("recurrent", include_str!("../../shaders/lib/recurrent.wgsl")),
    ("reduce", include_str!("../../shaders/lib/reduce.wgsl")),
    ("result", include_str!("../../shaders/lib/result.wgsl")),
    ("rows", include_str!("../../shaders/lib/rows.wgsl")),
    ("state", include_str!("../../shaders/lib/state.wgsl")),
    ("state_gradient", include_str!("../../shaders/lib/state_gradient.wgsl")),
    ("targets", include_str!("../../shaders/lib/targets.wgsl")),
    ("team", include_str!("../../shaders/lib/team.wgsl")),
    ("terms", include_str!("../../shaders/lib/terms.wgsl")),
    ("through_time", include_str!("../../shaders/lib/through_time.wgsl")),
    ("tile", include_str!("../../shaders/lib/tile.wgsl")),
    ("tile_panels", include_str!("../../shaders/lib/tile_panels.wgsl")),
    ("tile_registers", include_str!("../../shaders/lib/tile_registers.wgsl")),
    ("tile_units", include_str!("../../shaders/lib/tile_units.wgsl")),
    ("update", include_str!("../../shaders/lib/update.wgsl")),
];

/// The WGSL text of one variant of a kernel, as the device gets it.
///
/// With the environment variable `WATTN_SHADERS=DIR` files are read from DIR (laid out as shaders/) when they exist there, so
/// that a person who edits one need not rebuild.
///
/// # Errors
/// [`Error::Shader`] for whatever is unknown or unbalanced.
pub fn compose(kernel: &Kernel, knobs: &Knobs) -> Result<String> {
    compose_for(kernel, knobs, cfg!(target_arch = "wasm32"))
}

/// As [`compose`], for a compiler other than naga, as those of browsers are: they ask for the line `enable subgroups;`, which naga 30,
/// the compiler on all other platforms, does not know.
///
/// # Errors
/// As [`compose`].
pub fn compose_strict(kernel: &Kernel, knobs: &Knobs) -> Result<String> {
    compose_for(kernel, knobs, true)
}

fn compose_for(kernel: &Kernel, knobs: &Knobs, strict: bool) -> Result<String> {
    let source = from_disk(kernel.name).unwrap_or_else(|| kernel.source.to_string());
    let mut composer = Composer { kernel: kernel.name, knobs, text: String::new(), imported: vec![], flags: vec![], declared: vec![] };
    if knobs.uses_f16() {
        composer.text.push_str("enable f16;\n");
    }
    if knobs.uses_matrix_units() {
        composer.text.push_str("enable wgpu_cooperative_matrix;\n");
    }
    if strict && knobs.uses_subgroups() {
        composer.text.push_str("enable subgroups;\n");
    }
    composer.paste(kernel.name, &source)?;
    let declared: BTreeSet<&str> = composer.declared.iter().map(String::as_str).collect();
    if let Some(knob) = knobs.values.keys().find(|name| !declared.contains(**name)) {
        return Err(composer.error(format!("no line declares the knob '{knob}'")));
    }
    if let Some(flag) = knobs.flags.iter().find(|flag| !composer.flags.iter().any(|f| f == *flag)) {
        return Err(composer.error(format!("no #if asks for the flag '{flag}'")));
    }
    Ok(composer.text)
}

struct Composer<'a> {
    kernel: &'a str,
    knobs: &'a Knobs,
    text: String,
    imported: Vec<String>,
    /// Every flag that some `#if` asked for.
    flags: Vec<String>,
    /// Every knob that was declared in a line that was kept.
    declared: Vec<String>,
}

impl Composer<'_> {
    fn paste(&mut self, file: &str, source: &str) -> Result<()> {
        // One entry for each open #if: whether its lines are kept.
        let mut kept: Vec<bool> = vec![];
        for (number, line) in source.lines().enumerate() {
            let place = || format!("{file}.wgsl:{}", number + 1);
            let (directive, argument) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            match directive {
                "#if" => {
                    self.flags.push(argument.to_string());
                    kept.push(self.knobs.has(argument));
                }
                "#else" => match kept.last_mut() {
                    Some(keep) => *keep = !*keep,
                    None => return Err(self.error(format!("{}: #else without #if", place()))),
                },
                "#end" => {
                    if kept.pop().is_none() {
                        return Err(self.error(format!("{}: #end without #if", place())));
                    }
                }
                _ if kept.contains(&false) => {}
                "#import" => self.import(argument, &place())?,
                _ if directive.starts_with('#') => return Err(self.error(format!("{}: unknown directive '{directive}'", place()))),
                _ => {
                    let line = self.set(line);
                    self.text.push_str(&line);
                    self.text.push('\n');
                }
            }
        }
        if kept.is_empty() { Ok(()) } else { Err(self.error(format!("{file}.wgsl: #if without #end"))) }
    }

    fn import(&mut self, name: &str, place: &str) -> Result<()> {
        if self.imported.iter().any(|i| i == name) {
            return Ok(());
        }
        self.imported.push(name.to_string());
        let Some((_, source)) = LIBRARY.iter().find(|(stem, _)| *stem == name) else {
            let known: Vec<&str> = LIBRARY.iter().map(|(stem, _)| *stem).collect();
            return Err(self.error(format!("{place}: no library file '{name}'; there are {}", known.join(", "))));
        };
        let path = format!("lib/{name}");
        let source = from_disk(&path).unwrap_or_else(|| source.to_string());
        self.paste(&path, &source)
    }

    /// The line, with the host's value where it declares a knob that the host sets.
    fn set(&mut self, line: &str) -> String {
        let Some(rest) = line.strip_prefix("const ").or_else(|| line.strip_prefix("alias ")) else {
            return line.to_string();
        };
        let name = rest.split([':', ' ', '=']).next().unwrap_or_default();
        let Some((value, (head, tail))) = self.knobs.values.get(name).zip(line.split_once('=')) else {
            return line.to_string();
        };
        self.declared.push(name.to_string());
        let after = tail.split_once(';').map_or("", |(_, after)| after);
        format!("{head}= {value};{after}")
    }

    fn error(&self, message: String) -> Error {
        Error::Shader { kernel: self.kernel.to_string(), message }
    }
}

fn from_disk(stem: &str) -> Option<String> {
    let folder = std::env::var_os("WATTN_SHADERS")?;
    std::fs::read_to_string(std::path::Path::new(&folder).join(format!("{stem}.wgsl"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(source: &'static str, knobs: Knobs) -> Result<String> {
        compose(&Kernel { name: "test/none", source, params: &[], bindings: &[] }, &knobs)
    }

    #[test]
    fn a_knob_replaces_the_value_and_keeps_the_comment() {
        let text = run("const TILE: u32 = 16u; // elements\nalias elem = f32;", Knobs::new().u32("TILE", 64)).unwrap();
        assert_eq!(text, "const TILE: u32 = 64u; // elements\nalias elem = f32;\n");
    }

    #[test]
    fn flags_keep_and_drop_lines() {
        let source = "#if A\na\n#if B\nab\n#end\n#else\nelse\n#end";
        assert_eq!(run(source, Knobs::new().flag("A", true)).unwrap(), "a\n");
        assert_eq!(run(source, Knobs::new().flag("A", true).flag("B", true)).unwrap(), "a\nab\n");
        assert_eq!(run(source, Knobs::new()).unwrap(), "else\n");
    }

    #[test]
    fn whatever_is_unknown_is_an_error() {
        for (source, knobs) in [
            ("", Knobs::new().u32("TILE", 1)),
            ("", Knobs::new().flag("A", true)),
            ("#import nothing", Knobs::new()),
            ("#if A", Knobs::new()),
            ("#end", Knobs::new()),
            ("#else", Knobs::new()),
            ("#iff A", Knobs::new()),
        ] {
            assert!(run(source, knobs).is_err(), "{source:?}");
        }
    }

    #[test]
    fn a_library_file_is_pasted_once() {
        let once = run("#import math", Knobs::new()).unwrap();
        assert_eq!(run("#import math\n#import math", Knobs::new()).unwrap(), once);
    }
}

//! What a kernel is: a WGSL file, its bindings and parameters declared once, and the knobs that make its variants.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Display};
use std::hash::Hash;

use crate::DType;

/// Whether a kernel only reads a binding or also writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// One storage binding. Its number is its place in [`Kernel::bindings`] plus one, in every variant.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The variable's name in the shader.
    pub name: &'static str,
    /// Read, or read and write.
    pub access: Access,
    /// The `#if` flag under which the binding exists; `None` for one that always does.
    pub when: Option<&'static str>,
    /// The `#if` flag under which it does not; `None` for one that no flag removes.
    pub unless: Option<&'static str>,
}

impl Binding {
    /// A binding that is only read.
    pub const fn read(name: &'static str) -> Self {
        Binding { name, access: Access::Read, when: None, unless: None }
    }

    /// A binding that is written (and may be read).
    pub const fn write(name: &'static str) -> Self {
        Binding { name, access: Access::ReadWrite, when: None, unless: None }
    }

    /// The same binding, present only in variants with `flag`.
    pub const fn when(self, flag: &'static str) -> Self {
        Binding { when: Some(flag), ..self }
    }

    /// The same binding, present only in variants without `flag`.
    pub const fn unless(self, flag: &'static str) -> Self {
        Binding { unless: Some(flag), ..self }
    }

    /// Whether a variant has the binding.
    pub fn present(&self, knobs: &Knobs) -> bool {
        self.when.is_none_or(|flag| knobs.has(flag)) && self.unless.is_none_or(|flag| !knobs.has(flag))
    }
}

/// One field of a params struct, as Rust lays it out.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The field's name, the same in Rust and WGSL.
    pub name: &'static str,
    /// Bytes from the start of the struct.
    pub offset: usize,
    /// Bytes of the field.
    pub size: usize,
}

/// A struct that goes to binding 0 as a uniform. Implemented by [`params!`](crate::params).
pub trait Params: bytemuck::Pod {
    /// The fields in order; compared with the shader's struct by a test.
    const FIELDS: &'static [Field];
}

/// Declares a params struct: `#[repr(C)]`, plain data, with its fields listed for the comparison with the shader.
///
/// ```
/// wattn::params! {
///     /// How many, and times what.
///     pub struct Scale { n: u32, factor: f32 }
/// }
/// # use wattn::gpu::Params;
/// assert_eq!(Scale::FIELDS[1].offset, 4);
/// ```
#[macro_export]
macro_rules! params {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($field:ident : $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        $vis struct $name { $(#[allow(missing_docs, reason = "the shader's struct documents its fields")] pub $field: $ty),* }
        // SAFETY: repr(C) of plain numbers and arrays of them; all are 4-byte aligned, so there is no padding,
        // which the assertion below checks.
        unsafe impl $crate::bytemuck::Zeroable for $name {}
        // SAFETY: as above.
        unsafe impl $crate::bytemuck::Pod for $name {}
        const _: () = assert!(0 $(+ ::core::mem::size_of::<$ty>())* == ::core::mem::size_of::<$name>());
        impl $crate::gpu::Params for $name {
            const FIELDS: &'static [$crate::gpu::Field] = &[$($crate::gpu::Field {
                name: stringify!($field),
                offset: ::core::mem::offset_of!($name, $field),
                size: ::core::mem::size_of::<$ty>(),
            }),*];
        }
    };
}

/// A compute kernel: entry point `main` of one WGSL file.
#[derive(Debug)]
pub struct Kernel {
    /// `operation/file`, which is also its path under shaders/ without the ending.
    pub name: &'static str,
    /// The file's text.
    pub source: &'static str,
    /// The fields of the uniform at binding 0.
    pub params: &'static [Field],
    /// The storage bindings, from binding 1 on: inputs in API order, then outputs.
    pub bindings: &'static [Binding],
}

impl Kernel {
    /// The bindings that a variant has, with their numbers.
    pub fn present(&self, knobs: &Knobs) -> impl Iterator<Item = (u32, &'static Binding)> {
        let bindings = self.bindings;
        let knobs = knobs.clone();
        (1..).zip(bindings).filter(move |(_, binding)| binding.present(&knobs))
    }
}

/// What the host sets in a shader: values of `const` and `alias` declarations, and the flags of `#if`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Knobs {
    pub(super) values: BTreeMap<&'static str, String>,
    pub(super) flags: BTreeSet<&'static str>,
}

impl Knobs {
    /// No knob set: every default of the file.
    pub fn new() -> Self {
        Knobs::default()
    }

    /// Sets `const NAME: u32 = …u;`.
    pub fn u32(mut self, name: &'static str, value: u32) -> Self {
        self.values.insert(name, format!("{value}u"));
        self
    }

    /// Sets `const NAME: bool = …;`.
    pub fn bool(mut self, name: &'static str, value: bool) -> Self {
        self.values.insert(name, value.to_string());
        self
    }

    /// Sets `alias name = …;` to the WGSL type in which `dtype` is stored.
    pub fn dtype(mut self, name: &'static str, dtype: DType) -> Self {
        let ty = match dtype {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::I32 => "i32",
            DType::U8 => "u32",
            // No tensor on a device has it, and the compiler refuses it.
            DType::F64 => "f64",
        };
        self.values.insert(name, ty.to_string());
        self
    }

    /// Raises a flag for `#if` when `on`.
    pub fn flag(mut self, name: &'static str, on: bool) -> Self {
        if on {
            self.flags.insert(name);
        }
        self
    }

    /// Whether something is f16, so that the shader must say `enable f16;`.
    pub fn uses_f16(&self) -> bool {
        self.uses_matrix_units() || self.values.values().any(|v| v == "f16")
    }

    /// Whether the shader asks how its subgroups are made, or has them do something together.
    pub fn uses_subgroups(&self) -> bool {
        self.has("SUBGROUPS") || self.uses_matrix_units()
    }

    /// Whether the shader multiplies cooperative matrices, so that it must say `enable wgpu_cooperative_matrix;`.
    pub fn uses_matrix_units(&self) -> bool {
        self.has("MATRIX_8") || self.has("MATRIX_16")
    }

    /// Whether the flag is raised.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }
}

impl Display for Knobs {
    /// `TILE_M=64u elem=f16 +BIAS`, or `default`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.iter().map(|(name, value)| format!("{name}={value}"));
        let all: Vec<String> = values.chain(self.flags.iter().map(|flag| format!("+{flag}"))).collect();
        f.write_str(if all.is_empty() { "default".into() } else { all.join(" ") }.as_str())
    }
}

/// One variant of one kernel: cache key, label, bench row and test name in one.
pub trait Variant: Copy + Debug + Eq + Hash + Send + Sync + 'static {
    /// The kernel that this is a variant of.
    fn kernel(&self) -> &'static Kernel;
    /// What the variant sets in the shader.
    fn knobs(&self) -> Knobs;
}

/// A variant whose type has been forgotten: for listing, checking and printing.
#[derive(Clone, Debug)]
pub struct AnyVariant {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// What the variant sets.
    pub knobs: Knobs,
}

impl AnyVariant {
    /// Forgets the variant's type.
    pub fn of(variant: impl Variant) -> Self {
        AnyVariant { kernel: variant.kernel(), knobs: variant.knobs() }
    }
}

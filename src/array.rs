//! Host-side tensors: what is read from files, drawn for tests, uploaded to a device and read back.

use half::f16;

use crate::{Error, Result};

/// How an element is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 16-bit float (IEEE binary16). On a device it needs `Features::SHADER_F16`.
    F16,
    /// 32-bit signed integer: indices and lengths.
    I32,
    /// 8-bit unsigned integer: masks, 1 = keep. On a device four are packed to a u32.
    U8,
    /// 64-bit float. On the host alone, where references hand it from one operation to the next.
    F64,
}

impl DType {
    /// Bytes that one element takes, on the host and on the device.
    pub const fn bytes(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::F16 => 2,
            DType::U8 => 1,
            DType::F64 => 8,
        }
    }

    /// The name used in files, tables and errors.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::I32 => "i32",
            DType::U8 => "u8",
            DType::F64 => "f64",
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The elements of an [`Array`], row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 16-bit floats.
    F16(Vec<f16>),
    /// Signed integers.
    I32(Vec<i32>),
    /// Bytes.
    U8(Vec<u8>),
    /// 64-bit floats.
    F64(Vec<f64>),
}

/// A tensor on the host: a shape and its elements, row-major. A scalar has the shape `[]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    data: Data,
}

macro_rules! constructor {
    ($name:ident, $variant:ident, $ty:ty) => {
        #[doc = concat!("An array of `", stringify!($ty), "`.")]
        ///
        /// # Panics
        /// When the number of elements is not the product of the shape: a mistake in the calling program, never in its input.
        pub fn $name(shape: &[usize], data: Vec<$ty>) -> Self {
            assert_eq!(shape.iter().product::<usize>(), data.len(), "shape {shape:?} and number of elements differ");
            Array { shape: shape.to_vec(), data: Data::$variant(data) }
        }
    };
}

impl Array {
    constructor!(f32, F32, f32);
    constructor!(f16, F16, f16);
    constructor!(i32, I32, i32);
    constructor!(u8, U8, u8);
    constructor!(f64, F64, f64);

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The elements, to be changed in place.
    pub fn data_mut(&mut self) -> &mut Data {
        &mut self.data
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        match self.data {
            Data::F32(_) => DType::F32,
            Data::F16(_) => DType::F16,
            Data::I32(_) => DType::I32,
            Data::U8(_) => DType::U8,
            Data::F64(_) => DType::F64,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every element as f64, exactly.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::F32(v) => v.iter().map(|&x| x as f64).collect(),
            Data::F16(v) => v.iter().map(|&x| x.to_f64()).collect(),
            Data::I32(v) => v.iter().map(|&x| x as f64).collect(),
            Data::U8(v) => v.iter().map(|&x| x as f64).collect(),
            Data::F64(v) => v.clone(),
        }
    }

    /// The elements as bytes, little-endian, as files and devices store them.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::F32(v) => bytemuck::cast_slice(v),
            Data::F16(v) => bytemuck::cast_slice(v),
            Data::I32(v) => bytemuck::cast_slice(v),
            Data::U8(v) => v,
            Data::F64(v) => bytemuck::cast_slice(v),
        }
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] when the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Array> {
        if shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(self.len()) {
            let expected = format!("a shape of {} elements", self.len());
            return Err(Error::Shape { op: "reshape", tensor: "array".into(), expected, got: show_shape(shape) });
        }
        Ok(Array { shape: shape.to_vec(), data: self.data.clone() })
    }

    /// The same values stored as another float, rounded to nearest; integers stay what they are.
    pub fn to_float(&self, dtype: DType) -> Array {
        let data = match (&self.data, dtype) {
            (Data::F32(v), DType::F16) => Data::F16(v.iter().map(|&x| f16::from_f32(x)).collect()),
            (Data::F16(v), DType::F32) => Data::F32(v.iter().map(|&x| x.to_f32()).collect()),
            (Data::F64(v), DType::F16) => Data::F16(v.iter().map(|&x| f16::from_f64(x)).collect()),
            (Data::F64(v), DType::F32) => Data::F32(v.iter().map(|&x| x as f32).collect()),
            (Data::F32(_) | Data::F16(_), DType::F64) => Data::F64(self.to_f64()),
            (same, _) => same.clone(),
        };
        Array { shape: self.shape.clone(), data }
    }
}

/// `[2, 3, 4]` as error messages print it.
pub(crate) fn show_shape(shape: &[usize]) -> String {
    format!("{shape:?}")
}

//! Copies between PyTorch's layouts and those of the steps: the host side of shaders/recurrent/arrange.wgsl.

use crate::gpu::{AnyVariant, Bind, Binding, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};
use crate::{Error, Result};

crate::params! {
    /// As in shaders/recurrent/arrange.wgsl.
    struct ArrangeParams {
        rows: u32, slots: u32, columns: u32, x_rows: u32, x_columns: u32, accumulate: u32,
        x_base: u32, x_row: u32, x_slot: u32, x_column: u32, y_base: u32, y_row: u32, y_slot: u32, y_column: u32,
        mapped: u32, padding: u32, slot: [u32; 4],
    }
}

static ARRANGE: Kernel = Kernel {
    name: "recurrent/arrange",
    source: include_str!("../../../shaders/recurrent/arrange.wgsl"),
    params: ArrangeParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

/// Invocations of a workgroup.
const LANES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Arranged;

impl Variant for Arranged {
    fn kernel(&self) -> &'static Kernel {
        &ARRANGE
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES as u32)
    }
}

/// The kernel.
pub(super) fn kernel() -> AnyVariant {
    AnyVariant::of(Arranged)
}

/// A tensor of rows, slots and columns, found through strides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub tensor: &'a Tensor,
    pub start: usize,
    /// From one row, slot and column to the next.
    pub strides: [usize; 3],
}

/// Which slot of the source each slot of the destination takes; one that is past 3 takes zeros.
pub(super) type Slots = [u32; 4];

/// A slot that takes zeros.
pub(super) const NOTHING: u32 = 4;

/// A copy: y = x, or y += x.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrange<'a> {
    pub op: &'static str,
    pub from: Place<'a>,
    pub to: Place<'a>,
    /// Rows, slots and columns that are written.
    pub size: [usize; 3],
    /// Rows and columns that there are to be read: the others are zeros.
    pub given: [usize; 2],
    /// The slots of the source, where they are not those of the destination.
    pub slots: Option<Slots>,
    pub accumulate: bool,
}

impl<'a> Arrange<'a> {
    /// A copy of all rows, slots and columns.
    pub fn new(op: &'static str, from: Place<'a>, to: Place<'a>, size: [usize; 3]) -> Self {
        Arrange { op, from, to, size, given: [size[0], size[2]], slots: None, accumulate: false }
    }

    /// Records the copy. What one binding cannot hold is cut in halves.
    ///
    /// # Errors
    /// [`Error::Limit`] when single elements do not fit, and those of [`Gpu::dispatch`].
    pub fn run(&self, gpu: &Gpu) -> Result<()> {
        self.cut(gpu, [0; 3], self.size)
    }

    fn cut(&self, gpu: &Gpu, first: [usize; 3], size: [usize; 3]) -> Result<()> {
        let room = gpu.elements_at_once(8, size.iter().product());
        let (x, y) = (self.read(first, size), self.written(first, size));
        let too_large = [(self.from, x[1] - x[0]), (self.to, y[1] - y[0])].into_iter().find(|&(_, reach)| reach > room);
        let Some((place, _)) = too_large else { return self.dispatch(gpu, first, size, [x, y]) };
        if let Some(slots) = self.slots {
            return (0..size[1]).try_for_each(|slot| self.single(slot, slots[slot]).run(gpu));
        }
        let Some(axis) = (0..3).filter(|&axis| size[axis] > 1).max_by_key(|&axis| (size[axis] - 1) * place.strides[axis]) else {
            let limit = gpu.caps().max_binding;
            return Err(Error::Limit { op: self.op, what: "bytes of one element's binding".into(), limit, got: place.tensor.bytes() });
        };
        let half = size[axis] / 2;
        let (mut low, mut high, mut start) = (size, size, first);
        (low[axis], high[axis], start[axis]) = (half, size[axis] - half, first[axis] + half);
        self.cut(gpu, first, low)?;
        self.cut(gpu, start, high)
    }

    /// One of several slots alone.
    fn single(&self, slot: usize, source: u32) -> Arrange<'a> {
        let there = source < NOTHING;
        let at = |place: Place<'a>, slot: usize| Place { start: place.start + slot * place.strides[1], ..place };
        Arrange {
            from: at(self.from, if there { source as usize } else { 0 }),
            to: at(self.to, slot),
            size: [self.size[0], 1, self.size[2]],
            given: if there { self.given } else { [0; 2] },
            slots: None,
            ..*self
        }
    }

    /// The first element of y that a part reaches, and the one past its last.
    fn written(&self, first: [usize; 3], size: [usize; 3]) -> [usize; 2] {
        let along = |at: [usize; 3]| (0..3).map(|axis| at[axis] * self.to.strides[axis]).sum::<usize>();
        let low = self.to.start + along(first);
        [low, low + along(size.map(|n| n - 1)) + 1]
    }

    /// The same of x, of which there may be less: then at least one element, which is not read.
    fn read(&self, first: [usize; 3], size: [usize; 3]) -> [usize; 2] {
        let [row, slot, column] = self.from.strides;
        let left = |axis: usize, given: usize| (first[axis] + size[axis]).min(given).saturating_sub(first[axis]);
        let (rows, columns) = (left(0, self.given[0]), left(2, self.given[1]));
        if rows == 0 || columns == 0 {
            return [0, 1];
        }
        let taken =
            |slots: Slots| slots.into_iter().take(self.size[1]).filter(|&slot| slot < NOTHING).max().map_or(0, |slot| slot as usize);
        let (first_slot, last_slot) = self.slots.map_or((first[1], first[1] + size[1] - 1), |slots| (0, taken(slots)));
        let low = self.from.start + first[0] * row + first_slot * slot + first[2] * column;
        [low, low + (rows - 1) * row + (last_slot - first_slot) * slot + (columns - 1) * column + 1]
    }

    fn dispatch(&self, gpu: &Gpu, first: [usize; 3], size: [usize; 3], [x, y]: [[usize; 2]; 2]) -> Result<()> {
        let (from, to) = (self.from.tensor.window(x[0], x[1] - x[0]), self.to.tensor.window(y[0], y[1] - y[0]));
        let [x_row, x_slot, x_column] = self.from.strides.map(|stride| stride as u32);
        let [y_row, y_slot, y_column] = self.to.strides.map(|stride| stride as u32);
        let given = |axis: usize, given: usize| given.saturating_sub(first[axis]) as u32;
        let mapped = self.slots.is_some();
        let count: usize = size.iter().product();
        let params = ArrangeParams {
            rows: size[0] as u32,
            slots: size[1] as u32,
            columns: size[2] as u32,
            x_rows: given(0, self.given[0]),
            x_columns: given(2, self.given[1]),
            accumulate: u32::from(self.accumulate),
            x_base: from.base(),
            x_row,
            x_slot,
            x_column,
            y_base: to.base(),
            y_row,
            y_slot,
            y_column,
            mapped: u32::from(mapped),
            padding: 0,
            slot: self.slots.unwrap_or_default(),
        };
        let work = Work { flops: 0.0, bytes: 8.0 * count as f64 };
        gpu.dispatch(Arranged, &params, &[Bind::Read(from), Bind::Write(to)], spread(count.div_ceil(LANES), gpu.caps()), work)
    }
}

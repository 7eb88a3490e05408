//! The number types that a reference runs in. Each reference is written once, generic over [`Real`], and evaluated as
//!
//! - `f64`: the truth that every kernel is compared with;
//! - `f32`: the same formula done plainly, whose error scales the budget;
//! - [`Rough`]: f32 whose functions are less exact, for recurrences, where the error of one plain run is a matter of luck;
//! - [`Magnitude`]: f64 that carries beside each value the sum of the absolute values of the terms it was made of,
//!   so that a value that is small by cancellation still has the rounding of its terms in its budget.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// A real number of some precision.
pub trait Real:
    Copy
    + Debug
    + Send
    + Sync
    + 'static
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    /// Zero.
    const ZERO: Self;
    /// Rounds to this precision.
    fn new(x: f64) -> Self;
    /// The value.
    fn value(self) -> f64;
    /// The sum of the absolute values of the terms; |value| where it is not tracked.
    fn magnitude(self) -> f64;
    /// e to the power of self.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// The same value as a single term: what a recurrence hands from one step to the next. The terms of a step are terms of
    /// its own sums only. Carried on they would multiply: the magnitudes of T steps through U grow like those of |U|ᵀ to the
    /// power of T, which overflows where the values shrink, and allows any error. What rounding of earlier steps does to later ones
    /// is what the runs in f32 show.
    fn settled(self) -> Self;
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            fn new(x: f64) -> Self {
                x as $t
            }
            fn value(self) -> f64 {
                self as f64
            }
            fn magnitude(self) -> f64 {
                self.abs() as f64
            }
            fn exp(self) -> Self {
                self.exp()
            }
            fn ln(self) -> Self {
                self.ln()
            }
            fn tanh(self) -> Self {
                self.tanh()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn settled(self) -> Self {
                self
            }
        }
    };
}
real!(f32);
real!(f64);

/// An f32 whose exp, ln and tanh are off by a unit in the last place, as a device's are. A recurrence hands few values on, and where a state
/// is near 1 the next gradients are as exact as its last bit: 1 - h² of h = 0.99 loses six bits. Where the CPU's tanh happens to have that bit
/// right the plain run shows no error at all.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rough(f32);

impl Rough {
    /// The next number away from zero. Zero stays, and so does 1: what was not beyond it does not get there.
    fn off(x: f32) -> Self {
        Rough(if x.is_finite() && x != 0.0 && x.abs() != 1.0 { f32::from_bits(x.to_bits() + 1) } else { x })
    }
}

macro_rules! as_f32 {
    ($($operator:ident $method:ident)*) => {
        $(impl $operator for Rough {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                Rough(self.0.$method(other.0))
            }
        })*
    };
}
as_f32!(Add add Sub sub Mul mul Div div);

impl Neg for Rough {
    type Output = Self;
    fn neg(self) -> Self {
        Rough(-self.0)
    }
}

impl AddAssign for Rough {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Real for Rough {
    const ZERO: Self = Rough(0.0);
    fn new(x: f64) -> Self {
        Rough(x as f32)
    }
    fn value(self) -> f64 {
        self.0.into()
    }
    fn magnitude(self) -> f64 {
        self.value().abs()
    }
    fn exp(self) -> Self {
        Rough::off(self.0.exp())
    }
    fn ln(self) -> Self {
        Rough::off(self.0.ln())
    }
    fn tanh(self) -> Self {
        Rough::off(self.0.tanh())
    }
    fn sqrt(self) -> Self {
        Rough(self.0.sqrt())
    }
    fn settled(self) -> Self {
        self
    }
}

/// An f64 and the same formula with the absolute value of every term.
#[derive(Clone, Copy, Debug)]
pub struct Magnitude {
    value: f64,
    size: f64,
}

impl Magnitude {
    /// A nonlinear function's result counts as one term.
    fn term(value: f64) -> Self {
        Magnitude { value, size: value.abs() }
    }
}

impl PartialEq for Magnitude {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialOrd for Magnitude {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl Add for Magnitude {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Magnitude { value: self.value + other.value, size: self.size + other.size }
    }
}

impl Sub for Magnitude {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Magnitude { value: self.value - other.value, size: self.size + other.size }
    }
}

impl Mul for Magnitude {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Magnitude { value: self.value * other.value, size: self.size * other.size }
    }
}

impl Div for Magnitude {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        Magnitude { value: self.value / other.value, size: self.size / other.value.abs() }
    }
}

impl Neg for Magnitude {
    type Output = Self;
    fn neg(self) -> Self {
        Magnitude { value: -self.value, size: self.size }
    }
}

impl AddAssign for Magnitude {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Real for Magnitude {
    const ZERO: Self = Magnitude { value: 0.0, size: 0.0 };
    fn new(x: f64) -> Self {
        Magnitude::term(x)
    }
    fn value(self) -> f64 {
        self.value
    }
    fn magnitude(self) -> f64 {
        self.size
    }
    fn exp(self) -> Self {
        Magnitude::term(self.value.exp())
    }
    fn ln(self) -> Self {
        Magnitude::term(self.value.ln())
    }
    fn tanh(self) -> Self {
        Magnitude::term(self.value.tanh())
    }
    fn sqrt(self) -> Self {
        Magnitude::term(self.value.sqrt())
    }
    fn settled(self) -> Self {
        Magnitude::term(self.value)
    }
}

/// The sum of the products of two rows.
pub(crate) fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    let mut sum = R::ZERO;
    a.iter().zip(b).for_each(|(&a, &b)| sum += a * b);
    sum
}

/// Adds `from` to `to`, element by element.
pub(crate) fn add<R: Real>(to: &mut [R], from: &[R]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
}

/// Adds factor · `from` to `to`, element by element.
pub(crate) fn add_scaled<R: Real>(to: &mut [R], factor: R, from: &[R]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to += factor * from);
}

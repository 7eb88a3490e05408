//! How the rate changes from step to step.

use std::f64::consts::PI;

use crate::{Error, Result};

/// What the rate does once it is warm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Decay {
    /// It stays.
    #[default]
    None,
    /// Half a cosine down to 0, which it reaches when this many steps have been made altogether.
    Cosine {
        /// Steps altogether, those of the warm-up included.
        steps: u64,
    },
}

/// The rate as a share of the highest one: up in a line over the warm-up, then as the decay says.
///
/// Source: Loshchilov & Hutter 2016, arXiv:1608.03983, for the cosine, without restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Schedule {
    /// Steps until the rate is the highest.
    pub warm_up: u64,
    /// What follows.
    pub decay: Decay,
}

impl Schedule {
    /// Of what users write: `warm_up` steps, then a constant rate or, with `cosine`, one that ends at `steps`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a warm-up that leaves no step of the cosine.
    pub fn new(warm_up: u64, cosine: Option<u64>) -> Result<Self> {
        match cosine {
            Some(steps) if steps <= warm_up => {
                let expected = format!("fewer than the {steps} steps of the schedule");
                Err(Error::Argument { op: "schedule", key: "warm_up".into(), expected, got: warm_up.to_string() })
            }
            Some(steps) => Ok(Schedule { warm_up, decay: Decay::Cosine { steps } }),
            None => Ok(Schedule { warm_up, decay: Decay::None }),
        }
    }

    /// What the highest rate is multiplied by in the step after `done` ones, from 0 to 1.
    pub fn factor(&self, done: u64) -> f64 {
        if done < self.warm_up {
            return (done + 1) as f64 / self.warm_up as f64;
        }
        match self.decay {
            Decay::None => 1.0,
            Decay::Cosine { steps } => {
                let rest = steps.saturating_sub(self.warm_up).max(1);
                let share = (done - self.warm_up).min(rest) as f64 / rest as f64;
                (1.0 + (PI * share).cos()) / 2.0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let schedule = Schedule::new(4, Some(14)).unwrap();
        assert_eq!([0, 1, 3, 4].map(|t| schedule.factor(t)), [0.25, 0.5, 1.0, 1.0]);
        assert!((schedule.factor(9) - 0.5).abs() < 1e-15);
        assert_eq!([14, 1000].map(|t| schedule.factor(t)), [0.0, 0.0]);
        assert_eq!([0, 1 << 40].map(|t| Schedule::default().factor(t)), [1.0, 1.0]);
        assert_eq!([0, 1, 2].map(|t| Schedule::new(2, None).unwrap().factor(t)), [0.5, 1.0, 1.0]);
        assert!(Schedule::new(5, Some(5)).is_err());
    }
}

//! Layers and directions, read off the names of a request's weights.

use std::collections::BTreeMap;

use super::{Cell, Peep, suffix};
use crate::ops::Input;
use crate::{Error, Result};

/// Errors list this many names and then end in an ellipsis.
const LISTED: usize = 12;

/// What the names of the weights say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub layers: usize,
    pub directions: usize,
    pub bias: bool,
    pub projection: bool,
    pub peep: Peep,
}

impl Named {
    /// Finds the weights among tensors by name, and whether each layer and direction has the same ones.
    ///
    /// # Errors
    /// [`Error::Tensors`] that names what is missing.
    pub fn of<T>(cell: Cell, tensors: &BTreeMap<String, T>) -> Result<Self> {
        let op = cell.op();
        let places = |name: &'static str| {
            let input = Input::layered(name, "");
            tensors.keys().filter_map(move |tensor| input.place(tensor))
        };
        let has = |name| places(name).next().is_some();
        let all = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "peep"];
        let every = || all.into_iter().flat_map(places);
        let layers = every().map(|(layer, _)| layer + 1).max().unwrap_or(1);
        let directions = every().map(|(_, direction)| direction + 1).max().unwrap_or(1);
        let (bias, projection) = (has("bias_ih") || has("bias_hh"), has("weight_hr"));
        let peep = match (tensors.contains_key("peep"), has("peep")) {
            (false, false) => Peep::None,
            (true, false) => Peep::Shared,
            (false, true) => Peep::Each,
            (true, true) => {
                let what = "tensor 'peep' for all layers and directions, and others of their own".to_string();
                return Err(Error::Tensors { op, what, expected: "either 'peep', or 'peep_l0' and so on".into() });
            }
        };
        let used = [true, true, bias, bias, projection, peep == Peep::Each];
        let bases: Vec<&str> = all.into_iter().zip(used).filter(|&(_, used)| used).map(|(base, _)| base).collect();
        let named = |cell: usize| bases.iter().map(move |base| format!("{base}{}", suffix(cell / directions, cell % directions)));
        let mut expected = (0..layers * directions).flat_map(named);
        let missing: Vec<String> = expected.clone().filter(|name| !tensors.contains_key(name)).take(LISTED + 1).collect();
        if missing.is_empty() {
            return Ok(Named { layers, directions, bias, projection, peep });
        }
        let (noun, verb) = if missing.len() == 1 { ("tensor", "is") } else { ("tensors", "are") };
        let listed = |names: &mut dyn Iterator<Item = String>| {
            let mut names: Vec<String> = names.take(LISTED + 1).collect();
            if names.len() > LISTED {
                names[LISTED] = "…".into();
            }
            names.join(", ")
        };
        let what = format!("{noun} {} {verb} missing", listed(&mut missing.into_iter().map(|name| format!("'{name}'"))));
        let directions = if directions == 2 { " in both directions" } else { "" };
        let plural = if layers == 1 { "" } else { "s" };
        let expected = format!("for {layers} layer{plural}{directions} {}", listed(&mut expected));
        Err(Error::Tensors { op, what, expected })
    }
}

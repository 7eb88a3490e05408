//! What the benches of rnn, gru and lstm share: how a large case is verified by one of its sequences.

use wattn::ops::Arrays;
use wattn::ops::philox::Rng;
use wattn::{Array, Data};

use crate::common::take;

/// Tensors with a batch, which is their dimension 1; and the gradients of these.
const OF_SEQUENCES: &[&str] = &["x", "y", "h0", "hn", "c0", "cn"];

fn of_sequences(name: &str) -> bool {
    OF_SEQUENCES.contains(&name.strip_prefix("d_").unwrap_or(name))
}

/// A part: the last sequence, and all weights.
pub fn last_sequence(tensors: &Arrays) -> Arrays {
    let last = |array: &Array| take(array, 1, &[array.shape()[1] - 1]);
    tensors.iter().map(|(name, array)| (name.clone(), if of_sequences(name) { last(array) } else { array.clone() })).collect()
}

/// An edit: no upstream gradient but that of the last sequence is other than zero. So the gradients of the weights, which are sums
/// over all sequences, are those of the last one, and those of its part. The work is the same.
pub fn upstream_of_last(tensors: &mut Arrays, _: &mut Rng) {
    for (_, array) in tensors.iter_mut().filter(|(name, _)| name.starts_with("d_")) {
        let (batch, columns) = (array.shape()[1], array.shape()[2]);
        let Data::F32(values) = array.data_mut() else { continue };
        values.chunks_mut(columns).enumerate().filter(|(n, _)| n % batch + 1 < batch).for_each(|(_, row)| row.fill(0.0));
    }
}

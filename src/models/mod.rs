//! Models of layers: [`seq2seq`], an encoder and a decoder with attention between them, and [`tagger`], tags for the elements of a sequence.
//!
//! A model's options say its sizes; it draws its parameters in a [`Parameters`](crate::nn::Parameters), which a file can hold. Both run on a GPU
//! and on the references.

mod search;
pub mod seq2seq;
mod sequences;
pub mod tagger;
#[cfg(test)]
mod tests;

pub use crate::tasks::vocabulary::{BOS, EOS, PAD};
pub use sequences::{IGNORED, Sequences};

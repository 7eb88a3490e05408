//! wattn's operations beside burn's, on one adapter, alternately in one run.
//!
//! ```sh
//! cd benches/peers
//! cargo run --release -- matmul                         # squares of 256, 512, 1024 and 2048
//! cargo run --release -- matmul --size 768
//! cargo run --release -- attention                      # 8 heads of 64, 1024 queries and keys
//! cargo run --release -- attention --seq 256,512,1024,2048,4096
//! cargo run --release -- attention 1024_forward         # one case, or those with a part of their name in common
//! cargo run --release -- attention bias --seq 512 --rounds 20 --path composed --csv times.csv
//! cargo run --release -- lstm                           # 64 steps, 16 sequences, 256 inputs, 256 hidden
//! cargo run --release -- gru                            # the same
//! cargo run --release -- seq2seq                        # steps of training an encoder-decoder, as `wattn train translate` has it
//! cargo run --release -- seq2seq --hidden 64 --steps 5
//! cargo run --release -- cold                           # from the start of a process to its first result
//! ```
//!
//! `WATTN_DEVICE` or `--device` chooses the adapter, as for the other benches.
//!
//! This is a crate of its own, with a workspace and a lock of its own, because burn brings some 200 crates: the first build takes about 15
//! minutes on 2 cores. Nobody who builds or tests wattn should wait for that.
//!
//! # What is compared
//!
//! Each library opens its own device on the same adapter, as its users would, and gets the same f32 inputs. Time is on the wall, from the
//! call until the device is idle; outputs are alive until then, so that neither may leave out what nobody reads. The libraries take turns:
//! what slows the machine down slows both. The file of each operation says which calls stand for it.
//!
//! Results are compared before anything is timed, and again with what was timed last, since burn may change its kernels as it tunes. A case
//! whose results are wrong gives no times; the others go on, and the program fails in the end.
//!
//! The first call of each case is reported apart: it holds the compilation of kernels and burn's tuning. What an earlier case has compiled
//! or tuned, a later one has for nothing; `cold` starts a process for each call instead, and keeps drivers from finding what they have
//! compiled before. Elsewhere they do: with Mesa, `MESA_SHADER_CACHE_DISABLE=true` makes a first call a first one. On lavapipe 25 burn's
//! takes minutes for a product or attention and more than half an hour for both cases of the LSTM: the kernels that it tries join products
//! with the gates, and that driver compiles one of them for minutes. A first step of `seq2seq` needs kernels of that kind too. With what
//! the driver kept it is seconds, and what an interrupted run has compiled is kept.
//!
//! `--no-default-features` builds burn without its fusion, which the output then says: for comparing results where nobody would wait.

mod attention;
mod case;
mod cold;
mod device;
mod gru;
mod lstm;
mod matmul;
mod recurrent;
mod report;
mod seq2seq;
mod turns;

use std::error::Error;
use std::process::ExitCode;

use burn::nn::Lstm;
use burn::nn::gru::Gru;
use clap::Parser;

/// The seed of every drawn tensor.
const SEED: u64 = 0;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Times wattn's operations and burn's alternately.
#[derive(Parser)]
enum Args {
    /// Products of square matrices: forward.
    Matmul(matmul::Args),
    /// Attention: forward, and forward with backward.
    Attention(attention::Args),
    /// One LSTM layer: inference, and training.
    Lstm(recurrent::Args),
    /// One GRU layer: inference, and training.
    Gru(recurrent::Args),
    /// Training of an LSTM encoder-decoder with attention: steps.
    Seq2seq(seq2seq::Args),
    /// The time from the start of a process to its first result.
    #[command(mut_arg("rounds", |rounds| rounds.default_value("3")))]
    Cold(cold::Args),
    /// One sample of `cold`.
    #[command(name = cold::FIRST, hide = true)]
    First(cold::First),
}

fn main() -> ExitCode {
    let done = match &Args::parse() {
        Args::Matmul(args) => matmul::run(args),
        Args::Attention(args) => attention::run(args),
        Args::Lstm(args) => recurrent::run::<Lstm>(args),
        Args::Gru(args) => recurrent::run::<Gru>(args),
        Args::Seq2seq(args) => seq2seq::run(args),
        Args::Cold(args) => cold::run(args),
        Args::First(args) => cold::first(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

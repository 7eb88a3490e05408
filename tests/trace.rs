//! `Gpu::trace`: a trace is whole, and is in the order of the queue. What Dawn makes of traces is tested in tests/tint.

mod common;

use wattn::gpu::{Range, Step, Trace};
use wattn::ops::attention::{self, AttentionOptions, Inputs};
use wattn::{Error, Gpu, GpuOptions};

fn open() -> Gpu {
    common::open(GpuOptions::default())
}

/// The places that are written by the host, and those that some dispatch binds.
fn places(trace: &Trace) -> (Vec<Range>, Vec<Range>) {
    let (mut written, mut bound) = (vec![], vec![]);
    for step in &trace.steps {
        match step {
            Step::Write { range, bytes } => {
                assert_eq!(range.bytes, bytes.len() as u64);
                written.push(*range);
            }
            Step::Dispatch(dispatch) => bound.extend(dispatch.binds.iter().map(|(_, range)| *range)),
        }
    }
    (written, bound)
}

#[test]
fn tensors_older_than_the_trace_are_in_it() {
    let gpu = open();
    let shape = [1, 1, 2, 4];
    let old = gpu.tensor(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &shape).unwrap();
    let run = || {
        let new = gpu.tensor(&[9.0f32; 8], &shape)?;
        let attended = attention::forward(&gpu, &Inputs::new(&old, &old, &new), &AttentionOptions::default())?;
        Ok((new, attended.o))
    };
    let ((new, o), trace) = gpu.trace(run).unwrap();
    let (written, bound) = places(&trace);
    let find = |tensor| trace.find(tensor).unwrap();
    assert!(bound.iter().any(|range| range.buffer == find(&o).buffer), "the output is bound");
    assert!(written.contains(&find(&new)), "the upload is a write");
    let captured = trace.steps.iter().find_map(|step| match step {
        Step::Write { range, bytes } if range.buffer == find(&old).buffer => Some(bytes),
        _ => None,
    });
    let captured = captured.expect("what the older tensor held is a write");
    assert_eq!(captured[..4], 1.0f32.to_le_bytes());
    assert_eq!(captured[28..32], 8.0f32.to_le_bytes());
    // Whatever a dispatch binds has a number, and fits its buffer.
    assert!(bound.iter().all(|range| range.offset + range.bytes <= trace.buffers[range.buffer]));
    let other = gpu.tensor(&[0.0f32], &[1]).unwrap();
    assert_eq!(trace.find(&other).map(|range| range.buffer).filter(|&number| number == find(&o).buffer), None);
}

#[test]
fn memory_that_is_used_again_is_another_buffer() {
    let gpu = open();
    let run = || {
        drop(gpu.tensor(&[1.0f32; 64], &[64])?);
        gpu.flush()?;
        gpu.tensor(&[2.0f32; 64], &[64])
    };
    let (last, trace) = gpu.trace(run).unwrap();
    assert_eq!((trace.buffers.len(), trace.find(&last).unwrap().buffer), (2, 1));
}

#[test]
fn a_trace_in_a_trace_or_in_an_encoder_is_refused() {
    let gpu = open();
    let (inner, trace) = gpu.trace(|| Ok(gpu.trace(|| Ok(())).map(drop))).unwrap();
    assert!(matches!(inner, Err(Error::Argument { op: "trace", .. })) && trace.steps.is_empty());
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let inner = gpu.encode(&mut encoder, |gpu| Ok(gpu.trace(|| Ok(())).map(drop))).unwrap();
    assert!(matches!(inner, Err(Error::Argument { op: "trace", .. })));
    // And a failure leaves nothing behind.
    let failed: wattn::Result<((), Trace)> = gpu.trace(|| Err(Error::Timeout { seconds: 0.0 }));
    assert!(failed.is_err() && gpu.trace(|| Ok(())).is_ok());
}

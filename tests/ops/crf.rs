use crate::{Device, assert_close, floats, gpu, normal, run};
use wattn::gpu::Step;
use wattn::ops::crf::{self, CrfOptions, Inputs};
use wattn::{Array, Data, Error, Gpu, Tensor};

crate::cases!("crf");

/// The scores of a chain on the host: emissions, transitions, start, end.
struct Scores([Array; 4]);

impl Scores {
    fn new(seed: u64, shape: [usize; 3]) -> Self {
        let tags = shape[2];
        Scores([normal(seed, &shape), normal(seed + 1, &[tags, tags]), normal(seed + 2, &[tags]), normal(seed + 3, &[tags])])
    }

    fn named<'a>(&'a self, tags: &'a Array) -> [(&'static str, &'a Array); 5] {
        let [emissions, transitions, start, end] = &self.0;
        [("emissions", emissions), ("transitions", transitions), ("start", start), ("end", end), ("tags", tags)]
    }

    /// Calls `f` with them on a device.
    fn on<T>(&self, gpu: &Gpu, lengths: Option<&[i32]>, f: impl FnOnce(&Inputs) -> T) -> T {
        let [emissions, transitions, start, end] = &self.0.each_ref().map(|array| gpu.upload(array).unwrap());
        f(&Inputs { emissions, transitions, start, end, lengths })
    }
}

fn any_tags(batch: usize, time: usize, tags: usize) -> Array {
    Array::i32(&[batch, time], (0..batch * time).map(|n| (n * 7 % tags) as i32).collect())
}

fn read(tensor: &Tensor) -> Vec<f32> {
    tensor.read_blocking().unwrap()
}

/// However long the sequence is and however large the scores are.
#[test]
fn marginals_of_a_step_sum_to_one() {
    for (shape, factor) in [([2, 3001, 5], 1.0), ([3, 40, 67], 1.0), ([1, 60, 9], 10_000.0)] {
        let mut scores = Scores::new(5, shape);
        if let Data::F32(values) = scores.0[0].data_mut() {
            values.iter_mut().for_each(|x| *x *= factor);
        }
        let marginals = scores.on(gpu(), None, |inputs| read(&crf::marginals(gpu(), inputs).unwrap()));
        let sums: Vec<f32> = marginals.chunks(shape[2]).map(|row| row.iter().map(|&x| f64::from(x)).sum::<f64>() as f32).collect();
        assert_close(&sums, &vec![1.0; sums.len()], 1e-6);
    }
}

/// A number added to all scores of a step is in every path's score: log_z moves along, and the tags are as likely as before.
#[test]
fn a_shift_of_a_step_moves_log_z() {
    let (mut scores, tags) = (Scores::new(11, [3, 20, 6]), any_tags(3, 20, 6));
    let before = run("crf", &scores.named(&tags), &[]);
    if let Data::F32(values) = scores.0[0].data_mut() {
        // Of step 4 of each sequence.
        values.chunks_mut(20 * 6).for_each(|sequence| sequence[24..30].iter_mut().for_each(|x| *x += 512.0));
    }
    let after = run("crf", &scores.named(&tags), &[]);
    let moved = |name: &str| floats(&before[name]).iter().map(|x| x + 512.0).collect::<Vec<f32>>();
    assert_close(floats(&after["log_z"]), &moved("log_z"), 1e-3);
    assert_close(floats(&after["viterbi_score"]), &moved("viterbi_score"), 1e-3);
    assert_close(floats(&after["nll"]), floats(&before["nll"]), 1e-3);
    assert_eq!(after["viterbi_path"], before["viterbi_path"]);
}

/// The score of tags is log_z - nll; of the best path it is the best score, and no other path's is higher.
#[test]
fn the_best_score_is_the_score_of_the_best_path() {
    let (scores, tags) = (Scores::new(21, [5, 37, 8]), any_tags(5, 37, 8));
    let score = |ran: &wattn::ops::Arrays| -> Vec<f32> {
        floats(&ran["log_z"]).iter().zip(floats(&ran["nll"])).map(|(log_z, nll)| log_z - nll).collect()
    };
    let ran = run("crf", &scores.named(&tags), &[]);
    let best = run("crf", &scores.named(&ran["viterbi_path"]), &[]);
    assert_close(&score(&best), floats(&ran["viterbi_score"]), 1e-4);
    assert!(score(&ran).iter().zip(floats(&ran["viterbi_score"])).all(|(score, best)| score < best));
}

/// Sequences whose every path is forbidden have no gradient; forbidden moves have one that is exactly 0.
#[test]
fn what_is_forbidden_has_no_gradient() {
    let mut scores = Scores::new(31, [2, 9, 4]);
    let shut = f32::NEG_INFINITY;
    for (n, places) in [(0, 36 + 8..36 + 12), (1, 6..7)] {
        let Data::F32(values) = scores.0[n].data_mut() else { unreachable!("scores are f32") };
        values[places].fill(shut);
    }
    let gpu = gpu();
    let tags = gpu.upload(&any_tags(2, 9, 4)).unwrap();
    let (likelihood, gradients) = scores.on(gpu, None, |inputs| {
        let (likelihood, saved) = crf::forward(gpu, inputs, &tags, &CrfOptions::default()).unwrap();
        let d_loss = gpu.tensor(&[1.0f32], &[]).unwrap();
        (likelihood, crf::backward(gpu, &saved, &d_loss).unwrap())
    });
    let (log_z, nll) = (read(&likelihood.log_z), read(&likelihood.nll));
    assert!(log_z[0].is_finite() && log_z[1] == shut && nll[1] == f32::INFINITY, "{log_z:?} {nll:?}");
    let d_emissions = read(&gradients.d_emissions);
    assert!(d_emissions[..36].iter().any(|&d| d != 0.0) && d_emissions[36..].iter().all(|&d| d == 0.0));
    let d_transitions = read(&gradients.d_transitions);
    assert!(d_transitions.iter().all(|d| d.is_finite()) && d_transitions[6] == 0.0, "{d_transitions:?}");
    for d in [&gradients.d_start, &gradients.d_end] {
        assert!(read(d).iter().all(|d| d.is_finite()));
    }
}

/// The gradient of log_z by a score is a probability, and that of the tags' score is a count: both sum to the number of steps.
#[test]
fn gradients_of_all_steps_sum_to_zero() {
    let (scores, tags) = (Scores::new(41, [4, 50, 7]), any_tags(4, 50, 7));
    let mut tensors = scores.named(&tags).to_vec();
    let (d_loss, lengths) = (Array::f32(&[], vec![1.0]), Array::i32(&[4], vec![50, 0, 1, 33]));
    tensors.extend([("d_loss", &d_loss), ("lengths", &lengths)]);
    let ran = run("crf", &tensors, &[]);
    for name in ["d_emissions", "d_transitions", "d_start", "d_end"] {
        let sum: f64 = floats(&ran[name]).iter().map(|&x| f64::from(x)).sum();
        assert!(sum.abs() < 1e-4, "{name}: {sum}");
    }
}

/// Tags that only the device sees: within a length they are reported, past it they are not looked at.
#[test]
fn tags_out_of_range_are_reported() {
    let gpu = Device::Default.open();
    let scores = Scores::new(51, [2, 5, 3]);
    let (lengths, options) = ([3, 5], CrfOptions::default());
    let nll = |tags: [i32; 10]| {
        let tags = gpu.tensor(&tags, &[2, 5]).unwrap();
        let (likelihood, saved) = scores.on(&gpu, Some(&lengths), |inputs| crf::forward(&gpu, inputs, &tags, &options)).unwrap();
        let d_loss = gpu.tensor(&[1.0f32], &[]).unwrap();
        let gradients = crf::backward(&gpu, &saved, &d_loss).unwrap();
        (likelihood.nll.read_blocking::<f32>(), gradients.d_transitions.read_blocking::<f32>())
    };
    for wrong in [-1, 3, i32::MAX, i32::MIN] {
        let (first, then) = nll([0, 1, wrong, 0, 0, 1, 2, 0, 1, 2]);
        assert!(matches!(first, Err(Error::Index { op: "crf", tensor: "tags" })), "{first:?}");
        assert!(then.unwrap().iter().all(|d| d.is_finite()));
        let (past, then) = nll([0, 1, 2, wrong, wrong, 1, 2, 0, 1, 2]);
        assert!(past.unwrap().iter().all(|nll| nll.is_finite()) && then.is_ok());
    }
}

/// A tagger that only decodes runs nothing else.
#[test]
fn decoding_takes_the_best_path_alone() {
    let gpu = Device::Default.open();
    let (decoded, trace) = Scores::new(61, [3, 12, 5]).on(&gpu, None, |inputs| gpu.trace(|| crf::decode(&gpu, inputs)).unwrap());
    let name = |step: &Step| match step {
        Step::Dispatch(dispatch) => Some(dispatch.variant.kernel.name),
        Step::Write { .. } => None,
    };
    let kernels: Vec<&str> = trace.steps.iter().filter_map(name).collect();
    assert_eq!(kernels, ["crf/table", "crf/viterbi", "crf/viterbi_path", "crf/likelihood"]);
    assert!(decoded.path.read_blocking::<i32>().unwrap().iter().all(|tag| (0..5).contains(tag)));
}

/// More tags than a workgroup has invocations are refused.
#[test]
fn too_many_tags_are_refused() {
    let scores = Scores::new(71, [1, 2, 257]);
    let error = scores.on(gpu(), None, |inputs| crf::decode(gpu(), inputs)).unwrap_err();
    assert_eq!(error.to_string(), "crf: the number of tags is 257, over this device's limit of 256");
}

//! The reference: one sequence after the other, layer by layer, step by step, and back.
//!
//! The formula of a step and its derivative are in the cpu.rs of [`rnn`], [`gru`] and [`lstm`]; here are the order of the steps, the layers, and
//! the sums over steps and sequences that make the gradients of the weights.

use super::step::{Matrix, State, Step, StepGradient, Weights, settle};
use super::{Cell, Peep, Problem, suffix};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::real::{add, add_scaled};
use crate::ops::{Real, References, Request, Values, gru, lstm, parallel, philox, rnn};

/// One layer and direction of one sequence.
struct Pass<R> {
    /// The steps by t, as many as the sequence is long.
    steps: Vec<Step<R>>,
    /// The state after the last step.
    last: State<R>,
    /// Of each step, the gradient of its h, from y and from the steps after it, and those of what it is made from.
    gradients: Vec<(Vec<R>, StepGradient<R>)>,
    /// The gradient of the initial state.
    d_first: State<R>,
}

/// One layer of one sequence: what it takes at each t, and its directions.
struct Layer<R> {
    inputs: Vec<Vec<R>>,
    passes: Vec<Pass<R>>,
}

/// One sequence.
struct Sequence<R> {
    layers: Vec<Layer<R>>,
    /// y at each t that there is.
    y: Vec<Vec<R>>,
    /// d_x at each t that there is; empty without upstream gradients.
    d_x: Vec<Vec<R>>,
}

/// A request's tensors in the arithmetic of `R`.
struct Inputs<R> {
    problem: Problem,
    lengths: Vec<u32>,
    /// By layer · directions + direction.
    weights: Vec<Weights<R>>,
    x: Vec<R>,
    h0: Vec<R>,
    c0: Vec<R>,
    d_y: Vec<R>,
    d_hn: Vec<R>,
    d_cn: Vec<R>,
}

impl<R: Real> Inputs<R> {
    fn of(problem: Problem, request: &Request) -> Result<Self> {
        let Problem { cell, hidden, .. } = problem;
        let rows = cell.gates() * hidden;
        let or_zeros = |name: &str, n: usize| request.tensor(name).map_or_else(|| vec![R::ZERO; n], reals);
        let weights = |(layer, direction)| {
            let suffix = suffix(layer, direction);
            let name = |base: &str| format!("{base}{suffix}");
            let matrix = |base: &str| required(cell.op(), request, &name(base)).map(Matrix::of);
            let peep = if problem.peep == Peep::Each { name("peep") } else { "peep".into() };
            Ok(Weights {
                hidden,
                weight_ih: matrix("weight_ih")?,
                weight_hh: matrix("weight_hh")?,
                bias_ih: or_zeros(&name("bias_ih"), rows),
                bias_hh: or_zeros(&name("bias_hh"), rows),
                weight_hr: if problem.projection { Some(matrix("weight_hr")?) } else { None },
                peep: or_zeros(&peep, 3 * hidden),
            })
        };
        let size = |shape: [usize; 3]| shape.iter().product();
        let c = if cell == Cell::Lstm { size(problem.c_shape()) } else { 0 };
        let (y, h) = (size(problem.y_shape()), size(problem.h_shape()));
        Ok(Inputs {
            lengths: problem.lengths_of(request)?,
            weights: problem.places().map(weights).collect::<Result<_>>()?,
            x: reals(required(cell.op(), request, "x")?),
            h0: or_zeros("h0", h),
            c0: or_zeros("c0", c),
            d_y: or_zeros("d_y", y),
            d_hn: or_zeros("d_hn", h),
            d_cn: or_zeros("d_cn", c),
            problem,
        })
    }

    /// A state's rows of one layer and direction: n = layer · directions + direction.
    fn state(&self, [h, c]: [&[R]; 2], n: usize, b: usize) -> State<R> {
        let row = |data: &[R], width: usize| data.chunks(width).nth(n * self.problem.batch + b).unwrap_or_default().to_vec();
        State { h: row(h, self.problem.output), c: row(c, self.problem.hidden) }
    }

    /// The row of x, y or their gradients at step t of sequence b.
    fn row<'a>(&self, data: &'a [R], t: usize, b: usize, columns: usize) -> &'a [R] {
        &data[self.problem.row(t, b) * columns..][..columns]
    }

    /// Sequence b, and with `backward` its gradients.
    fn sequence(&self, b: usize, backward: bool) -> Sequence<R> {
        let Problem { layers, directions, input, .. } = self.problem;
        let length = self.lengths[b] as usize;
        let mut traced = Vec::new();
        let mut rows: Vec<Vec<R>> = (0..length).map(|t| self.row(&self.x, t, b, input).to_vec()).collect();
        for layer in 0..layers {
            let passes: Vec<Pass<R>> = (0..directions).map(|d| self.forward(layer * directions + d, b, &rows)).collect();
            // y[t] = h[t], both directions side by side
            let y = |t: usize| passes.iter().flat_map(|pass| pass.steps[t].after.h.iter().copied()).collect();
            let inputs = std::mem::replace(&mut rows, (0..length).map(y).collect());
            if layer + 1 < layers {
                self.drop_out(layer, b, &mut rows);
            }
            traced.push(Layer { inputs, passes });
        }
        let y = rows;
        let mut d_rows = Vec::new();
        if backward {
            d_rows = (0..length).map(|t| self.row(&self.d_y, t, b, self.problem.columns()).to_vec()).collect();
            for (layer, traced) in traced.iter_mut().enumerate().rev() {
                let mut d_inputs = vec![vec![R::ZERO; self.problem.layer_input(layer)]; length];
                for (direction, pass) in traced.passes.iter_mut().enumerate() {
                    self.backward([layer, direction, b], pass, &d_rows, &mut d_inputs);
                }
                d_rows = d_inputs;
                if layer > 0 {
                    // x[t] = keep y[t] / (1-p):  d_y[t] = keep d_x[t] / (1-p)
                    self.drop_out(layer - 1, b, &mut d_rows);
                    d_rows.iter_mut().flatten().for_each(|d| *d = d.settled());
                }
            }
        }
        Sequence { layers: traced, y, d_x: d_rows }
    }

    /// Drops elements of a layer's output, or of its gradient, and divides the others by 1 - p.
    fn drop_out(&self, layer: usize, b: usize, rows: &mut [Vec<R>]) {
        let Problem { time, batch, dropout_p, seed, .. } = self.problem;
        if dropout_p == 0.0 {
            return;
        }
        let kept = R::new(1.0) / (R::new(1.0) - R::new(dropout_p as f64));
        let threshold = philox::drop_threshold(dropout_p);
        for (t, row) in rows.iter_mut().enumerate() {
            let first = ((layer * time + t) * batch + b) as u64 * row.len() as u64;
            for (column, x) in row.iter_mut().enumerate() {
                let keep = philox::element(seed, first + column as u64) >= threshold;
                *x = if keep { *x * kept } else { R::ZERO };
            }
        }
    }

    /// The steps of one layer and direction: n = layer · directions + direction.
    fn forward(&self, n: usize, b: usize, rows: &[Vec<R>]) -> Pass<R> {
        let mut state = self.state([&self.h0, &self.c0], n, b);
        let mut steps = Vec::with_capacity(rows.len());
        let reverse = n % self.problem.directions == 1;
        let mut take = |x: &Vec<R>| {
            let mut step = forward_step(self.problem.cell, &self.weights[n], x, state.clone());
            settle(&mut step.after);
            state = step.after.clone();
            steps.push(step);
        };
        if reverse {
            rows.iter().rev().for_each(&mut take);
            steps.reverse();
        } else {
            rows.iter().for_each(&mut take);
        }
        Pass { steps, last: state, gradients: Vec::new(), d_first: State { h: Vec::new(), c: Vec::new() } }
    }

    /// Backpropagation through time: fills in the pass's gradients and adds to those of the layer's inputs.
    fn backward(&self, [layer, direction, b]: [usize; 3], pass: &mut Pass<R>, d_y: &[Vec<R>], d_inputs: &mut [Vec<R>]) {
        let Problem { directions, output, .. } = self.problem;
        let n = layer * directions + direction;
        let weights = &self.weights[n];
        // hn and cn are the last state.
        let mut d_state = self.state([&self.d_hn, &self.d_cn], n, b);
        let length = pass.steps.len();
        for place in 0..length {
            let t = if direction == 0 { length - 1 - place } else { place };
            // What leaves the first step is a result, and keeps its terms.
            settle(&mut d_state);
            // y[t] = h[t], and h[t] goes into the next step:  d_h[t] = d_y[t] + what comes back from there
            add(&mut d_state.h, &d_y[t][direction * output..][..output]);
            let gradient = backward_step(self.problem.cell, weights, &pass.steps[t], &d_state);
            // a = W x + b:  d_x = Wᵀ d_a
            add(&mut d_inputs[t], &weights.weight_ih.transposed_times(0..gradient.d_ih.len(), &gradient.d_ih));
            let d_after = std::mem::replace(&mut d_state, gradient.d_before.clone());
            pass.gradients.push((d_after.h, gradient));
        }
        if direction == 0 {
            pass.gradients.reverse();
        }
        pass.d_first = d_state;
    }
}

fn forward_step<R: Real>(cell: Cell, weights: &Weights<R>, x: &[R], before: State<R>) -> Step<R> {
    match cell {
        Cell::Rnn(nonlinearity) => rnn::cpu::forward(nonlinearity, weights, x, before),
        Cell::Gru(reset) => gru::cpu::forward(reset, weights, x, before),
        Cell::Lstm => lstm::cpu::forward(weights, x, before),
    }
}

fn backward_step<R: Real>(cell: Cell, weights: &Weights<R>, step: &Step<R>, d: &State<R>) -> StepGradient<R> {
    match cell {
        Cell::Rnn(nonlinearity) => rnn::cpu::backward(nonlinearity, weights, step, d),
        Cell::Gru(reset) => gru::cpu::backward(reset, weights, step, d),
        Cell::Lstm => lstm::cpu::backward(weights, step, d),
    }
}

/// y, hn and cn and, with an upstream gradient, the gradients of all inputs.
///
/// # Errors
/// As [`Problem::of`].
pub fn run<R: Real>(cell: Cell, request: &Request) -> Result<References> {
    let inputs = Inputs::<R>::of(Problem::of(cell, request)?, request)?;
    let problem = inputs.problem;
    let backward = request.wants_gradients();
    let sequences = parallel::map(problem.batch, |b| inputs.sequence(b, backward));

    let mut out = References::new();
    let mut put = |name: &str, shape: &[usize], values: &[R]| drop(out.insert(name.to_string(), Values::of(shape, values)));
    // Past a sequence's length there is no row, and 0 in the tensor.
    let by_time = |columns: usize, rows: fn(&Sequence<R>) -> &Vec<Vec<R>>| {
        let mut data = vec![R::ZERO; problem.time * problem.batch * columns];
        for (b, sequence) in sequences.iter().enumerate() {
            for (t, row) in rows(sequence).iter().enumerate() {
                data[problem.row(t, b) * columns..][..columns].copy_from_slice(row);
            }
        }
        data
    };
    let states = |part: fn(&Pass<R>) -> &Vec<R>| {
        let of = |(layer, direction): (usize, usize)| sequences.iter().flat_map(move |s| part(&s.layers[layer].passes[direction]).clone());
        problem.places().flat_map(of).collect::<Vec<R>>()
    };
    put("y", &problem.y_shape(), &by_time(problem.columns(), |s| &s.y));
    put("hn", &problem.h_shape(), &states(|pass| &pass.last.h));
    if cell == Cell::Lstm {
        put("cn", &problem.c_shape(), &states(|pass| &pass.last.c));
    }
    if !backward {
        return Ok(out);
    }
    put("d_x", &problem.x_shape(), &by_time(problem.input, |s| &s.d_x));
    let mut d_peep_shared = vec![R::ZERO; 3 * problem.hidden];
    for (layer, direction) in problem.places() {
        let moments = Moments::of(&sequences, layer, direction);
        let suffix = suffix(layer, direction);
        let mut put = |base: &str, shape: &[usize], values: &[R]| put(&format!("d_{base}{suffix}"), shape, values);
        let (rows, columns) = (cell.gates() * problem.hidden, problem.layer_input(layer));
        // W x + b:  d_W[i,j] = Σ d_ih[i] x[j],  d_b = Σ d_ih
        put("weight_ih", &[rows, columns], &moments.products(rows, columns, |m, i| (m.gradient.d_ih[i], m.x)));
        // U h + b':  d_U[i,j] = Σ d_hh[i] h[j],  d_b' = Σ d_hh
        put(
            "weight_hh",
            &[rows, problem.output],
            &moments.products(rows, problem.output, |m, i| (m.gradient.d_hh[i], m.step.multiplied(i, problem.hidden))),
        );
        if problem.bias {
            put("bias_ih", &[rows], &moments.sums(rows, |m, i| m.gradient.d_ih[i]));
            put("bias_hh", &[rows], &moments.sums(rows, |m, i| m.gradient.d_hh[i]));
        }
        if problem.projection {
            // h' = W_hr m:  d_W_hr[i,j] = Σ d_h'[i] m[j]
            let products = moments.products(problem.output, problem.hidden, |m, i| (m.d_h[i], &m.step.m));
            put("weight_hr", &[problem.output, problem.hidden], &products);
        }
        if problem.peep != Peep::None {
            let d_peep = moments.sums(3 * problem.hidden, |m, i| lstm::cpu::d_peep(m.step, m.gradient, i));
            if problem.peep == Peep::Each {
                put("peep", &[3, problem.hidden], &d_peep);
            }
            add(&mut d_peep_shared, &d_peep);
        }
    }
    for (name, shape, part) in
        [("h0", problem.h_shape(), (|pass| &pass.d_first.h) as fn(&Pass<R>) -> &Vec<R>), ("c0", problem.c_shape(), |pass| &pass.d_first.c)]
    {
        if request.tensor(name).is_some() {
            put(&format!("d_{name}"), &shape, &states(part));
        }
    }
    if problem.peep == Peep::Shared {
        put("d_peep", &[3, problem.hidden], &d_peep_shared);
    }
    Ok(out)
}

/// One step of some sequence, with what is around it.
struct Moment<'a, R> {
    x: &'a [R],
    step: &'a Step<R>,
    /// The gradient of h after the step.
    d_h: &'a [R],
    gradient: &'a StepGradient<R>,
}

/// All steps of all sequences in one layer and direction.
struct Moments<'a, R>(Vec<Moment<'a, R>>);

impl<'a, R: Real> Moments<'a, R> {
    fn of(sequences: &'a [Sequence<R>], layer: usize, direction: usize) -> Self {
        let of = |sequence: &'a Sequence<R>| {
            let Layer { inputs, passes } = &sequence.layers[layer];
            let Pass { steps, gradients, .. } = &passes[direction];
            inputs.iter().zip(steps).zip(gradients).map(|((x, step), (d_h, gradient))| Moment { x, step, d_h, gradient })
        };
        Moments(sequences.iter().flat_map(of).collect())
    }

    /// The sum of factor times row over all steps, for each row of a gradient.
    fn products(&self, rows: usize, columns: usize, term: impl Fn(&Moment<'a, R>, usize) -> (R, &'a [R]) + Sync) -> Vec<R> {
        let row = |i: usize| {
            let mut sum = vec![R::ZERO; columns];
            self.0.iter().map(|m| term(m, i)).for_each(|(factor, row)| add_scaled(&mut sum, factor, row));
            sum
        };
        parallel::map(rows, row).concat()
    }

    /// The sum over all steps, for each element of a gradient.
    fn sums(&self, elements: usize, term: impl Fn(&Moment<'a, R>, usize) -> R) -> Vec<R> {
        let sum = |i: usize| {
            let mut sum = R::ZERO;
            self.0.iter().for_each(|m| sum += term(m, i));
            sum
        };
        (0..elements).map(sum).collect()
    }
}

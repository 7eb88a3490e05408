//! The reference, one sequence after the other.

use super::{OP, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values, parallel};

/// A score of this or less forbids.
const FORBIDS: f64 = -1e30;

fn nothing<R: Real>() -> R {
    R::new(f64::NEG_INFINITY)
}

fn is_nothing<R: Real>(x: R) -> bool {
    x.value() == f64::NEG_INFINITY
}

/// log Σ exp of k terms.
fn log_sum<R: Real>(k: usize, term: impl Fn(usize) -> R) -> R {
    let m = (1..k).map(&term).fold(term(0), |m, x| if x > m { x } else { m });
    if is_nothing(m) {
        return m;
    }
    let mut sum = R::ZERO;
    (0..k).for_each(|i| sum += (term(i) - m).exp());
    m + sum.ln()
}

/// The first of the largest of k terms.
fn best<R: Real>(k: usize, term: impl Fn(usize) -> R) -> (usize, R) {
    (1..k).map(|i| (i, term(i))).fold((0, term(0)), |best, x| if x.1 > best.1 { x } else { best })
}

/// The scores that all sequences share.
struct Chain<R> {
    /// The number of tags.
    k: usize,
    transitions: Vec<R>,
    start: Vec<R>,
    end: Vec<R>,
}

/// What one sequence of L steps makes. All but the tags' score is that of its emissions alone.
struct Sequence<R> {
    score: R,
    log_z: R,
    /// `[L, K]`
    marginals: Vec<R>,
    /// `[K, K]`: Σ over the steps of the pairs' marginals less those of the tags; empty without gradients.
    pairs: Vec<R>,
    /// L tags; empty where no path is possible.
    path: Vec<usize>,
    path_score: R,
}

impl<R: Real> Chain<R> {
    fn transition(&self, i: usize, j: usize) -> R {
        self.transitions[i * self.k + j]
    }

    fn sequence(&self, emissions: &[R], tags: &[usize], pairs: bool) -> Sequence<R> {
        let k = self.k;
        let rows: Vec<&[R]> = emissions.chunks(k).collect();
        let none = || vec![R::ZERO; if pairs { k * k } else { 0 }];
        let Some(last) = rows.len().checked_sub(1) else {
            return Sequence { score: R::ZERO, log_z: R::ZERO, marginals: vec![], pairs: none(), path: vec![], path_score: R::ZERO };
        };
        // alpha[0,j] = start[j] + emissions[0,j]
        let mut alpha: Vec<Vec<R>> = vec![(0..k).map(|j| self.start[j] + rows[0][j]).collect()];
        for (t, row) in rows.iter().enumerate().skip(1) {
            // alpha[t,j] = emissions[t,j] + log Σ_i exp(alpha[t-1,i] + transitions[i,j])
            let step = |j: usize| (row[j] + log_sum(k, |i| alpha[t - 1][i] + self.transition(i, j))).settled();
            alpha.push((0..k).map(step).collect());
        }
        // log_z = log Σ_j exp(alpha[L-1,j] + end[j])
        let log_z = log_sum(k, |j| alpha[last][j] + self.end[j]);
        let score = self.score(&rows, tags);
        let path = self.viterbi(&rows);
        let path_score = if path.is_empty() { nothing() } else { self.score(&rows, &path) };
        if is_nothing(log_z) {
            return Sequence { score, log_z, marginals: vec![R::ZERO; emissions.len()], pairs: none(), path, path_score };
        }
        // beta[L-1,i] = end[i]
        let mut beta = vec![self.end.clone()];
        for t in (0..last).rev() {
            // beta[t,i] = log Σ_j exp(transitions[i,j] + emissions[t+1,j] + beta[t+1,j])
            let next = &beta[beta.len() - 1];
            let step = |i: usize| log_sum(k, |j| self.transition(i, j) + rows[t + 1][j] + next[j]).settled();
            let step = (0..k).map(step).collect();
            beta.push(step);
        }
        beta.reverse();
        // marginals[t,j] = exp(alpha[t,j] + beta[t,j] - log_z)
        let marginals = alpha.iter().zip(&beta).flat_map(|(a, b)| (0..k).map(|j| (a[j] + b[j] - log_z).exp())).collect();
        let mut sums = none();
        for (n, sum) in sums.iter_mut().enumerate() {
            let (i, j) = (n / k, n % k);
            for t in 1..=last {
                // pair[t,i,j] = exp(alpha[t-1,i] + transitions[i,j] + emissions[t,j] + beta[t,j] - log_z)
                *sum += (alpha[t - 1][i] + self.transition(i, j) + rows[t][j] + beta[t][j] - log_z).exp();
                if (tags[t - 1], tags[t]) == (i, j) {
                    *sum += R::new(-1.0);
                }
            }
        }
        Sequence { score, log_z, marginals, pairs: sums, path, path_score }
    }

    /// start[y[0]] + Σ_t emissions[t,y[t]] + Σ_{t>0} transitions[y[t-1],y[t]] + end[y[L-1]]
    fn score(&self, rows: &[&[R]], y: &[usize]) -> R {
        let mut score = self.start[y[0]];
        for (t, row) in rows.iter().enumerate() {
            if t > 0 {
                score += self.transition(y[t - 1], y[t]);
            }
            score += row[y[t]];
        }
        score + self.end[y[y.len() - 1]]
    }

    /// The best path; empty where there is none.
    ///
    /// Kept relative to the best of the step before, since a path as long as T has a score that leaves f32 few digits for what its steps add:
    /// delta[t,j] = emissions[t,j] + max_i (delta[t-1,i] + transitions[i,j]) - max_i delta[t-1,i]
    fn viterbi(&self, rows: &[&[R]]) -> Vec<usize> {
        let k = self.k;
        let mut delta: Vec<R> = (0..k).map(|j| self.start[j] + rows[0][j]).collect();
        let mut from: Vec<Vec<usize>> = vec![];
        for row in &rows[1..] {
            let (_, highest) = best(k, |i| delta[i]);
            if is_nothing(highest) {
                return vec![];
            }
            let steps: Vec<(usize, R)> = (0..k).map(|j| best(k, |i| delta[i] + self.transition(i, j))).collect();
            delta = steps.iter().zip(row.iter()).map(|(&(_, value), &emission)| emission + value - highest).collect();
            from.push(steps.into_iter().map(|(i, _)| i).collect());
        }
        let (last, value) = best(k, |j| delta[j] + self.end[j]);
        if is_nothing(value) {
            return vec![];
        }
        let mut path = vec![last];
        from.iter().rev().for_each(|from| path.push(from[path[path.len() - 1]]));
        path.reverse();
        path
    }
}

/// Everything in the module's formulas; the gradients with an upstream one.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let Problem { batch, time, columns: k, .. } = problem;
    let scores = |name: &str| {
        let allowed = |x: f64| if x <= FORBIDS { nothing() } else { R::new(x) };
        Ok(required(OP, request, name)?.to_f64().into_iter().map(allowed).collect::<Vec<R>>())
    };
    let chain = Chain { k, transitions: scores("transitions")?, start: scores("start")?, end: scores("end")? };
    let emissions = scores("emissions")?;
    let tags: Vec<usize> = required(OP, request, "tags")?.to_f64().into_iter().map(|tag| tag as usize).collect();
    let backward = request.wants_gradients();
    let length = |b: usize| problem.lengths[b] as usize;
    let sequence = |b: usize| {
        let rows = b * time..b * time + length(b);
        chain.sequence(&emissions[rows.start * k..rows.end * k], &tags[rows], backward)
    };
    let sequences = parallel::map(batch, sequence);

    let infinity = R::new(f64::INFINITY);
    let nll = |s: &Sequence<R>| if is_nothing(s.log_z) || is_nothing(s.score) { infinity } else { s.log_z - s.score };
    let divisor = R::new(problem.divisor() as f64);
    let mut loss = R::ZERO;
    sequences.iter().for_each(|s| loss += nll(s));
    let loss = loss / divisor;

    let mut out = References::new();
    let mut put = |name: &str, shape: &[usize], values: &[R]| drop(out.insert(name.to_string(), Values::of(shape, values)));
    put("loss", &[], &[loss]);
    let each = |f: &dyn Fn(&Sequence<R>) -> R| sequences.iter().map(f).collect::<Vec<R>>();
    put("nll", &[batch], &each(&nll));
    put("log_z", &[batch], &each(&|s| s.log_z));
    put("viterbi_score", &[batch], &each(&|s| s.path_score));
    let mut path = vec![R::new(-1.0); batch * time];
    let mut marginals = vec![R::ZERO; batch * time * k];
    for (b, s) in sequences.iter().enumerate() {
        path[b * time..][..s.path.len()].iter_mut().zip(&s.path).for_each(|(to, &tag)| *to = R::new(tag as f64));
        marginals[b * time * k..][..s.marginals.len()].copy_from_slice(&s.marginals);
    }
    put("viterbi_path", &[batch, time], &path);
    put("marginals", &problem.emissions_shape(), &marginals);
    if !backward {
        return Ok(out);
    }

    let weight = reals::<R>(required(OP, request, "d_loss")?)[0] / divisor;
    let mut d_emissions = vec![R::ZERO; batch * time * k];
    let [mut d_start, mut d_end] = [vec![R::ZERO; k], vec![R::ZERO; k]];
    let mut d_transitions = vec![R::ZERO; k * k];
    for (b, s) in sequences.iter().enumerate().filter(|(b, s)| length(*b) > 0 && !is_nothing(s.log_z)) {
        for t in 0..length(b) {
            for j in 0..k {
                let hit = if tags[b * time + t] == j { R::new(1.0) } else { R::ZERO };
                // d_emissions[t,j] = w (marginals[t,j] - [tags[t] = j])
                let d = weight * (s.marginals[t * k + j] - hit);
                d_emissions[(b * time + t) * k + j] = d;
                if t == 0 {
                    d_start[j] += d;
                }
                if t + 1 == length(b) {
                    d_end[j] += d;
                }
            }
        }
        d_transitions.iter_mut().zip(&s.pairs).for_each(|(sum, &pairs)| *sum += weight * pairs);
    }
    put("d_emissions", &problem.emissions_shape(), &d_emissions);
    put("d_transitions", &[k, k], &d_transitions);
    put("d_start", &[k], &d_start);
    put("d_end", &[k], &d_end);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::philox::Rng;

    fn chain(k: usize, rng: &mut Rng) -> Chain<f64> {
        let mut normals = |n: usize| rng.normals(n).into_iter().map(f64::from).collect();
        Chain { k, transitions: normals(k * k), start: normals(k), end: normals(k) }
    }

    /// All paths of `time` of k tags.
    fn paths(k: usize, time: usize) -> Vec<Vec<usize>> {
        (0..k.pow(time as u32)).map(|n| (0..time).map(|t| n / k.pow(t as u32) % k).collect()).collect()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * (1.0 + b.abs())
    }

    /// Against a sum over all paths, which needs no recursion.
    #[test]
    fn recursions_are_sums_over_all_paths() {
        for (k, time) in [(1, 1), (1, 5), (4, 1), (2, 7), (3, 5), (5, 4)] {
            let mut rng = Rng::new((10 * k + time) as u64);
            let mut chain = chain(k, &mut rng);
            if k > 2 {
                chain.transitions[k] = nothing();
            }
            let emissions: Vec<f64> = rng.normals(time * k).into_iter().map(f64::from).collect();
            let rows: Vec<&[f64]> = emissions.chunks(k).collect();
            let paths = paths(k, time);
            let tags = &paths[rng.below(paths.len())];
            let got = chain.sequence(&emissions, tags, true);
            let scores: Vec<f64> = paths.iter().map(|path| chain.score(&rows, path)).collect();
            let z: f64 = scores.iter().map(|score| score.exp()).sum();
            assert!(close(got.log_z, z.ln()), "{k} {time}: {} {}", got.log_z, z.ln());
            let chance = |holds: &dyn Fn(&[usize]) -> bool| -> f64 {
                paths.iter().zip(&scores).filter(|(path, _)| holds(path)).map(|(_, score)| score.exp() / z).sum()
            };
            for (n, &marginal) in got.marginals.iter().enumerate() {
                assert!(close(marginal, chance(&|path| path[n / k] == n % k)));
            }
            for (n, &pair) in got.pairs.iter().enumerate() {
                let (i, j) = (n / k, n % k);
                let expected = |t: usize| chance(&|path| (path[t - 1], path[t]) == (i, j)) - f64::from((tags[t - 1], tags[t]) == (i, j));
                assert!(close(pair, (1..time).map(expected).sum()));
            }
            let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            assert!(close(got.path_score, best) && got.path_score == chain.score(&rows, &got.path));
        }
    }

    /// Of equally good paths the one that is lowest when it is read from its end.
    #[test]
    fn ties_go_to_the_lowest_tags() {
        let zeros = |n: usize| vec![0.0; n];
        let mut chain = Chain { k: 3, transitions: zeros(9), start: zeros(3), end: zeros(3) };
        assert_eq!(chain.sequence(&zeros(12), &[0; 4], false).path, [0; 4]);
        // From tag 1 to tag 0 and from 2 to 1 is better: the last tag is 0 in the best paths, and before it is 1, before that 2.
        (chain.transitions[3], chain.transitions[7]) = (1.0, 1.0);
        assert_eq!(chain.sequence(&zeros(9), &[0; 3], false).path, [2, 1, 0]);
        // Read from the end, 0 and 0 are lower than 0 and 1.
        assert_eq!(chain.sequence(&zeros(12), &[0; 4], false).path, [2, 1, 0, 0]);
    }

    #[test]
    fn without_a_path() {
        let mut chain = chain(2, &mut Rng::new(1));
        chain.end = vec![nothing(); 2];
        let got = chain.sequence(&[0.5; 6], &[0, 1, 0], true);
        assert!(is_nothing(got.log_z) && is_nothing(got.path_score) && got.path.is_empty());
        assert!(got.marginals.iter().chain(&got.pairs).all(|&x| x == 0.0));
        let empty = chain.sequence(&[], &[], true);
        assert_eq!((empty.log_z, empty.score, empty.path_score, empty.marginals.len()), (0.0, 0.0, 0.0, 0));
    }
}

//! Threads for the references: independent slices of the work, results in the order of the slices.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `[f(0), f(1), …, f(n - 1)]`, evaluated on as many threads as the machine has processors. Each element is computed by one
/// call, so the result does not depend on the number of threads.
pub(crate) fn map<T: Send>(n: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(n);
    if threads <= 1 {
        return (0..n).map(f).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let claim = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < n);
        std::iter::from_fn(claim).map(|i| (i, f(i))).collect::<Vec<(usize, T)>>()
    };
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for helper in helpers {
            // A panic in `f` is a bug in a reference; it goes on in the calling thread as if there were no others.
            done.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|&(i, _)| i);
    done.into_iter().map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn keeps_the_order() {
        for n in [0, 1, 2, 1000] {
            assert_eq!(super::map(n, |i| i * i), (0..n).map(|i| i * i).collect::<Vec<_>>());
        }
    }
}

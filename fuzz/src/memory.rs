//! Counts what a piece of code takes from the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with the bytes that each thread holds counted.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    // Neither has a destructor, so both can be counted into as long as the thread lives.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call is the system's, with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may be there for a moment.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The result of `run`, and the most bytes that this thread held at once for it.
pub fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = run();
    (result, (PEAK.get() - before) as usize)
}

#[test]
fn every_byte_counts() {
    assert_eq!(peak(|| drop(vec![0u8; 1 << 20])).1, 1 << 20);
    assert_eq!(peak(|| vec![vec![0u8; 1000], vec![1u8; 500]].len()).1, 1500 + 2 * size_of::<Vec<u8>>());
    // What grows is there twice for a moment.
    let mut bytes = vec![0u8; 1000];
    assert_eq!(peak(|| bytes.reserve_exact(2000)).1, 3000);
    assert_eq!(peak(|| bytes.shrink_to_fit()).1, 1000);
}

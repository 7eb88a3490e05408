// Loops that stay loops. A compiler for the CPU makes dozens of basic blocks of every access to memory, and its time goes with their square
// where there are barriers: written out, these loops take it minutes. Compilers for GPUs write loops out for good reason.
//
// The importing kernel's params have `workgroups`, which is 0 for none.

const LOOPS_STAY: bool = false;

// How often a loop turns: `count`, which a compiler does not find out where loops are to stay.
fn turns(count: u32) -> u32 {
    if LOOPS_STAY {
        return count * min(params.workgroups, 1u);
    }
    return count;
}

// Reductions over a team, the GRID_X invocations that share 8 rows, through workgroup memory.
//
// The importing file says where that is, apart from what it holds between barriers:
//     fn lay_out(mine: Eight)            what this invocation has
//     fn laid_out(place: u32) -> Eight   what the invocation at a place in the team has

#import block
#import loops

fn team_reduce(mine: Eight, maximum: bool) -> Eight {
    workgroupBarrier();
    lay_out(mine);
    workgroupBarrier();
    var all = laid_out(0u);
    for (var i = 1u; i < turns(GRID_X); i++) {
        let other = laid_out(i);
        all.lo = select(all.lo + other.lo, max(all.lo, other.lo), maximum);
        all.hi = select(all.hi + other.hi, max(all.hi, other.hi), maximum);
    }
    return all;
}

// The largest that any of the team has, at least what all of them know.
fn team_max(known: Eight, mine: Eight) -> Eight {
    return team_reduce(Eight(max(known.lo, mine.lo), max(known.hi, mine.hi)), true);
}

fn team_sum(mine: Eight) -> Eight {
    return team_reduce(mine, false);
}

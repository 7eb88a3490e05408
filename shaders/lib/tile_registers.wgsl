// The products of lib/tile from register to register: a team is a subgroup, operands go from memory to registers, and what the team shares
// goes from one invocation's registers to another's. Where a subgroup has GRID_X invocations, always, and registers are cheap: drivers that
// run on the CPU. There a load costs as much as many multiplications, a barrier more, and a sum that stays in a register for four steps is
// stored once, not four times.

#import block

// False where nothing is hidden in any tile. A branch between guarded tiles and others takes longer than to guard them all.
const GUARDED: bool = true;

// What the first 8 invocations of the team hold, one for each row.
fn gather(of_row: f32) -> Eight {
    return Eight(
        vec4(subgroupBroadcast(of_row, 0u), subgroupBroadcast(of_row, 1u), subgroupBroadcast(of_row, 2u), subgroupBroadcast(of_row, 3u)),
        vec4(subgroupBroadcast(of_row, 4u), subgroupBroadcast(of_row, 5u), subgroupBroadcast(of_row, 6u), subgroupBroadcast(of_row, 7u)),
    );
}

// 4 columns of the right operand in 4 steps.
struct Steps {
    b0: vec4<f32>,
    b1: vec4<f32>,
    b2: vec4<f32>,
    b3: vec4<f32>,
}

fn turned(s: Steps) -> Steps {
    return Steps(
        vec4(s.b0.x, s.b1.x, s.b2.x, s.b3.x), vec4(s.b0.y, s.b1.y, s.b2.y, s.b3.y),
        vec4(s.b0.z, s.b1.z, s.b2.z, s.b3.z), vec4(s.b0.w, s.b1.w, s.b2.w, s.b3.w),
    );
}

// A quad of 4 rows, which are the steps.
fn steps_at(source: u32, row: u32, quad: u32) -> Steps {
    return Steps(quad_of(source, row, quad), quad_of(source, row + 1u, quad), quad_of(source, row + 2u, quad), quad_of(source, row + 3u, quad));
}

// A row's c += a b for 4 steps. Of guarded ones hidden pairs are left out.
fn add_steps(a: vec4<f32>, s: Steps, guarded: bool, c: vec4<f32>) -> vec4<f32> {
    if guarded {
        return add_shown(a.w, s.b3, add_shown(a.z, s.b2, add_shown(a.y, s.b1, add_shown(a.x, s.b0, c))));
    }
    return fma(vec4(a.w), s.b3, fma(vec4(a.z), s.b2, fma(vec4(a.y), s.b1, fma(vec4(a.x), s.b0, c))));
}

// The same for 8 rows, of which each of the first 8 invocations has one's 4 steps.
fn add_rows(mine: vec4<f32>, s: Steps, guarded: bool, c: ptr<function, Block>) {
    (*c).r0 = add_steps(subgroupBroadcast(mine, 0u), s, guarded, (*c).r0);
    (*c).r1 = add_steps(subgroupBroadcast(mine, 1u), s, guarded, (*c).r1);
    (*c).r2 = add_steps(subgroupBroadcast(mine, 2u), s, guarded, (*c).r2);
    (*c).r3 = add_steps(subgroupBroadcast(mine, 3u), s, guarded, (*c).r3);
    (*c).r4 = add_steps(subgroupBroadcast(mine, 4u), s, guarded, (*c).r4);
    (*c).r5 = add_steps(subgroupBroadcast(mine, 5u), s, guarded, (*c).r5);
    (*c).r6 = add_steps(subgroupBroadcast(mine, 6u), s, guarded, (*c).r6);
    (*c).r7 = add_steps(subgroupBroadcast(mine, 7u), s, guarded, (*c).r7);
}

fn dot_rows(a: u32, row0: u32, b: u32, col0: u32, quads: u32, c: ptr<function, Block>) {
    let row = row0 + TEAM_ROWS * y + x % 8u;
    for (var quad = 0u; quad < quads; quad++) {
        add_rows(quad_of(a, row, quad), turned(steps_at(b, col0 + 4u * x, quad)), false, c);
    }
}

// The same for 16 rows: c has the first 8, d the others.
fn dot_both(a: u32, row0: u32, b: u32, col0: u32, quads: u32, c: ptr<function, Block>, d: ptr<function, Block>) {
    let row = row0 + TEAM_ROWS * y + x % 8u;
    for (var quad = 0u; quad < quads; quad++) {
        let s = turned(steps_at(b, col0 + 4u * x, quad));
        add_rows(quad_of(a, row, quad), s, false, c);
        add_rows(quad_of(a, row + 8u, quad), s, false, d);
    }
}

// 4 steps of a wide product: the left quads and, with QUADS, the right ones.
struct WideSteps {
    l: Steps,
    r: Steps,
}

fn wide_steps_at(source: u32, row: u32) -> WideSteps {
    if QUADS == 2u {
        return WideSteps(steps_at(source, row, x), steps_at(source, row, GRID_X + x));
    }
    return WideSteps(steps_at(source, row, x), Steps());
}

// e += c b for the 4 steps whose coefficients are those of the invocation at a place in the team.
fn add_wide(c: Block, place: u32, s: WideSteps, e: ptr<function, Wide>) {
    let both = QUADS == 2u;
    let c0 = subgroupShuffle(c.r0, place);
    (*e).l0 = add_steps(c0, s.l, GUARDED, (*e).l0);
    if both { (*e).r0 = add_steps(c0, s.r, GUARDED, (*e).r0); }
    let c1 = subgroupShuffle(c.r1, place);
    (*e).l1 = add_steps(c1, s.l, GUARDED, (*e).l1);
    if both { (*e).r1 = add_steps(c1, s.r, GUARDED, (*e).r1); }
    let c2 = subgroupShuffle(c.r2, place);
    (*e).l2 = add_steps(c2, s.l, GUARDED, (*e).l2);
    if both { (*e).r2 = add_steps(c2, s.r, GUARDED, (*e).r2); }
    let c3 = subgroupShuffle(c.r3, place);
    (*e).l3 = add_steps(c3, s.l, GUARDED, (*e).l3);
    if both { (*e).r3 = add_steps(c3, s.r, GUARDED, (*e).r3); }
    let c4 = subgroupShuffle(c.r4, place);
    (*e).l4 = add_steps(c4, s.l, GUARDED, (*e).l4);
    if both { (*e).r4 = add_steps(c4, s.r, GUARDED, (*e).r4); }
    let c5 = subgroupShuffle(c.r5, place);
    (*e).l5 = add_steps(c5, s.l, GUARDED, (*e).l5);
    if both { (*e).r5 = add_steps(c5, s.r, GUARDED, (*e).r5); }
    let c6 = subgroupShuffle(c.r6, place);
    (*e).l6 = add_steps(c6, s.l, GUARDED, (*e).l6);
    if both { (*e).r6 = add_steps(c6, s.r, GUARDED, (*e).r6); }
    let c7 = subgroupShuffle(c.r7, place);
    (*e).l7 = add_steps(c7, s.l, GUARDED, (*e).l7);
    if both { (*e).r7 = add_steps(c7, s.r, GUARDED, (*e).r7); }
}

// What `share` hands over: each invocation's stays where it is until it is asked for.
var<private> coefficients: Block;

fn share(c: Block, count: u32) {
    coefficients = c;
}

fn add_weighted(b: u32, first: u32, guarded: bool, e: ptr<function, Wide>) {
    for (var place = 0u; place < GRID_X; place++) {
        add_wide(coefficients, place, wide_steps_at(b, first + 4u * place), e);
    }
}

// The same for 16 rows, and without `share`.
fn add_both_weighted(c: Block, d: Block, b: u32, first: u32, e: ptr<function, Wide>, f: ptr<function, Wide>) {
    for (var place = 0u; place < GRID_X; place++) {
        let s = wide_steps_at(b, first + 4u * place);
        add_wide(c, place, s, e);
        add_wide(d, place, s, f);
    }
}

// The largest that any of the team has, at least what all of them know.
fn team_max(known: Eight, mine: Eight) -> Eight {
    return Eight(subgroupMax(max(known.lo, mine.lo)), subgroupMax(max(known.hi, mine.hi)));
}

fn team_sum(mine: Eight) -> Eight {
    return Eight(subgroupAdd(mine.lo), subgroupAdd(mine.hi));
}

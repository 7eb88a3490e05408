// What matrix units multiply: blocks of SIZE x SIZE values of f16, which add up in f32.
//
// A workgroup has LANES invocations, which are TEAMS subgroups of the largest size that the device has; where they are smaller, there are
// more of them. A subgroup works on a block together.

#if MATRIX_16
const SIZE: u32 = 16u;
alias unit_a = coop_mat16x16<f16, A>;
alias unit_b = coop_mat16x16<f16, B>;
alias unit_c = coop_mat16x16<f32, C>;
#end
#if MATRIX_8
const SIZE: u32 = 8u;
alias unit_a = coop_mat8x8<f16, A>;
alias unit_b = coop_mat8x8<f16, B>;
alias unit_c = coop_mat8x8<f32, C>;
#end
const ELEMENTS: u32 = SIZE * SIZE;

const LANES: u32 = 128u;
const TEAMS: u32 = 4u;

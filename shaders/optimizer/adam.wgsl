// One step of Adam, AdamW or AMSGrad, in place.
//
//     g    = clip g + l2 p                                  Adam's weight decay
//     m    = beta1 m + rest1 g                              rest1 = 1 - beta1, rest2 = 1 - beta2
//     v    = beta2 v + rest2 g g
//     vmax = max(vmax, v)                                   with AMSGRAD, and vmax in place of v below
//     p    = keep p - rate m / (root sqrt(v) + eps)         rate = lr / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t)
//                                                           keep = 1 - lr weight_decay is AdamW's, otherwise 1
//
// Shapes    p, m, v, vmax: [count]   g0, g1, ..: those of the parameters   clip: [2]
// Grid      one invocation per element, workgroups spread over x and y
// Numerics  f32; the corrections of step t come from the host, in f64 until they are rounded
// Memory    reads the gradients once; reads and writes p and its state once
// Source    Kingma & Ba 2014, arXiv:1412.6980; Loshchilov & Hutter 2017, arXiv:1711.05101; Reddi et al. 2018, arXiv:1904.09237
// Twin      src/ops/optimizer/cpu.rs

#import update

@group(0) @binding(14) var<storage, read_write> m: array<f32>;
@group(0) @binding(15) var<storage, read_write> v: array<f32>;
#if AMSGRAD
@group(0) @binding(16) var<storage, read_write> vmax: array<f32>;
#end

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = spread(group, groups) * LANES + local;
    let own = element(i);
    if !own.inside {
        return;
    }
    let g = clipped(own, i);
    let m_place = params.state_base_0 + i;
    let v_place = params.state_base_1 + i;
    let first = params.beta1 * m[m_place] + params.rest1 * g;
    // In this order a square that f32 cannot hold does not occur before it has been made smaller.
    var second = params.beta2 * v[v_place] + params.rest2 * g * g;
    m[m_place] = first;
    v[v_place] = second;
#if AMSGRAD
    let vmax_place = params.state_base_2 + i;
    second = max(vmax[vmax_place], second);
    vmax[vmax_place] = second;
#end
    let place = params.p_base + i;
    p[place] = params.keep * p[place] - params.rate * (first / (params.root * sqrt(second) + params.eps));
}

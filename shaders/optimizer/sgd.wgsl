// One step of stochastic gradient descent, in place.
//
//     g   = clip g + l2 p
//     buf = momentum buf + g                            with MOMENTUM; then g = buf, or g + momentum buf with Nesterov's
//     p   = p - rate g
//
// Shapes    p, buf: [count]   g0, g1, ..: those of the parameters   clip: [2]
// Grid      one invocation per element, workgroups spread over x and y
// Numerics  f32
// Memory    reads the gradients once; reads and writes p and buf once
// Source    Polyak 1964; Sutskever et al. 2013 as PyTorch's torch.optim.SGD has them
// Twin      src/ops/optimizer/cpu.rs

#import update

#if MOMENTUM
@group(0) @binding(14) var<storage, read_write> buf: array<f32>;
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
    var g = clipped(own, i);
#if MOMENTUM
    let state = params.state_base_0 + i;
    let kept = params.momentum * buf[state] + g;
    buf[state] = kept;
    g = select(kept, g + params.momentum * kept, params.nesterov == 1u);
#end
    let place = params.p_base + i;
    p[place] -= params.rate * g;
}

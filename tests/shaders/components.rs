//! Single components of vectors, written where other invocations can see the vector.
//!
//! A write to one component may be carried out as one of all components, says the specification of WGSL: two invocations that
//! write neighbouring components would then undo each other's work, on some drivers only.

use naga::proc::TypeResolution;
use naga::valid::ModuleInfo;
use naga::{AddressSpace, Block, Module, Span, Statement, TypeInner};

/// Every such write, with its line.
pub fn check(module: &Module, info: &ModuleInfo, text: &str) -> Result<(), String> {
    let entries = module.entry_points.iter().enumerate().map(|(i, entry)| (&entry.function, info.get_entry_point(i)));
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let mut found = vec![];
    for (function, info) in functions.chain(entries) {
        stores(&function.body, &mut |pointer, span| {
            let component = |ty: &TypeInner| {
                let shared = |space| matches!(space, AddressSpace::Storage { .. } | AddressSpace::WorkGroup);
                // naga's pointer to a component: to anything else that is a scalar there is one by its type.
                matches!(*ty, TypeInner::ValuePointer { size: None, space, .. } if shared(space))
            };
            if matches!(&info[pointer].ty, TypeResolution::Value(ty) if component(ty)) {
                let line = span.location(text).line_number as usize;
                found.push(format!("line {line}, `{}`, writes one component", text.lines().nth(line - 1).unwrap_or_default().trim()));
            }
        });
    }
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

/// Calls `each` with the pointer of every store in a block and those in it.
fn stores(block: &Block, each: &mut impl FnMut(naga::Handle<naga::Expression>, Span)) {
    for (statement, span) in block.span_iter() {
        match statement {
            Statement::Store { pointer, .. } => each(*pointer, *span),
            Statement::Block(block) => stores(block, each),
            Statement::If { accept, reject, .. } => [accept, reject].into_iter().for_each(|block| stores(block, each)),
            Statement::Switch { cases, .. } => cases.iter().for_each(|case| stores(&case.body, each)),
            Statement::Loop { body, continuing, .. } => [body, continuing].into_iter().for_each(|block| stores(block, each)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    const HEAD: &str = "
        @group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
        var<workgroup> w: array<vec4<f32>, 64>;
        var<workgroup> single: array<f32, 64>;
        @compute @workgroup_size(64)
        fn main(@builtin(local_invocation_index) i: u32) {
            var own = vec4<f32>();";

    fn check(body: &str) -> Result<(), String> {
        let text = format!("{HEAD}\n{body}\n}}");
        let (module, info) = crate::validate(&text, &wattn::gpu::Knobs::new()).unwrap();
        super::check(&module, &info, &text)
    }

    #[test]
    fn whole_vectors_and_single_numbers_pass() {
        for body in ["own[i % 4u] = 1.0; y[i] = own;", "w[i] = own; single[i] = w[i].x;", "if i > 3u { own.y = single[i]; w[i] = own; }"] {
            assert_eq!(check(body), Ok(()), "{body}");
        }
    }

    #[test]
    fn components_are_found() {
        for body in ["w[i / 4u][i % 4u] = 1.0;", "y[i].z = 1.0;", "for (var k = 0u; k < i; k++) { if k > 2u { w[k].x += 1.0; } }"] {
            let message = check(body).expect_err(body);
            assert!(message.contains("writes one component"), "{message}");
        }
    }
}

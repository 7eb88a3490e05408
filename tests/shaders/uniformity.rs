//! Barriers and subgroup operations in control flow that may differ between the invocations of a workgroup.
//!
//! Browsers refuse them by the rules of WGSL, 15.2 (uniformity analysis); naga does not look. This follows the same rules, a little
//! stricter: values are uniform or not for a whole function, wherever they are read. What may differ are the built-in values other
//! than the workgroup's, what is loaded from workgroup or private memory and from storage that is written, and all that depends on it.

use std::collections::HashMap;

use naga::{AddressSpace, Binding, Block, BuiltIn, Expression, Function, Handle, Module, Span, Statement, StorageAccess};

/// Every such barrier, with its line.
pub fn check(module: &Module, text: &str) -> Result<(), String> {
    let mut found = vec![];
    for entry in &module.entry_points {
        let uniform = |binding: &Option<Binding>| matches!(binding, Some(Binding::BuiltIn(BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups)));
        let arguments = entry.function.arguments.iter().map(|argument| uniform(&argument.binding)).collect();
        Analysis::run(module, &entry.function, arguments, true, &mut found);
    }
    let describe = |span: Span| {
        let line = span.location(text).line_number as usize;
        let code = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        format!("line {line}, `{}`, may not be reached by all invocations together", code.trim())
    };
    let mut lines: Vec<String> = found.into_iter().map(describe).collect();
    lines.dedup();
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}

/// Ways out of a block that only some invocations may take.
#[derive(Clone, Copy, Default)]
struct Exits {
    broken: bool,
    continued: bool,
    returned: bool,
}

impl Exits {
    fn any(self) -> bool {
        self.broken || self.continued || self.returned
    }

    fn and(self, other: Exits) -> Exits {
        Exits {
            broken: self.broken || other.broken,
            continued: self.continued || other.continued,
            returned: self.returned || other.returned,
        }
    }
}

/// One function, called with these arguments. Everything starts as uniform and is taken back until nothing changes.
struct Analysis<'a> {
    module: &'a Module,
    function: &'a Function,
    arguments: Vec<bool>,
    locals: Vec<bool>,
    results: HashMap<Handle<Expression>, bool>,
    /// For each expression, from the values of the round before.
    values: Vec<bool>,
    returns: bool,
    changed: bool,
    found: Vec<Span>,
}

impl<'a> Analysis<'a> {
    /// Adds what is wrong to `found` and returns whether the function's result is uniform.
    fn run(module: &'a Module, function: &'a Function, arguments: Vec<bool>, flow: bool, found: &mut Vec<Span>) -> bool {
        let mut analysis = Analysis {
            module,
            function,
            arguments,
            locals: vec![true; function.local_variables.len()],
            results: HashMap::new(),
            values: vec![],
            returns: true,
            changed: true,
            found: vec![],
        };
        while std::mem::take(&mut analysis.changed) {
            analysis.found.clear();
            analysis.evaluate();
            analysis.block(&function.body, flow);
        }
        found.append(&mut analysis.found);
        analysis.returns
    }

    /// Operands come before the expressions that they are part of.
    fn evaluate(&mut self) {
        self.values.clear();
        for (handle, expression) in self.function.expressions.iter() {
            let value = self.value(handle, expression);
            self.values.push(value);
        }
    }

    fn value(&self, handle: Handle<Expression>, expression: &Expression) -> bool {
        use Expression as E;
        let of = |expression: Handle<Expression>| self.values[expression.index()];
        match *expression {
            E::Literal(_) | E::Constant(_) | E::ZeroValue(_) | E::ArrayLength(_) | E::WorkGroupUniformLoadResult { .. } => true,
            E::Compose { ref components, .. } => components.iter().all(|&c| of(c)),
            E::Access { base, index } => of(base) && of(index),
            E::AccessIndex { base: e, .. } | E::Splat { value: e, .. } | E::Swizzle { vector: e, .. } => of(e),
            E::Load { pointer: e } | E::Unary { expr: e, .. } | E::As { expr: e, .. } | E::Relational { argument: e, .. } => of(e),
            E::FunctionArgument(index) => self.arguments[index as usize],
            E::GlobalVariable(variable) => match self.module.global_variables[variable].space {
                AddressSpace::Uniform | AddressSpace::Handle => true,
                AddressSpace::Storage { access } => access == StorageAccess::LOAD,
                _ => false,
            },
            E::LocalVariable(variable) => self.locals[variable.index()],
            E::Binary { left, right, .. } => of(left) && of(right),
            E::Select { condition, accept, reject } => of(condition) && of(accept) && of(reject),
            E::Math { arg, arg1, arg2, arg3, .. } => of(arg) && [arg1, arg2, arg3].into_iter().flatten().all(of),
            E::CallResult(_) => self.results.get(&handle).copied().unwrap_or(true),
            _ => false,
        }
    }

    fn of(&self, expression: Handle<Expression>) -> bool {
        self.values[expression.index()]
    }

    /// The local variable that a pointer leads to.
    fn local(&mut self, pointer: Handle<Expression>) -> Option<&mut bool> {
        match self.function.expressions[pointer] {
            Expression::LocalVariable(variable) => self.locals.get_mut(variable.index()),
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.local(base),
            _ => None,
        }
    }

    fn take_back(&mut self, pointer: Handle<Expression>) {
        let changed = self.local(pointer).is_some_and(std::mem::take);
        self.changed |= changed;
    }

    fn block(&mut self, block: &'a Block, outside: bool) -> Exits {
        let mut exits = Exits::default();
        for (statement, span) in block.span_iter() {
            let flow = outside && !exits.any();
            let left = self.statement(statement, *span, flow);
            exits = exits.and(left);
        }
        exits
    }

    fn statement(&mut self, statement: &'a Statement, span: Span, flow: bool) -> Exits {
        use Statement as S;
        let none = Exits::default();
        match statement {
            S::Block(block) => return self.block(block, flow),
            S::If { condition, accept, reject } => {
                let flow = flow && self.of(*condition);
                return self.block(accept, flow).and(self.block(reject, flow));
            }
            S::Switch { selector, cases } => {
                let flow = flow && self.of(*selector);
                let exits = cases.iter().map(|case| self.block(&case.body, flow)).fold(none, Exits::and);
                return Exits { broken: false, ..exits };
            }
            S::Loop { body, continuing, break_if } => {
                let round = |analysis: &mut Self, flow| analysis.block(body, flow).and(analysis.block(continuing, flow));
                let exits = round(self, flow);
                let uniform = !exits.any() && break_if.is_none_or(|e| self.of(e));
                // Once some invocations have left, the others go round alone.
                let exits = if flow && !uniform { exits.and(round(self, false)) } else { exits };
                return Exits { broken: false, continued: false, ..exits };
            }
            S::Break => return Exits { broken: !flow, ..none },
            S::Continue => return Exits { continued: !flow, ..none },
            S::Return { value } => {
                self.returns &= flow && value.is_none_or(|value| self.of(value));
                return Exits { returned: !flow, ..none };
            }
            S::ControlBarrier(_)
            | S::MemoryBarrier(_)
            | S::WorkGroupUniformLoad { .. }
            | S::SubgroupBallot { .. }
            | S::SubgroupCollectiveOperation { .. }
            | S::SubgroupGather { .. }
                if !flow =>
            {
                self.found.push(span);
            }
            S::Store { pointer, value } if !(flow && self.of(*value) && self.of(*pointer)) => self.take_back(*pointer),
            S::Call { function, arguments, result } => {
                let uniform = arguments.iter().map(|&argument| self.of(argument)).collect();
                let function = &self.module.functions[*function];
                let value = Self::run(self.module, function, uniform, flow, &mut self.found) && flow;
                if let Some(result) = result {
                    let before = self.results.insert(*result, value);
                    self.changed |= before != Some(value);
                }
                // What a function writes through a pointer is not followed.
                arguments.iter().for_each(|&argument| self.take_back(argument));
            }
            _ => {}
        }
        none
    }
}

#[cfg(test)]
mod tests {
    const HEAD: &str = "
        @group(0) @binding(0) var<uniform> n: u32;
        @group(0) @binding(1) var<storage, read_write> y: array<u32>;
        var<workgroup> w: u32;
        fn wait() { workgroupBarrier(); }
        fn pick(i: u32) -> u32 { if i == 0u { return 1u; } return 2u; }
        @compute @workgroup_size(64)
        fn main(@builtin(local_invocation_index) i: u32, @builtin(workgroup_id) g: vec3<u32>) {";

    fn check(body: &str) -> Result<(), String> {
        let text = format!("{HEAD}\n{body}\n}}");
        let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
        super::check(&module, &text)
    }

    #[test]
    fn uniform_control_flow_passes() {
        for body in [
            "workgroupBarrier();",
            "if g.x < n { workgroupBarrier(); }",
            "if g.x >= n { return; } wait();",
            "if i < 3u { y[i] = 1u; } workgroupBarrier();",
            "for (var k = 0u; k < n; k++) { workgroupBarrier(); }",
            "for (var k = i; k < n; k++) { y[k] = 1u; } workgroupBarrier();",
            "for (var half = 32u; half > 0u; half /= 2u) { wait(); if i < half { w = i; } }",
            "if pick(n) == 1u { wait(); }",
            "switch i { case 0u: { y[0] = 1u; } default: {} } workgroupBarrier();",
        ] {
            assert_eq!(check(body), Ok(()), "{body}");
        }
    }

    #[test]
    fn control_flow_that_may_differ_is_found() {
        for body in [
            "if i < n { workgroupBarrier(); }",
            "if i < n { wait(); }",
            "if i >= n { return; } workgroupBarrier();",
            "for (var k = i; k < n; k++) { workgroupBarrier(); }",
            "for (var k = 0u; k < n; k++) { workgroupBarrier(); if k > i { break; } }",
            "for (var k = 0u; k < n; k++) { if k > i { continue; } workgroupBarrier(); }",
            "var m = n; if i == 0u { m = 3u; } if m == 3u { workgroupBarrier(); }",
            "if w == 1u { workgroupBarrier(); }",
            "if y[0] == 1u { workgroupBarrier(); }",
            "if pick(i) == 1u { wait(); }",
            "loop { if i == n { return; } if g.x == n { break; } } workgroupBarrier();",
        ] {
            assert!(check(body).is_err(), "{body}");
        }
    }
}

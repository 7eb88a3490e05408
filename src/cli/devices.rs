//! `wattn devices`: the adapters of this machine and what they can do.

use serde::Serialize;

use super::{Session, Verdict, driver, print};
use crate::Result;
use crate::gpu::{AdapterReport, adapters};

/// One adapter, as JSON.
#[derive(Serialize)]
struct Adapter<'a> {
    index: usize,
    name: &'a str,
    kind: &'a str,
    backend: &'a str,
    driver: String,
    /// Why wattn cannot use it; null when it can.
    unusable: Option<&'a str>,
    f16: bool,
    /// The smallest and the largest subgroup; null without subgroup operations.
    subgroups: Option<[u32; 2]>,
    matrix_units: Vec<String>,
    timestamps: bool,
    limits: Limits,
}

#[derive(Serialize)]
struct Limits {
    binding_bytes: u64,
    buffer_bytes: u64,
    workgroup_bytes: u32,
    invocations: u32,
    workgroups: u32,
}

impl<'a> Adapter<'a> {
    fn of(report: &'a AdapterReport) -> Self {
        let caps = &report.caps;
        Adapter {
            index: report.index,
            name: &report.name,
            kind: &report.kind,
            backend: &report.backend,
            driver: driver(&report.driver, &report.driver_info),
            unusable: report.unusable.as_deref(),
            f16: caps.f16,
            subgroups: caps.subgroups.then_some([caps.subgroup_min, caps.subgroup_max]),
            matrix_units: caps.matrix_units.iter().map(ToString::to_string).collect(),
            timestamps: caps.timestamps,
            limits: Limits {
                binding_bytes: caps.max_binding,
                buffer_bytes: caps.max_buffer,
                workgroup_bytes: caps.max_workgroup_bytes,
                invocations: caps.max_invocations,
                workgroups: caps.max_workgroups,
            },
        }
    }

    fn lines(&self, auto: bool) -> Vec<String> {
        let note = match (self.unusable, auto) {
            (Some(why), _) => format!("  (cannot be used: {why})"),
            (None, true) => "  (what --device auto takes)".into(),
            (None, false) => String::new(),
        };
        let subgroups = match self.subgroups {
            None => "no".into(),
            Some([min, max]) if min == max => format!("of {min}"),
            Some([min, max]) => format!("of {min} to {max}"),
        };
        let units = if self.matrix_units.is_empty() { "none".to_string() } else { self.matrix_units.join(", ") };
        let limits = &self.limits;
        let size = |n: u64| print::bytes(n);
        vec![
            format!("{}  {}{note}", self.index, self.name),
            format!("   kind          {}", self.kind),
            format!("   backend       {}", self.backend),
            format!("   driver        {}", self.driver),
            format!("   f16           {}", print::yes(self.f16)),
            format!("   subgroups     {subgroups}"),
            format!("   matrix units  {units}"),
            format!("   timestamps    {}", print::yes(self.timestamps)),
            format!(
                "   limits        bindings of {}, buffers of {}, workgroups of {} invocations and {}",
                size(limits.binding_bytes),
                size(limits.buffer_bytes),
                limits.invocations,
                size(limits.workgroup_bytes.into())
            ),
        ]
    }
}

/// Runs the subcommand.
pub(super) fn execute(session: &mut Session) -> Result<Verdict> {
    let reports = adapters();
    let list: Vec<Adapter> = reports.iter().map(Adapter::of).collect();
    if session.json {
        session.json(&list)?;
        return Ok(Verdict::Right);
    }
    if list.is_empty() {
        session.note("no adapter: a Vulkan, Metal or DX12 driver is needed; `--device cpu` runs the f64 reference without one");
    }
    let auto = list.iter().position(|adapter| adapter.unusable.is_none());
    for (place, adapter) in list.iter().enumerate() {
        for line in adapter.lines(Some(place) == auto) {
            session.line(line)?;
        }
    }
    Ok(Verdict::Right)
}

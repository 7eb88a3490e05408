//! When each dispatch of a case ran, in the trace event format that Perfetto and Chrome read: times in microseconds, a process for each
//! case, and in it a track for the whole and one for each kernel.

use serde_json::{Value, json};

use crate::gpu::Span;

/// A case's dispatches, in one run.
pub(super) struct Chain {
    pub op: &'static str,
    pub case: String,
    pub spans: Vec<Span>,
}

/// A span that has been timed.
struct Event<'a> {
    span: &'a Span,
    start: f64,
    end: f64,
}

/// A row of the timeline, on which nothing overlaps.
struct Track<'a> {
    name: &'a str,
    events: Vec<Event<'a>>,
}

/// The whole file.
pub(super) fn json(device: &str, chains: &[Chain]) -> String {
    let clock = chains.iter().flat_map(|chain| &chain.spans).next().map(|span| span.clock.name());
    let events: Vec<Value> = chains.iter().enumerate().flat_map(|(process, chain)| of_chain(process + 1, chain)).collect();
    // Every case begins at 0: they ran one after another, and here they are side by side.
    json!({
        "otherData": { "program": concat!("wattn ", env!("CARGO_PKG_VERSION")), "device": device, "clock": clock },
        "displayTimeUnit": "ns",
        "traceEvents": events,
    })
    .to_string()
}

fn of_chain(process: usize, chain: &Chain) -> Vec<Value> {
    let tracks = tracks(&chain.spans);
    let mut events = vec![named("process_name", process, 0, &format!("{} {}", chain.op, chain.case))];
    let all = || tracks.iter().flat_map(|track| &track.events);
    let (start, end) = all().fold((f64::INFINITY, 0.0f64), |(start, end), event| (start.min(event.start), end.max(event.end)));
    if start > end {
        return events;
    }
    let sum = |of: fn(&Span) -> f64| all().map(|event| of(event.span)).sum::<f64>();
    let (flops, bytes) = (sum(|span| span.flops), sum(|span| span.bytes));
    let busy = all().map(|event| event.end - event.start).sum::<f64>() * 1e6;
    let count = all().count();
    events.push(named("thread_name", process, 0, "all"));
    events.push(complete(
        (process, 0),
        chain.op,
        (start, end),
        json!({
            "dispatches": count, "busy_us": busy, "flops": flops, "bytes": bytes,
        }),
    ));
    for (number, track) in tracks.iter().enumerate() {
        let place = (process, number + 1);
        events.push(named("thread_name", process, number + 1, track.name));
        events.extend(track.events.iter().map(|Event { span, start, end }| {
            let work = json!({ "variant": span.variant, "flops": span.flops, "bytes": span.bytes, "clock": span.clock.name() });
            complete(place, span.kernel, (*start, *end), work)
        }));
    }
    events
}

/// A track for each kernel, in the order in which they appear. What overlaps, as dispatches of one kernel may that do not wait for each
/// other, goes to a further track of the same name.
fn tracks(spans: &[Span]) -> Vec<Track<'_>> {
    let mut tracks: Vec<Track> = vec![];
    for span in spans {
        let (Some(start), Some(seconds)) = (span.start, span.seconds) else { continue };
        let event = Event { span, start, end: start + seconds };
        let free = |track: &&mut Track| track.name == span.kernel && track.events.last().is_none_or(|last| last.end <= start);
        match tracks.iter_mut().find(free) {
            Some(track) => track.events.push(event),
            None => tracks.push(Track { name: span.kernel, events: vec![event] }),
        }
    }
    tracks
}

/// An event with a beginning and an end, on a track (process, thread).
fn complete(place: (usize, usize), name: &str, (start, end): (f64, f64), args: Value) -> Value {
    let (ts, dur) = (start * 1e6, (end - start) * 1e6);
    json!({ "ph": "X", "cat": "kernel", "name": name, "pid": place.0, "tid": place.1, "ts": ts, "dur": dur, "args": args })
}

/// Names a process or a track.
fn named(what: &str, process: usize, thread: usize, name: &str) -> Value {
    json!({ "ph": "M", "name": what, "pid": process, "tid": thread, "args": { "name": name } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Clock;

    fn span(kernel: &'static str, start: f64, seconds: f64) -> Span {
        let (start, seconds) = (Some(start), Some(seconds));
        Span { kernel, variant: "default".into(), matrix_units: false, clock: Clock::Device, start, seconds, flops: 1.0, bytes: 2.0 }
    }

    #[test]
    fn what_overlaps_has_a_track_of_its_own() {
        let spans = [span("a", 0.0, 2.0), span("a", 1.0, 2.0), span("b", 1.5, 0.1), span("a", 2.0, 1.0)];
        let names: Vec<(&str, usize)> = tracks(&spans).iter().map(|track| (track.name, track.events.len())).collect();
        assert_eq!(names, [("a", 2), ("a", 1), ("b", 1)]);
    }

    #[test]
    fn the_whole_begins_with_the_first_and_ends_with_the_last() {
        let chain = Chain { op: "lstm", case: "one".into(), spans: vec![span("a", 0.5, 1.0), span("b", 1.5, 2.0)] };
        let file: Value = serde_json::from_str(&json("a device", &[chain])).unwrap();
        let whole = file["traceEvents"].as_array().unwrap().iter().find(|event| event["name"] == "lstm").unwrap();
        assert_eq!((whole["ts"].as_f64(), whole["dur"].as_f64()), (Some(0.5e6), Some(3e6)));
        assert_eq!(whole["args"]["bytes"], 4.0);
        // Nothing was timed: a name, and no event.
        let unknown = Span { start: None, seconds: None, ..span("a", 0.0, 0.0) };
        assert_eq!(of_chain(1, &Chain { op: "lstm", case: "one".into(), spans: vec![unknown] }).len(), 1);
    }
}

//! The Node process that has Dawn in it.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use wattn::Gpu;

use crate::job::Job;

/// A process of replay.mjs. It ends when this is dropped.
pub struct Dawn {
    child: Child,
    jobs: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    /// The driver that Dawn took, in the driver's words and Dawn's.
    pub driver: String,
    /// The optional features of WebGPU that it has.
    pub features: Vec<String>,
}

impl Dawn {
    /// Starts the process.
    pub fn start() -> Self {
        assert!(std::env::var_os("WATTN_TINT").is_some(), "WATTN_TINT names no folder: run scripts/test-tint.sh, which installs Dawn");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tint/replay.mjs");
        // Several words where the driver has libraries of its own: a loader before the program.
        let node = std::env::var("WATTN_TINT_NODE").unwrap_or_else(|_| "node".into());
        let mut words = node.split_whitespace();
        let mut command = Command::new(words.next().expect("WATTN_TINT_NODE names no program"));
        let child = command.args(words).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("Node does not start: {e}"));
        let jobs = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut dawn = Dawn { child, jobs, output, driver: String::new(), features: vec![] };
        let hello = dawn.answer();
        dawn.driver = hello["driver"].as_str().expect("Dawn finds no adapter that it can use: see its messages above").to_string();
        dawn.features = hello["features"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_string()).collect();
        dawn
    }

    /// Has a job done. The error is everything that is wrong with it.
    pub fn run(&mut self, job: &Job) -> Result<(), String> {
        let jobs = self.jobs.as_mut().unwrap();
        writeln!(jobs, "{}", job.line()).unwrap_or_else(|e| panic!("Dawn's process takes no job: {e}"));
        let answer = self.answer();
        let wrong: Vec<&str> = answer["wrong"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// The next answer; what comes before it is Dawn's own and goes on to our output.
    fn answer(&mut self) -> Value {
        for line in &mut self.output {
            let line = line.unwrap();
            match serde_json::from_str(&line) {
                Ok(answer @ Value::Object(_)) => return answer,
                _ if line.is_empty() => {}
                _ => println!("{line}"),
            }
        }
        panic!("Dawn's process ended: see its messages above");
    }

    /// That Dawn runs on what wgpu runs on: two drivers would not tell what a second compiler does.
    pub fn expect_driver_of(&self, gpu: &Gpu) {
        let info = gpu.info();
        println!("Dawn on {}; wgpu on {}, {} {}", self.driver, info.name, info.driver, info.driver_info);
        let same = self.driver.contains(&info.driver) && self.driver.contains(&info.driver_info);
        assert!(same, "Dawn and wgpu took different drivers; VK_ICD_FILENAMES can leave one");
    }
}

impl Drop for Dawn {
    fn drop(&mut self) {
        self.jobs = None;
        // Nothing is lost when it has ended on its own.
        let _ = self.child.wait();
    }
}

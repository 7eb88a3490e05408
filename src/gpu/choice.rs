//! Choices between kernels that compute the same: what a handle is pinned to, and what `wattn tune` found to be the fastest on a device.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use super::adapter::Caps;
use super::device::Gpu;
use crate::Result;

/// A choice between kernels. Which is the fastest depends on the device and on a size.
pub trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// Its name in the file of tunings.
    const NAME: &'static str;

    /// All that a device has, each with a label that has no other meaning in the file.
    fn all(caps: &Caps) -> Vec<(String, Self)>;
}

/// The variable that names the file of tunings; empty for none.
const VARIABLE: &str = "WATTN_TUNINGS";
/// What wattn knows of devices that have a record in benches/record. A line holds for every device and version that begin so.
const KNOWN: &str = include_str!("tunings.tsv");

/// The label of no choice: a handle chooses by the device's kind.
const AUTO: &str = "auto";

/// One finding: what is the fastest at a size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// [`Choice::NAME`].
    pub choice: String,
    /// The logarithm of the size to the base of two, rounded down.
    pub class: u32,
    /// The label of what to choose.
    pub label: String,
}

/// A device and its driver: name, driver, version.
type Device = [String; 3];

/// As a line of the file has it: what is between tabs has none.
fn device(info: &wgpu::AdapterInfo) -> Device {
    [&info.name, &info.driver, &info.driver_info].map(|text| text.replace(['\t', '\n', '\r'], " "))
}

/// A finding and the device that it holds for, a line of the file: six fields with tabs between them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    device: Device,
    finding: Finding,
}

impl FromStr for Line {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let fields: Vec<&str> = text.split('\t').collect();
        let &[device, driver, version, choice, class, label] = fields.as_slice() else { return Err(()) };
        let finding = Finding { choice: choice.into(), class: class.parse().map_err(|_| ())?, label: label.into() };
        Ok(Line { device: [device, driver, version].map(String::from), finding })
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Line { device: [device, driver, version], finding: Finding { choice, class, label } } = self;
        write!(f, "{device}\t{driver}\t{version}\t{choice}\t{class}\t{label}")
    }
}

/// The lines of a file. Others, of a later wattn perhaps, say nothing.
fn lines(text: &str) -> impl Iterator<Item = Line> {
    text.lines().filter_map(|line| line.parse().ok())
}

/// What is known of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tunings(Vec<Finding>);

impl Tunings {
    /// The file that `wattn tune` writes: `WATTN_TUNINGS`, or wattn/tunings.tsv in the user's folder of caches. `None` where there is no
    /// such folder, or the variable is empty.
    pub fn file() -> Option<PathBuf> {
        match std::env::var_os(VARIABLE) {
            Some(path) => (!path.is_empty()).then(|| path.into()),
            None => dirs::cache_dir().map(|folder| folder.join("wattn").join("tunings.tsv")),
        }
    }

    /// What the user's file says of a device; of the choices on which it says nothing, what wattn knows itself.
    pub fn of(info: &wgpu::AdapterInfo) -> Self {
        let own = Tunings::file().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        Tunings::among(&own, KNOWN, info)
    }

    fn among(own: &str, known: &str, info: &wgpu::AdapterInfo) -> Self {
        let device = device(info);
        let own: Vec<Finding> = lines(own).filter(|line| line.device == device).map(|line| line.finding).collect();
        let serves = |line: &Line| {
            let [name, driver, version] = &line.device;
            let begins = device[0].starts_with(name) && device[1] == *driver && device[2].starts_with(version);
            begins && own.iter().all(|finding| finding.choice != line.finding.choice)
        };
        let known: Vec<Finding> = lines(known).filter(serves).map(|line| line.finding).collect();
        Tunings([own, known].concat())
    }

    /// What wattn knows of any device, and the lines that it is read from.
    #[cfg(test)]
    pub fn known() -> Vec<(&'static str, Option<Finding>)> {
        let text = KNOWN.lines().filter(|line| !line.starts_with('#'));
        text.map(|line| (line, line.parse().ok().map(|line: Line| line.finding))).collect()
    }

    /// The text of the file with these findings in place of those on the same choices of the same device.
    pub fn replaced(text: &str, info: &wgpu::AdapterInfo, choices: &[&str], findings: &[Finding]) -> String {
        let device = device(info);
        let others = lines(text).filter(|line| line.device != device || !choices.contains(&line.finding.choice.as_str()));
        let own = findings.iter().map(|finding| Line { device: device.clone(), finding: finding.clone() });
        others.chain(own).map(|line| format!("{line}\n")).collect()
    }

    /// The label for a size: of the nearest class, at most one away. What is larger than all that was timed is like the largest of that.
    fn label(&self, choice: &str, class: u32) -> Option<&str> {
        let own = || self.0.iter().filter(|finding| finding.choice == choice);
        let class = class.min(own().map(|finding| finding.class).max()?);
        let near = own().filter(|finding| finding.class.abs_diff(class) <= 1);
        near.min_by_key(|finding| (finding.class.abs_diff(class), finding.class)).map(|finding| finding.label.as_str())
    }
}

/// The choices that were asked for, with the classes of their sizes.
type Asked = BTreeSet<(&'static str, u32)>;

/// What decides the choices of a handle.
#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    /// Labels by the names of choices.
    pins: Arc<BTreeMap<&'static str, String>>,
    tunings: Arc<Tunings>,
    asked: Option<Arc<Mutex<Asked>>>,
}

impl Choices {
    pub fn tuned(tunings: Tunings) -> Self {
        Choices { tunings: Arc::new(tunings), ..Choices::default() }
    }
}

impl Gpu {
    /// A handle to the same device on which this choice is fixed. What the device does not have is not chosen.
    pub fn pin<T: Choice>(&self, choice: T) -> Gpu {
        let mut pins = BTreeMap::clone(&self.choices.pins);
        pins.extend(T::all(self.caps()).into_iter().filter(|(_, other)| *other == choice).map(|(label, _)| (T::NAME, label)));
        self.choosing(Choices { pins: Arc::new(pins), ..self.choices.clone() })
    }

    /// What this handle is pinned to, or else what is known to be the fastest on this device at this size, if anything is.
    pub fn choice<T: Choice>(&self, size: usize) -> Option<T> {
        let Choices { tunings, asked, .. } = &self.choices;
        let class = size.max(1).ilog2();
        if let Some(asked) = asked {
            asked.lock().unwrap_or_else(PoisonError::into_inner).insert((T::NAME, class));
        }
        self.pinned().or_else(|| self.labelled(tunings.label(T::NAME, class)?))
    }

    /// What this handle is pinned to, of a choice that no size decides.
    pub fn pinned<T: Choice>(&self) -> Option<T> {
        self.labelled(self.choices.pins.get(T::NAME)?)
    }

    fn labelled<T: Choice>(&self, label: &str) -> Option<T> {
        T::all(self.caps()).into_iter().find(|(own, _)| own == label).map(|(_, choice)| choice)
    }

    /// All that this handle is pinned to: labels by the names of choices.
    pub fn pins(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::clone(&self.choices.pins)
    }

    /// The findings that what this handle is pinned to is the fastest, at the sizes at which `run` asks for this choice. `auto` stands for
    /// no pin.
    ///
    /// # Errors
    /// Those of `run`.
    pub fn findings(&self, choice: &str, run: impl FnOnce(&Gpu) -> Result<()>) -> Result<Vec<Finding>> {
        let asked = Arc::default();
        run(&self.choosing(Choices { asked: Some(Arc::clone(&asked)), ..self.choices.clone() }))?;
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let finding = |&(name, class): &(&'static str, u32)| {
            let label = self.choices.pins.get(name).map_or(AUTO, String::as_str);
            Finding { choice: name.into(), class, label: label.into() }
        };
        Ok(asked.iter().filter(|(name, _)| *name == choice).map(finding).collect())
    }

    /// A handle to the same device that chooses by nothing but its kind.
    pub fn untuned(&self) -> Gpu {
        self.choosing(Choices { tunings: Arc::default(), ..self.choices.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, version: &str) -> wgpu::AdapterInfo {
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Noop);
        wgpu::AdapterInfo { name: name.into(), driver: "driver".into(), driver_info: version.into(), ..info }
    }

    fn finding(class: u32, label: &str) -> Finding {
        Finding { choice: "c".into(), class, label: label.into() }
    }

    #[test]
    fn a_file_keeps_what_other_devices_have() {
        let (one, other) = (info("one\ttab", "1"), info("other", "1"));
        let text = Tunings::replaced("not a line\n", &one, &["c"], &[finding(3, "a"), finding(9, "b")]);
        let text = Tunings::replaced(&text, &other, &["c"], &[finding(3, "c")]);
        let text = Tunings::replaced(&text, &one, &["c"], &[finding(3, "d")]);
        let text = Tunings::replaced(&text, &one, &["another"], &[]);
        assert_eq!(Tunings::among(&text, "", &one), Tunings(vec![finding(3, "d")]));
        assert_eq!(Tunings::among(&text, "", &other), Tunings(vec![finding(3, "c")]));
        // Another version of the driver is another device.
        assert_eq!(Tunings::among(&text, "", &info("other", "1.1")), Tunings::default());
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn what_wattn_knows_gives_way_to_what_was_found() {
        let (device, known) = (info("card 7", "1.25"), "card\tdriver\t1.2\tc\t4\tknown\n");
        assert_eq!(Tunings::among("", known, &device), Tunings(vec![finding(4, "known")]));
        assert_eq!(Tunings::among("", known, &info("card 7", "1.3")), Tunings::default());
        let own = Tunings::replaced("", &device, &["c"], &[finding(4, "found")]);
        assert_eq!(Tunings::among(&own, known, &device), Tunings(vec![finding(4, "found")]));
    }

    #[test]
    fn what_was_found_hides_what_wattn_knows_of_the_same_choice() {
        let (device, known) = (info("card", "1"), "card\tdriver\t1\tc\t4\tknown\ncard\tdriver\t1\tother\t4\tknown\n");
        let own = Tunings::replaced("", &device, &["c"], &[finding(9, "found")]);
        let tunings = Tunings::among(&own, known, &device);
        assert_eq!([tunings.label("c", 4), tunings.label("c", 9), tunings.label("other", 4)], [None, Some("found"), Some("known")]);
    }

    #[test]
    fn a_finding_holds_for_sizes_near_it() {
        let tunings = Tunings(vec![finding(4, "small"), finding(7, "large")]);
        let of = |class| tunings.label("c", class);
        assert_eq!(
            [2, 3, 4, 5, 6, 7, 8, 9].map(of),
            [None, Some("small"), Some("small"), Some("small"), Some("large"), Some("large"), Some("large"), Some("large")]
        );
        assert_eq!(tunings.label("other", 4), None);
    }
}

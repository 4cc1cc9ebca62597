//! The figures as JSON, as a page, and as curves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::Plan;

/// One figure with its goal.
pub struct Row {
    what: String,
    against: String,
    value: f64,
    goal: Option<f64>,
    unit: &'static str,
    seconds: Option<f64>,
    /// Whether a larger value is better.
    rising: bool,
}

impl Row {
    fn new(what: &str, against: &str, value: f64, goal: Option<f64>, unit: &'static str) -> Self {
        Self { what: what.into(), against: against.into(), value, goal, unit, seconds: None, rising: false }
    }

    /// How many times as long as a limit.
    pub fn ratio(what: &str, against: &str, value: f64, goal: Option<f64>, seconds: f64) -> Self {
        Self { seconds: Some(seconds), ..Self::new(what, against, value, goal, "x the time of") }
    }

    /// How many times as fast as a peer.
    pub fn faster(what: &str, against: &str, value: f64, goal: Option<f64>, seconds: f64) -> Self {
        Self { seconds: Some(seconds), rising: true, ..Self::new(what, against, value, goal, "x as fast as") }
    }

    pub fn seconds(what: &str, value: f64, goal: Option<f64>) -> Self {
        Self::new(what, "", value, goal, "s")
    }

    pub fn millis(what: &str, value: f64, goal: Option<f64>) -> Self {
        Self::new(what, "", value * 1e3, goal.map(|goal| goal * 1e3), "ms")
    }

    pub fn bytes(what: &str, value: f64, goal: Option<f64>) -> Self {
        Self::new(what, "", value, goal, "bytes")
    }

    /// With which power of the size something grows.
    pub fn exponent(what: &str, value: f64) -> Self {
        Self::new(what, "", value, None, "")
    }

    fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| if self.rising { self.value >= goal } else { self.value <= goal })
    }
}

/// All figures of a run.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    curves: BTreeMap<String, Vec<(usize, f64)>>,
}

impl Report {
    pub fn add(&mut self, row: Row) {
        eprintln!("  {}: {:.3} {} {}", row.what, row.value, row.unit, row.against);
        self.rows.push(row);
    }

    /// A point of a curve of cost against size.
    pub fn point(&mut self, curve: &str, size: usize, seconds: f64) {
        self.curves.entry(curve.into()).or_default().push((size, seconds));
    }

    pub fn write(&self, plan: &Plan, partial: bool) {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| json!({"what": row.what, "against": row.against, "value": row.value, "unit": row.unit, "goal": row.goal, "met": row.is_met(), "seconds": row.seconds}))
            .collect();
        let curves: BTreeMap<_, _> =
            self.curves.iter().map(|(name, points)| (name, json!({"points": points, "grows": growth(points).1}))).collect();
        let json = json!({"machine": machine(), "disk": disk_of(&plan.scratch), "quick": plan.quick, "rows": rows, "curves": curves});
        if partial {
            println!("{json:#}");
            return;
        }
        let docs = plan.root.join("docs");
        fs::write(docs.join("benchmarks.json"), format!("{json:#}\n")).expect("docs/benchmarks.json");
        fs::create_dir_all(docs.join("benchmarks")).expect("docs/benchmarks");
        for (name, points) in &self.curves {
            fs::write(docs.join("benchmarks").join(format!("{}.svg", name.replace(' ', "-"))), svg(name, points)).expect("a plot");
        }
        fs::write(docs.join("BENCHMARKS.md"), self.page(plan)).expect("docs/BENCHMARKS.md");
    }

    fn page(&self, plan: &Plan) -> String {
        let mut page = String::from(
            "# Benchmarks\n\nMade by `scripts/bench`; every figure is a ratio to a limit or a peer measured in the same run, the median of several\nruns. Small is better, but where it says *as fast as*.\n\n",
        );
        let _ = writeln!(
            page,
            "Machine: {}, {}.{}\n",
            machine(),
            disk_of(&plan.scratch),
            if plan.quick { " Quick run (`--quick`): 3 runs a figure, smaller sizes." } else { "" }
        );
        page.push_str("| what | figure | goal | met |\n| --- | --- | --- | --- |\n");
        for row in &self.rows {
            let goal = row.goal.map_or(String::new(), |goal| format!("{}{goal:.2}", if row.rising { "≥ " } else { "≤ " }));
            let met = match row.is_met() {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            };
            let seconds = row.seconds.map_or(String::new(), |seconds| format!(" ({})", time(seconds)));
            let _ = writeln!(page, "| {} | {:.2} {} {}{seconds} | {goal} | {met} |", row.what, row.value, row.unit, row.against);
        }
        page.push_str("\n## Cost against size\n\n");
        for (name, points) in &self.curves {
            let (exponent, kind) = growth(points);
            let _ =
                writeln!(page, "![{name}](benchmarks/{}.svg)\n\n{name}: grows as size^{exponent:.2}, {kind}.\n", name.replace(' ', "-"));
        }
        if let Ok(notes) = fs::read_to_string(plan.root.join("tests/benches/notes.md")) {
            page.push_str(&notes);
        }
        page
    }
}

pub fn time(seconds: f64) -> String {
    if seconds < 1e-3 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

/// The exponent of a power law through the points, by least squares, and the name of it.
pub fn growth(points: &[(usize, f64)]) -> (f64, &'static str) {
    let logs: Vec<(f64, f64)> = points.iter().map(|&(size, seconds)| ((size as f64).ln(), seconds.max(1e-9).ln())).collect();
    let count = logs.len() as f64;
    let (mean_x, mean_y) = (logs.iter().map(|log| log.0).sum::<f64>() / count, logs.iter().map(|log| log.1).sum::<f64>() / count);
    let over: f64 = logs.iter().map(|log| (log.0 - mean_x) * (log.1 - mean_y)).sum();
    let under: f64 = logs.iter().map(|log| (log.0 - mean_x).powi(2)).sum();
    let exponent = if under > 0.0 { over / under } else { 0.0 };
    let kind = match exponent {
        e if e < 0.1 => "constant",
        e if e < 0.5 => "less than linear",
        e if e < 1.2 => "linear",
        _ => "more than linear",
    };
    (exponent, kind)
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).map_or("", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {model}, Linux {}", kernel.trim())
}

/// The file system of a directory, and whether its syncs write a journal, on which the price of a commit depends.
fn disk_of(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let nearest = fields.filter(|fields| fields.len() > 2 && dir.starts_with(fields[1])).max_by_key(|fields| fields[1].len());
    let Some([device, _, kind, ..]) = nearest.as_deref() else { return "an unknown file system".to_owned() };
    if *kind != "ext4" {
        return format!("data on {kind}");
    }
    let name = device.rsplit('/').next().unwrap_or_default();
    let mut journals = fs::read_dir("/proc/fs/jbd2").into_iter().flatten().flatten();
    let has_journal = journals.any(|entry| entry.file_name().to_string_lossy().rsplit_once('-').is_some_and(|(device, _)| device == name));
    format!("data on ext4 with{} a journal", if has_journal { "" } else { "out" })
}

/// A plot with both axes logarithmic.
fn svg(name: &str, points: &[(usize, f64)]) -> String {
    let (width, height, margin) = (480.0, 300.0, 50.0);
    let x = |size: usize| margin + ((size as f64).log10() - 3.0) / 3.0 * (width - 2.0 * margin);
    let low = points.iter().map(|point| point.1.log10().floor()).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|point| point.1.log10().ceil()).fold(f64::NEG_INFINITY, f64::max).max(low + 1.0);
    let y = |seconds: f64| height - margin - (seconds.log10() - low) / (high - low) * (height - 2.0 * margin);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    let _ = writeln!(
        out,
        "<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/><text x=\"{margin}\" y=\"24\" font-size=\"15\">{name}: seconds against transactions</text>"
    );
    for power in 3..=6 {
        let at = x(10usize.pow(power));
        let _ = writeln!(
            out,
            "<line x1=\"{at}\" x2=\"{at}\" y1=\"{margin}\" y2=\"{}\" stroke=\"#ddd\"/><text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">10^{power}</text>",
            height - margin,
            height - margin + 18.0
        );
    }
    for power in low as i32..=high as i32 {
        let at = y(10f64.powi(power));
        let _ = writeln!(
            out,
            "<line x1=\"{margin}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">10^{power}</text>",
            width - margin,
            margin - 6.0,
            at + 4.0
        );
    }
    let line: Vec<String> = points.iter().map(|&(size, seconds)| format!("{:.1},{:.1}", x(size), y(seconds))).collect();
    let _ = writeln!(out, "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f6feb\" stroke-width=\"2\"/>", line.join(" "));
    for &(size, seconds) in points {
        let _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"#1f6feb\"/>", x(size), y(seconds));
    }
    out.push_str("</svg>\n");
    out
}

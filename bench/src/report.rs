//! The report: Markdown, printed as it grows, and written to a file at the end.

use std::{fmt::Write as _, fs, time::Duration};

use anyhow::Result;

use crate::options::Options;

/// What has been found so far.
#[derive(Debug, Default)]
pub struct Report(String);

impl Report {
    /// Begins a section.
    pub fn section(&mut self, title: &str, about: &str) {
        self.add(&format!("\n## {title}\n\n{about}\n"));
    }

    /// Adds a paragraph.
    pub fn note(&mut self, text: &str) {
        self.add(&format!("\n{text}\n"));
    }

    /// Adds a table; the first column is text, all others are figures.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count().max(4)).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: Vec<&str>| {
            cells.iter().zip(&widths).enumerate().fold(String::from("|"), |mut line, (place, (cell, &width))| {
                let _ = if place == 0 { write!(line, " {cell:<width$} |") } else { write!(line, " {cell:>width$} |") };
                line
            })
        };
        let rule = widths.iter().enumerate().fold(String::from("|"), |rule, (place, width)| {
            if place == 0 {
                rule + " " + &"-".repeat(*width) + " |"
            } else {
                rule + " " + &"-".repeat(width - 1) + ": |"
            }
        });
        let mut text = format!("\n{}\n{rule}\n", line(head.to_vec()));
        for row in rows {
            text += &line(row.iter().map(String::as_str).collect());
            text.push('\n');
        }
        self.add(&text);
    }

    /// Adds text as it is.
    pub fn add(&mut self, text: &str) {
        print!("{text}");
        self.0 += text;
    }

    /// Writes it to `bench/results`, and to `bench/RESULTS.md` if it is to be published.
    pub fn write(&self, options: &Options) -> Result<()> {
        let results = options.home().join("results");
        fs::create_dir_all(&results)?;
        fs::write(results.join("latest.md"), &self.0)?;
        if options.publish {
            fs::write(options.home().join("RESULTS.md"), &self.0)?;
        }
        Ok(())
    }
}

/// Milliseconds with as many digits as matter.
pub fn millis(time: Duration) -> String {
    figure(time.as_secs_f64() * 1e3)
}

/// A number with three digits that matter, thousands with commas.
pub fn figure(number: f64) -> String {
    if !number.is_finite() {
        return "-".to_owned();
    }
    let size = number.abs();
    if size >= 1_000.0 {
        return grouped(number);
    }
    let digits = if size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else {
        2
    };
    format!("{number:.digits$}")
}

/// A whole number, thousands with commas.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = if number < 0.0 { String::from("-") } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count, thousands with commas.
pub fn count(number: u64) -> String {
    grouped(number as f64)
}

/// How many times as much.
pub fn ratio(number: f64, other: Option<f64>) -> String {
    other.map_or_else(|| "-".to_owned(), |other| format!("{:.2}x", number / other))
}

/// The machine and what the figures mean, which every report begins with.
pub fn preamble(options: &Options) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown CPU", |(_, model)| model.trim());
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let scale =
        if options.is_full() { "" } else { "\n**A run at a smaller scale: figures are for trying things out.**\n" };
    format!(
        "# Benchmark\n{scale}\n{model}, {cores} cores, Linux {}. Each server on one core, the generator on another, over \
         loopback. Each measurement {} s after a warm-up; lancewire on {}. Latency is from sending the mutation to \
         reading the delivery, so it is an upper bound of commit to socket. CPU is the server process's, publishing \
         included. bench/README.md says what each figure means.\n",
        kernel.trim(),
        options.seconds,
        options.database.name(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits() {
        assert_eq!(
            [0.012_3, 1.234, 12.34, 123.4, 1_234_567.8, f64::NAN].map(figure),
            ["0.01", "1.23", "12.3", "123", "1,234,568", "-"]
        );
        assert_eq!(count(100), "100");
    }
}

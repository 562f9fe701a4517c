//! What a story leaves behind: its own report, and one row of the table of all of them.
//!
//! Both are in `target/tmp/faults`. Each report writes the whole table again from the rows that exist, so that it is
//! complete whichever stories ran and in whichever order.

use std::{fmt::Write, fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};

/// The figures that the table shows of a story.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub faults: usize,
    pub clients: usize,
    pub lasted: Duration,
    /// Times in which nobody who worked was answered.
    pub outages: Vec<Duration>,
    /// Different events that somebody was to hear.
    pub events: usize,
    /// Deliveries that were compared with `events`.
    pub checked: usize,
    pub lost: usize,
    pub doubled: usize,
    /// Connections that came back and went on from their cursors.
    pub recoveries: usize,
}

const HEAD: &str = "\
| fault | times | clients | seconds | unavailable, s | longest, s | events | deliveries checked | lost | doubled | recoveries |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
";

/// The columns with numbers to add up, by their keys; the first and the last two of time are not.
const COLUMNS: [&str; 10] =
    ["times", "clients", "seconds", "unavailable", "longest", "events", "checked", "lost", "doubled", "recoveries"];

impl Row {
    /// Leaves a story's words and its row, and puts the row into the table.
    pub fn leave(&self, words: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("faults");
        fs::create_dir_all(&folder).expect("a folder for reports");
        let write = |file: String, text: String| fs::write(folder.join(file), text).expect("the report is written");
        write(format!("{}.txt", self.name), format!("{}\n{words}", self.name));
        write(format!("{}.json", self.name), self.figures().to_string());
        let mut rows: Vec<Value> = fs::read_dir(&folder)
            .expect("it was just made")
            .filter_map(|file| Some(file.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .filter_map(|path| serde_json::from_str(&fs::read_to_string(path).ok()?).ok())
            .collect();
        rows.sort_by_key(|row| row["name"].to_string());
        write("report.md".to_owned(), table(&rows));
    }

    fn figures(&self) -> Value {
        json!({
            "name": self.name,
            "times": self.faults,
            "clients": self.clients,
            "seconds": tenths(self.lasted),
            "unavailable": tenths(self.outages.iter().sum()),
            "longest": tenths(self.outages.iter().max().copied().unwrap_or_default()),
            "events": self.events,
            "checked": self.checked,
            "lost": self.lost,
            "doubled": self.doubled,
            "recoveries": self.recoveries,
        })
    }
}

/// In seconds, to one digit: more would be noise.
fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

fn table(rows: &[Value]) -> String {
    let mut table = HEAD.to_owned();
    let mut line = |name: &str, numbers: &dyn Fn(&str) -> String| {
        let cells: Vec<String> = COLUMNS.iter().map(|column| numbers(column)).collect();
        let _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
    };
    for row in rows {
        line(row["name"].as_str().unwrap_or_default(), &|column| grouped(&row[column]));
    }
    line("**all**", &|column| {
        let numbers = rows.iter().filter_map(|row| row[column].as_f64());
        match column {
            // The same ones each time would be counted again and again.
            "clients" => String::new(),
            "seconds" | "unavailable" => format!("{:.1}", numbers.sum::<f64>()),
            "longest" => format!("{:.1}", numbers.fold(0.0, f64::max)),
            _ => grouped(&json!(rows.iter().filter_map(|row| row[column].as_u64()).sum::<u64>())),
        }
    });
    table
}

/// A number as people read it: 12,345.
fn grouped(number: &Value) -> String {
    let Some(number) = number.as_u64() else { return number.to_string() };
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

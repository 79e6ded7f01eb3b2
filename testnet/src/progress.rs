//! Shows people how far a scenario is: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the bar is drawn anew while nothing happens.
const TICK: Duration = Duration::from_millis(500);

/// Where progress is shown: the standard error, so that the output is the report alone.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
    plain: bool,
}

impl Progress {
    /// Shows the progress of this many sessions.
    pub fn new(sessions: usize) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(Some(sessions as u64), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("  [{bar:30}] {pos}/{len} sessions, {elapsed}: {msg}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        if !plain {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, begun: Instant::now(), plain }
    }

    /// Shows lines only.
    pub fn without_bar() -> Self {
        Self { bar: ProgressBar::hidden(), begun: Instant::now(), plain: true }
    }

    /// Something that stays to be read.
    pub fn line(&self, text: &str) {
        let elapsed = self.begun.elapsed();
        let line = format!("[{:>5}.{} s] {text}", elapsed.as_secs(), elapsed.subsec_millis() / 100);
        if self.plain {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// Something that the next replaces, on a terminal.
    pub fn step(&self, text: &str) {
        if self.plain {
            self.line(text);
        } else {
            self.bar.set_message(text.to_owned());
        }
    }

    /// One more session has ended.
    pub fn session_ended(&self, text: &str) {
        self.bar.inc(1);
        self.line(text);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

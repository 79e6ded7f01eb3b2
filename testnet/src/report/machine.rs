use std::fmt;
use std::fs;

use serde::Serialize;

/// What the figures were measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The processor's name, where the system tells.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in MiB, where the system tells.
    pub memory_mib: Option<u64>,
    /// The operating system.
    pub system: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        Self {
            processor: field("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: field("/proc/meminfo", "MemTotal").and_then(|text| mib(&text)),
            system: std::env::consts::OS.to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} cores", self.processor, self.cores)?;
        if let Some(memory_mib) = self.memory_mib {
            write!(f, ", {} GiB", memory_mib.div_ceil(1024))?;
        }
        write!(f, ", {}", self.system)
    }
}

/// The first value of a name in one of Linux's `name: value` files.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let values = text.lines().filter_map(|line| line.split_once(':'));
    values.into_iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

fn mib(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

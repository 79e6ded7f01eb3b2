//! Goal: the program says what is wrong and what to do, with the documented exit codes, and its
//! secret files are safe, all without a node.
//! Method: the real binary, run on files in a temporary folder.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_evchain"))
            .args(line.split_whitespace())
            .current_dir(self.path())
            .env("HOME", self.path())
            .output()
            .unwrap()
    }

    /// The JSON that a command prints which succeeds.
    fn json(&self, line: &str) -> Value {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What a command that fails says, which must be in one line or two and no panic.
    fn refusal(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {message}");
        assert!(message.starts_with("error:") && !message.contains("panicked"), "{line}: {message}");
        message
    }
}

#[test]
fn every_command_has_help_and_the_main_ones_examples() {
    let folder = Folder::new();
    for command in ["", "keys", "genesis", "start", "tx", "query", "sessions", "secret", "channel-state"] {
        let output = folder.run(&format!("{command} --help"));
        assert!(output.status.success(), "{command}");
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("Usage: evchain"), "{command}: {help}");
        if ["keys", "start", "tx", "query", "secret"].contains(&command) {
            assert!(help.contains("Example"), "{command} has no example");
        }
    }
}

#[test]
fn arguments_that_make_no_sense_are_told_apart() {
    let folder = Folder::new();
    folder.json("keys new --wallet w.json --json");
    let request = "tx --wallet w.json request --region 1 --start +1h --end +2h --bids-until +5m --energy";
    let cases = [
        ("nonsense".to_owned(), "unrecognized subcommand"),
        (format!("{request} 20"), "20kWh"),
        (format!("{request} -1kWh"), "unexpected argument"),
        (format!("{request} 99999999999999999999kWh"), "20kWh"),
        (request.replace("+1h", "1h") + " 1kWh", "RFC 3339"),
        (request.replace("+1h", "+1y") + " 1kWh", "1h30m"),
        (request.replace("+1h", "2026-13-01T00:00:00Z") + " 1kWh", "RFC 3339"),
        ("tx transfer evc1wrong 1".to_owned(), "not an address"),
        ("tx bid 10 1".to_owned(), "not a reference"),
        ("tx transfer evc1wrong 1.23456".to_owned(), "not an address"),
        ("tx station --region 1 --position 91,0 --power 22kW".to_owned(), "latitude,longitude"),
        ("tx station --region 1 --position 47.8,13 --power 22".to_owned(), "22kW"),
        ("tx bid 1-0 1 --kinds cash".to_owned(), "hashes, chain, channel"),
        ("tx bid 1-0 1 --max-installments 0".to_owned(), "1 to 1024"),
        ("query tx xyz".to_owned(), "1042-3"),
        ("query block 0xff".to_owned(), "latest"),
        ("query proof balance/me".to_owned(), "account/ADDRESS"),
        ("query status --rpc https://example.org:1".to_owned(), "TLS"),
        ("query status --rpc nowhere".to_owned(), "host and a port"),
    ];
    for (line, hint) in cases {
        let message = folder.refusal(&line, 2);
        assert!(message.contains(hint), "{line}: {message}");
    }
}

#[test]
fn an_unreachable_node_is_named_with_what_to_do() {
    let folder = Folder::new();
    folder.json("keys new --wallet w.json --json");
    for line in [
        "query status",
        "tx --wallet w.json transfer evc1qxea3744wz2jkwr4agzmmnrwen769q433caejt2m0fj0s4u3jwgqwfmvu8 1",
    ] {
        let message = folder.refusal(&format!("{line} --rpc 127.0.0.1:9,127.0.0.1:10"), 1);
        assert!(
            message.contains("http://127.0.0.1:9 (") && message.contains("http://127.0.0.1:10 ("),
            "{message}"
        );
        assert!(message.contains("evchain start"), "{message}");
    }
}

#[test]
fn wallets_are_private_never_overwritten_and_shared_by_processes() {
    let folder = Folder::new();
    let missing = folder.refusal("keys show", 1);
    assert!(missing.contains("evchain keys new"), "{missing}");
    let made = folder.json("keys new --json");
    let file = folder.path().join(".evchain/wallet.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(folder.refusal("keys new", 1).contains("never overwritten"));
    let address = folder.run("keys address");
    assert_eq!(String::from_utf8(address.stdout).unwrap().trim(), made["address"]);

    let takers: Vec<_> = (0..12)
        .map(|_| {
            Command::new(env!("CARGO_BIN_EXE_evchain"))
                .args(["keys", "fresh", "--json"])
                .env("HOME", folder.path())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let taken: BTreeSet<u64> = takers
        .into_iter()
        .map(|taker| {
            let output = taker.wait_with_output().unwrap();
            serde_json::from_slice::<Value>(&output.stdout).unwrap()["index"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(taken, (1..=12).collect());
    assert_eq!(folder.json("keys list --json").as_array().map(Vec::len), Some(13));

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(folder.refusal("keys show", 1).contains("chmod 600"));
}

#[test]
fn a_genesis_is_made_checked_and_refused() {
    let folder = Folder::new();
    let authority = folder.json("keys new --wallet a.json --json")["address"].as_str().unwrap().to_owned();
    let new = format!(
        "genesis new --name test --authority {authority} --account {authority}:1.5:consumer,producer"
    );
    let made = folder.json(&format!("{new} --out g.json --json"));
    assert_eq!((made["supply"].as_u64(), made["authorities"].as_u64()), (Some(15_000), Some(1)));
    assert_eq!(folder.json("genesis check g.json --json"), made);
    assert!(folder.refusal(&format!("{new} --out g.json"), 1).contains("g.json"));
    let twice = folder.refusal(&format!("{new} --authority {authority} --out h.json"), 2);
    assert!(twice.contains("listed twice"), "{twice}");
    assert!(!folder.path().join("h.json").exists(), "a genesis that is refused is not written");
    std::fs::write(folder.path().join("bad.json"), "{\"name\":\"x\",\"color\":1}").unwrap();
    assert!(folder.refusal("genesis check bad.json", 2).contains("no genesis"));

    let start = folder.refusal("start --genesis g.json --wallet a.json", 2);
    let (one, other) = ("aa".repeat(32), "bb".repeat(32));
    let line = format!("start --genesis g.json --wallet a.json --data d --trust 10:{one} --trust 10:{other}");
    assert!(folder.refusal(&line, 2).contains("exclude each other"));
    assert!(start.contains("--data"), "{start}");
    std::fs::write(folder.path().join("node.toml"), "genesis = \"g.json\"\ncolour = 1\n").unwrap();
    assert!(folder.refusal("start --config node.toml", 2).contains("colour"));
}

#[test]
fn a_new_chain_takes_a_fee_unless_told_otherwise() {
    let folder = Folder::new();
    let authority = folder.json("keys new --wallet a.json --json")["address"].as_str().unwrap().to_owned();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("silent.json", r#"{"idle_interval": 200}"#);
    write("cheap.json", r#"{"fee_flat": 3}"#);
    // In EUR 0.0001. The flag says more than the file, and the file more than the default.
    for (index, (options, fee)) in [
        ("", 10),
        ("--fee-flat 0", 0),
        ("--params silent.json", 10),
        ("--params cheap.json", 3),
        ("--params cheap.json --fee-flat 0.0007", 7),
    ]
    .into_iter()
    .enumerate()
    {
        let new =
            format!("genesis new --name test --authority {authority} --out {index}.json --json {options}");
        assert_eq!(folder.json(&new)["fee_flat"], fee, "{options}");
        let shown = folder.json(&format!("genesis show {index}.json --json"));
        assert_eq!(shown["params"]["fee_flat"], fee, "{options}");
    }
}

#[test]
fn secret_files_show_what_they_lock_with_and_the_secret_only_when_asked() {
    let folder = Folder::new();
    let chain = folder.json("secret new --out chain.json --chain 4 --json");
    assert!(chain["anchor"].is_string() && chain.get("preimage").is_none());
    assert!(folder.refusal("secret new --out chain.json", 1).contains("never overwritten"));
    let last = folder.json("secret show chain.json --installment 3 --json");
    let seed = std::fs::read_to_string(folder.path().join("chain.json")).unwrap();
    assert!(seed.contains(last["preimage"].as_str().unwrap()), "the last link is the seed");
    assert!(folder.refusal("secret show chain.json --installment 4", 2).contains("installment 4"));
    let single = folder.json("secret new --out r.json --json");
    let shown = folder.json("secret show r.json --installment 0 --json");
    assert_eq!(shown["hash"], single["hash"]);
}

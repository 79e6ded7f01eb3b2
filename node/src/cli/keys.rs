use clap::Subcommand;
use serde::Serialize;

use super::args::{KeyArgs, WalletArgs};
use super::output::{aligned, print_json, print_text, table};
use crate::network::peer_of_key;
use crate::wallet::{MAIN_KEY, Wallet};

/// Make and look at a wallet: one seed, a main key, and fresh keys for requests.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  evchain keys new\n  evchain keys new --wallet authority.json\n  evchain keys address --key 3"
)]
pub enum KeysCommand {
    /// Make a wallet with a new seed in a new file, which only you can read.
    New {
        /// The wallet.
        #[command(flatten)]
        wallet: WalletArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a wallet: its file, its main address and peer id, how many keys it gave out.
    Show {
        /// The wallet.
        #[command(flatten)]
        wallet: WalletArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the address of a key, and nothing else.
    Address {
        /// The key.
        #[command(flatten)]
        key: KeyArgs,
    },
    /// List the keys that were given out.
    List {
        /// The wallet.
        #[command(flatten)]
        wallet: WalletArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take a fresh key, which nothing links to the others, and print its index and address.
    Fresh {
        /// The wallet.
        #[command(flatten)]
        wallet: WalletArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct WalletView {
    file: String,
    address: String,
    peer_id: String,
    keys: u64,
}

#[derive(Serialize)]
struct KeyView {
    index: u64,
    address: String,
}

/// Runs the command.
///
/// # Errors
/// Where the wallet cannot be read or written.
pub(super) fn run(command: KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::New { wallet, json } => show(&Wallet::create(&wallet.path()?)?, json),
        KeysCommand::Show { wallet, json } => show(&wallet.open()?, json),
        KeysCommand::Address { key } => {
            print_text(&key.wallet.open()?.key(key.index).public_key().to_string())
        }
        KeysCommand::List { wallet, json } => {
            let wallet = wallet.open()?;
            let keys: Vec<KeyView> =
                (MAIN_KEY..wallet.next_index()?).map(|index| view(&wallet, index)).collect();
            if json {
                return print_json(&keys);
            }
            let rows: Vec<Vec<String>> =
                keys.into_iter().map(|key| vec![key.index.to_string(), key.address]).collect();
            print_text(&table(&["key".to_owned(), "address".to_owned()], &rows))
        }
        KeysCommand::Fresh { wallet, json } => {
            let wallet = wallet.open()?;
            let (index, _) = wallet.fresh_key()?;
            let key = view(&wallet, index);
            if json { print_json(&key) } else { print_text(&format!("{}  {}", key.index, key.address)) }
        }
    }
}

fn view(wallet: &Wallet, index: u64) -> KeyView {
    KeyView { index, address: wallet.key(index).public_key().to_string() }
}

fn show(wallet: &Wallet, json: bool) -> anyhow::Result<()> {
    let address = wallet.main_key().public_key();
    let view = WalletView {
        file: wallet.path().display().to_string(),
        address: address.to_string(),
        peer_id: peer_of_key(&address).map_or_else(|_| "-".to_owned(), |peer| peer.to_string()),
        keys: wallet.next_index()?,
    };
    if json {
        return print_json(&view);
    }
    print_text(&aligned(&[
        ("wallet", view.file),
        ("address", view.address),
        ("peer id", view.peer_id),
        ("keys", view.keys.to_string()),
    ]))
}

use std::path::Path;
use std::sync::Arc;

use evchain_consensus::block::BlockRef;
use evchain_protocol::block::Header;
use evchain_protocol::codec::encode;
use evchain_protocol::crypto::ChainId;
use evchain_protocol::finality::Certificate;
use evchain_protocol::genesis::{Genesis, GenesisError};
use evchain_protocol::light::Checkpoint;
use evchain_protocol::primitives::Height;
use evchain_protocol::state::authority::Authorities;
use evchain_protocol::state::tree::{Tree, TreeDepth};
use tokio::sync::{broadcast, mpsc, watch};

use super::error::{OpenError, OtherThanTrusted};
use super::handle::ChainHandle;
use super::reader::ChainReader;
use super::worker::Worker;
use crate::mempool::MempoolHandle;
use crate::store::tables::{BLOCKS, CHAIN, HEIGHTS, STATE, TIP, Tip};
use crate::store::{Batch, Durability, Store, StoreError};

/// Commands that wait for the ledger's thread; above, their senders are held back.
const COMMANDS: usize = 256;
/// Final blocks that a slow follower may lag behind.
const FINALS: usize = 1_024;

/// A chain whose thread was not started yet.
#[derive(Debug)]
pub struct OpenedChain {
    /// Reads what is final.
    pub reader: ChainReader,
    /// The epoch of the next block, and its authorities.
    pub authorities: Authorities,
    /// The block that the epoch builds on: genesis, or the last of the epoch before.
    pub root: BlockRef,
    /// The finalization of that block, none for genesis.
    pub boundary: Option<Arc<Certificate>>,
    /// The newest final block.
    pub tip: BlockRef,
    /// Its finalization, none if it is the epoch's root.
    pub finalization: Option<Arc<Certificate>>,
    tip_header: Header,
    tree: Tree,
    tip_sender: watch::Sender<Header>,
    trust: Vec<Checkpoint>,
}

/// The chain with its thread.
#[derive(Debug)]
pub struct Chain {
    /// Talks to it.
    pub handle: ChainHandle,
    /// Says why it ended, if it did on its own.
    pub failure: watch::Receiver<Option<String>>,
}

impl OpenedChain {
    /// Opens the chain of this genesis in a folder, and starts it there if the folder is new. It has the
    /// trusted blocks, where it has come that far, and takes no others in their places.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, genesis: Genesis, trust: Vec<Checkpoint>) -> Result<Self, OpenError> {
        let started = genesis.build()?;
        let chain = started.chain;
        let store = Store::open(path)?;
        match store.get(&CHAIN, &())? {
            None => write_genesis(&store, chain, &started)?,
            Some(found) if found == chain => {}
            Some(found) => {
                let (expected, found) = (chain.to_string(), found.to_string());
                return Err(StoreError::WrongChain { path: store.path(), found, expected }.into());
            }
        }

        let tip_header = read_tip(&store, &started.header)?;
        let depth = TreeDepth::new(genesis.params.state_tree_depth).map_err(GenesisError::TreeDepth)?;
        let tree = read_tree(&store, depth)?;
        if tree.root() != tip_header.state_root {
            let (found, expected) = (tree.root().to_string(), tip_header.state_root.to_string());
            return Err(OpenError::WrongStateRoot { found, expected });
        }

        refuse_other_history(&store, &started.header, &trust)?;
        let (tip_sender, tip) = watch::channel(tip_header.clone());
        let (finals, _) = broadcast::channel(FINALS);
        let reader = ChainReader { store, genesis: Arc::new(genesis), chain, tip, finals };
        let authorities = reader.authorities()?;
        let root_height = authorities.first_height.saturating_sub(Height::new(1));
        let root = match reader.block(root_height)? {
            Some(block) => block.reference(),
            None => BlockRef::of_header(&started.header),
        };
        let (boundary, finalization) = if tip_header.height > root_height {
            (finalization_of(&reader, root_height)?, finalization_of(&reader, tip_header.height)?)
        } else {
            (finalization_of(&reader, root_height)?, None)
        };
        Ok(Self {
            reader,
            authorities,
            root,
            boundary,
            tip: BlockRef::of_header(&tip_header),
            finalization,
            tip_header,
            tree,
            tip_sender,
            trust,
        })
    }

    /// The store, for the consensus log beside the chain.
    pub fn store(&self) -> Store {
        self.reader.store.clone()
    }

    /// Starts the thread that owns the ledger. It ends when the last handle is gone. Must be called
    /// within a tokio runtime, which waits for it: a process that ends while its database is open
    /// may abort.
    pub fn start(self, mempool: MempoolHandle) -> Chain {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (failure_sender, failure) = watch::channel(None);
        let worker = Worker::new(
            self.reader.clone(),
            self.tree,
            self.tip_header,
            self.tip_sender,
            failure_sender,
            self.trust,
        );
        tokio::task::spawn_blocking(move || worker.run(inbox));
        Chain { handle: ChainHandle { commands, reader: self.reader, mempool }, failure }
    }
}

fn finalization_of(reader: &ChainReader, height: Height) -> Result<Option<Arc<Certificate>>, StoreError> {
    let found = reader.finalization(height)?.filter(|(at, _)| height > Height::ZERO && *at == height);
    Ok(found.map(|(_, certificate)| Arc::new(certificate)))
}

fn write_genesis(
    store: &Store,
    chain: ChainId,
    started: &evchain_protocol::genesis::GenesisBlock,
) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.put_changes(started.state.clone());
    let tip = Tip { height: Height::ZERO, hash: started.header.hash() };
    batch.put(&HEIGHTS, &tip.hash, &tip.height);
    batch.put(&TIP, &(), &tip);
    batch.put(&CHAIN, &(), &chain);
    store.write(batch, Durability::Synced)
}

fn read_tip(store: &Store, genesis: &Header) -> Result<Header, StoreError> {
    let tip = store.get(&TIP, &())?.ok_or_else(|| corrupt(TIP.name, "tip", "missing"))?;
    if tip.height == Height::ZERO {
        return Ok(genesis.clone());
    }
    let block = store
        .get(&BLOCKS, &tip.height)?
        .ok_or_else(|| corrupt(BLOCKS.name, &tip.height.to_string(), "the newest final block is missing"))?;
    Ok(block.header().clone())
}

/// Checks that the chain has the trusted blocks, as far as it has come.
fn refuse_other_history(store: &Store, genesis: &Header, trust: &[Checkpoint]) -> Result<(), OpenError> {
    for trusted in trust {
        let block = match store.get(&BLOCKS, &trusted.height)? {
            Some(block) => block.hash(),
            None if trusted.height == Height::ZERO => genesis.hash(),
            None => continue,
        };
        if trusted.contradicts(trusted.height, &block) {
            let found = Checkpoint { height: trusted.height, block };
            return Err(OtherThanTrusted { found, trusted: *trusted }.into());
        }
    }
    Ok(())
}

fn read_tree(store: &Store, depth: TreeDepth) -> Result<Tree, StoreError> {
    let snapshot = store.snapshot();
    let mut failure = None;
    let entries = snapshot
        .scan(&STATE, &[], None)
        .map_while(|entry| entry.map_err(|error| failure = Some(error)).ok())
        .map(|(key, value)| (key.to_bytes(), encode(&value)));
    let tree = Tree::from_entries(depth, entries);
    failure.map_or(Ok(tree), Err)
}

fn corrupt(table: &'static str, key: &str, reason: &str) -> StoreError {
    StoreError::Corrupt { table, key: key.to_owned(), reason: reason.to_owned() }
}

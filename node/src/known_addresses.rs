//! Where authorities said that they are, kept so that a node that restarts finds them without its
//! bootstrap peers.

use evchain_protocol::crypto::PublicKey;

use crate::store::tables::ADDRESSES;
use crate::store::{Batch, Durability, Store, StoreError};

/// The newest record of each authority, as the network gave it.
#[derive(Debug)]
pub struct KnownAddresses {
    store: Store,
}

impl KnownAddresses {
    /// The records in a store, with those of others than these keys dropped: so there are never many
    /// more than there are authorities.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(store: Store, authorities: &[PublicKey]) -> Result<(Self, Vec<Vec<u8>>), StoreError> {
        let (mut records, mut others) = (Vec::new(), Batch::default());
        for entry in store.snapshot().scan(&ADDRESSES, &[], None) {
            let (authority, record) = entry?;
            if authorities.contains(&authority) {
                records.push(record);
            } else {
                others.delete(&ADDRESSES, &authority);
            }
        }
        if !others.is_empty() {
            store.write(others, Durability::Buffered)?;
        }
        Ok((Self { store }, records))
    }

    /// Keeps an authority's record in place of an older one. It need not be synced: a record that is
    /// lost comes again.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn keep(&self, authority: PublicKey, record: &Vec<u8>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(&ADDRESSES, &authority, record);
        self.store.write(batch, Durability::Buffered)
    }
}

//! The tree that the state's root is of, and the proofs of what the state holds.
//!
//! A binary tree of fixed depth over `2^depth` buckets. An entry of the state lies in the bucket
//! that the first bits of its key's hash name. A bucket's hash is over its entries (key hash and
//! value hash) in the order of their key hashes, an inner node's over its two children, and
//! whatever holds no entry has the hash [`Hash::ZERO`](crate::crypto::Hash::ZERO), at any level. So
//! the root depends on the entries alone, not on how they came to be.
//!
//! A proof is the whole bucket of a key and the siblings on the way to the root: that a key is
//! absent shows in the bucket itself.
//!
//! [`Tree`] is the committed state. Each block on top of it, final or not, is a [`TreeDelta`]; a
//! [`TreeView`] reads through a chain of them, and committing a block is [`Tree::apply`].

mod committed;
mod node;
mod proof;
mod view;

pub use committed::Tree;
pub use node::{DepthTooLarge, Entry, TreeDepth};
pub use proof::{MAX_BUCKET_ENTRIES, StateProof, WrongRoot};
pub use view::{NotAChild, TreeDelta, TreeView};

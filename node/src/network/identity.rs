//! A node's Ed25519 key is its libp2p identity: peer ids embed the key, so both convert.

use evchain_protocol::crypto::{KeyPair, PublicKey};
use libp2p::PeerId;
use libp2p::identity::{self, Keypair, ed25519};

/// A peer id that embeds no Ed25519 key, or a key that no peer id can embed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 peer")]
pub struct NotAnEd25519Peer;

/// The peer id of a public key.
///
/// # Errors
/// When the key's bytes are no point of the curve.
pub fn peer_of_key(key: &PublicKey) -> Result<PeerId, NotAnEd25519Peer> {
    let key = ed25519::PublicKey::try_from_bytes(key.as_bytes()).map_err(|_| NotAnEd25519Peer)?;
    Ok(identity::PublicKey::from(key).to_peer_id())
}

/// The public key in a peer id.
///
/// # Errors
/// When the id is the hash of a key, or of a key of another kind.
pub fn key_of_peer(peer: &PeerId) -> Result<PublicKey, NotAnEd25519Peer> {
    /// The multihash code of bytes that stand for themselves.
    const IDENTITY: u64 = 0;
    let hash = peer.as_ref();
    if hash.code() != IDENTITY {
        return Err(NotAnEd25519Peer);
    }
    let key = identity::PublicKey::try_decode_protobuf(hash.digest()).map_err(|_| NotAnEd25519Peer)?;
    let key = key.try_into_ed25519().map_err(|_| NotAnEd25519Peer)?;
    Ok(PublicKey::from_bytes(key.to_bytes()))
}

pub(super) fn libp2p_keys(keys: &KeyPair) -> Result<Keypair, identity::DecodingError> {
    let mut secret = keys.secret();
    Keypair::ed25519_from_bytes(&mut secret[..])
}

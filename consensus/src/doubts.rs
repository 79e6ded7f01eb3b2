//! Which peers sent what no honest node sends, so that no signature from them is verified any more and no body is asked
//! of them while there are others (W4, S8).

use evchain_protocol::crypto::PublicKey;

/// Messages of one peer that were bad, in an epoch, until no signature from it is verified any more (W4).
const MAX_BAD_MESSAGES: u8 = 16;

/// The most peers remembered that are no authorities (W4); above, the one whose last fault is longest ago is forgotten.
const MAX_OTHERS: usize = 64;

/// The peers that are doubted in one epoch.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Doubts {
    /// At most one for each authority, and [`MAX_OTHERS`].
    peers: Vec<Doubt>,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Doubt {
    peer: PublicKey,
    is_authority: bool,
    bad_messages: u8,
    spoils: bool,
}

impl Doubts {
    /// W4: a peer sent a message that no honest node sends.
    pub(crate) fn sent_bad(&mut self, peer: PublicKey, is_authority: bool) {
        self.update(peer, is_authority, |doubt| doubt.bad_messages = doubt.bad_messages.saturating_add(1));
    }

    /// S8: a peer sent a body that is not what its hash says, or a chain that is none.
    pub(crate) fn spoiled(&mut self, peer: PublicKey, is_authority: bool) {
        self.update(peer, is_authority, |doubt| doubt.spoils = true);
    }

    /// W4: whether signatures that this peer passes on are still worth verifying.
    pub(crate) fn is_worth_verifying(&self, peer: &PublicKey) -> bool {
        self.find(peer).is_none_or(|doubt| doubt.bad_messages < MAX_BAD_MESSAGES)
    }

    /// S8: whether this peer has sent what is spoiled.
    pub(crate) fn has_spoiled(&self, peer: &PublicKey) -> bool {
        self.find(peer).is_some_and(|doubt| doubt.spoils)
    }

    fn find(&self, peer: &PublicKey) -> Option<&Doubt> {
        self.peers.iter().find(|doubt| doubt.peer == *peer)
    }

    /// Who was doubted last stands last.
    fn update(&mut self, peer: PublicKey, is_authority: bool, change: impl FnOnce(&mut Doubt)) {
        let place = self.peers.iter().position(|doubt| doubt.peer == peer);
        let new = Doubt { peer, is_authority, bad_messages: 0, spoils: false };
        let mut doubt = place.map_or(new, |place| self.peers.remove(place));
        change(&mut doubt);
        self.peers.push(doubt);
        let is_other = |doubt: &Doubt| !doubt.is_authority;
        if self.peers.iter().filter(|doubt| is_other(doubt)).count() > MAX_OTHERS
            && let Some(first) = self.peers.iter().position(is_other)
        {
            self.peers.remove(first);
        }
    }
}

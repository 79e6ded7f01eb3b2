//! Whose turn it is to be asked, so that nobody is asked for ever who answers nothing (S8, E6).

use std::collections::{BTreeMap, VecDeque};

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::crypto::PublicKey;

use crate::authority_set::Committee;

/// The most peers remembered that are no authorities of the epoch.
const MAX_OTHERS: usize = 16;

/// Authorities and others by turns, and of the authorities those that tell of it and those that do not; of
/// each kind, who was asked least often.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Turns {
    /// The authorities that told of what is asked for and were not asked since, in this order.
    told: VecDeque<AuthorityIndex>,
    /// How often each authority was asked.
    asked: BTreeMap<AuthorityIndex, u32>,
    /// Others that told of it. In an epoch whose authorities are gone, nobody but them can answer.
    others: VecDeque<Other>,
    /// An authority was asked last.
    is_turn_of_others: bool,
    /// The last authority that was asked had told of it.
    is_turn_of_silent: bool,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Other {
    peer: PublicKey,
    asked: u32,
    /// It told of it since it was asked.
    tells: bool,
}

impl Turns {
    /// A peer claims to have what is asked for.
    pub(crate) fn tell(&mut self, peer: PublicKey, committee: &Committee) {
        match committee.index_of(&peer) {
            Some(index) if self.told.contains(&index) => {}
            Some(index) => self.told.push_back(index),
            None => self.tell_other(peer),
        }
    }

    /// The authorities that claimed it and were not asked since.
    pub(crate) fn tellers(&self) -> Vec<AuthorityIndex> {
        self.told.iter().copied().collect()
    }

    /// Who is to be asked: one of these authorities, or, every other time, of the others that claim to
    /// have it. Authorities that claim it are surely connected, and those that do not may be honest, so
    /// that these take turns too. Of each kind it is who was asked least often; among equals, who claimed
    /// it first, or the first in the order given.
    pub(crate) fn next(
        &mut self,
        committee: &Committee,
        authorities: impl IntoIterator<Item = AuthorityIndex>,
    ) -> Option<PublicKey> {
        let authority = self.next_authority(authorities);
        let other = self.others.iter_mut().filter(|other| other.tells).min_by_key(|other| other.asked);
        match (authority, other) {
            (Some(index), other) if other.is_none() || !self.is_turn_of_others => {
                self.is_turn_of_others = true;
                let asked = self.asked.entry(index).or_default();
                *asked = asked.saturating_add(1);
                self.is_turn_of_silent = self.told.contains(&index);
                self.told.retain(|told| *told != index);
                committee.key(index)
            }
            (_, Some(other)) => {
                self.is_turn_of_others = false;
                other.asked = other.asked.saturating_add(1);
                other.tells = false;
                Some(other.peer)
            }
            (Some(_) | None, None) => None,
        }
    }

    fn next_authority(
        &self,
        authorities: impl IntoIterator<Item = AuthorityIndex>,
    ) -> Option<AuthorityIndex> {
        let told_as = |index: &AuthorityIndex| self.told.iter().position(|told| told == index);
        let asked = |index: &AuthorityIndex| self.asked.get(index).copied().unwrap_or(0);
        let (tellers, silent): (Vec<_>, Vec<_>) =
            authorities.into_iter().partition(|index| told_as(index).is_some());
        let teller = tellers.into_iter().min_by_key(|index| (asked(index), told_as(index)));
        let silent = silent.into_iter().min_by_key(asked);
        if self.is_turn_of_silent { silent.or(teller) } else { teller.or(silent) }
    }

    /// When there is no room, a new one takes the place of the one that was asked most often.
    fn tell_other(&mut self, peer: PublicKey) {
        if let Some(known) = self.others.iter_mut().find(|other| other.peer == peer) {
            known.tells = true;
            return;
        }
        if self.others.len() >= MAX_OTHERS {
            let asked = self.others.iter().enumerate().filter(|(_, other)| other.asked > 0);
            let Some((place, _)) = asked.max_by_key(|(_, other)| other.asked) else { return };
            self.others.remove(place);
        }
        self.others.push_back(Other { peer, asked: 0, tells: true });
    }
}

//! What is being fetched from whom, and when to ask the next one.

use std::collections::{BTreeMap, VecDeque};

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::finality::Signers;
use evchain_protocol::primitives::{Height, Span, View};

use crate::authority_set::Committee;
use crate::input::Moment;
use crate::mutations::{Breakage, broken};

/// The most blocks asked for at a time; an answer to one brings its ancestors too.
const MAX_OUTSTANDING: usize = 8;

/// The most blocks that can be wanted.
pub(crate) const MAX_WANTED: usize = 1024;

/// The most peers remembered that may have the final chain.
const MAX_OFFERS: usize = 16;

/// Bodies wanted by hash.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct BlockFetches {
    wanted: BTreeMap<Hash, Wanted>,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Wanted {
    /// The view of the certificate that makes it wanted: once that is final, nobody needs it.
    view: View,
    /// Who must have had it: the signers of that certificate.
    holders: Signers,
    attempts: usize,
    /// When to ask (again); `None` until it was asked for once.
    due: Option<Moment>,
}

impl BlockFetches {
    pub(crate) fn len(&self) -> usize {
        self.wanted.len()
    }

    pub(crate) fn wants(&self, hash: &Hash) -> Option<(View, Signers)> {
        self.wanted.get(hash).map(|wanted| (wanted.view, wanted.holders))
    }

    pub(crate) fn want(&mut self, hash: Hash, view: View, holders: Signers) {
        if self.wanted.len() < MAX_WANTED {
            self.wanted.entry(hash).or_insert(Wanted { view, holders, attempts: 0, due: None });
        }
    }

    pub(crate) fn satisfied(&mut self, hash: &Hash) {
        self.wanted.remove(hash);
    }

    /// Forgets what only certificates up to this view want.
    pub(crate) fn prune(&mut self, final_view: View) {
        self.wanted.retain(|_, wanted| wanted.view > final_view);
    }

    /// The requests that are due, each with whom to ask. The next attempt asks somebody else.
    pub(crate) fn due(
        &mut self,
        now: Moment,
        interval: Span,
        committee: &Committee,
        own: Option<AuthorityIndex>,
    ) -> Vec<(Hash, PublicKey)> {
        let mut requests = Vec::new();
        for (hash, wanted) in self.wanted.iter_mut().take(MAX_OUTSTANDING) {
            if wanted.due.is_some_and(|due| now < due) {
                continue;
            }
            let (likely, others): (Vec<_>, Vec<_>) = committee
                .indices()
                .filter(|index| Some(*index) != own)
                .partition(|index| wanted.holders.contains(*index));
            let everyone: Vec<_> = likely.into_iter().chain(others).collect();
            // Different nodes begin with different holders.
            let start = own.map_or(0, |index| usize::from(index.get()));
            let peer = pick(&everyone, start.saturating_add(wanted.attempts)).and_then(|i| committee.key(i));
            wanted.attempts = wanted.attempts.saturating_add(1);
            wanted.due = Some(now.after(interval));
            requests.extend(peer.map(|peer| (*hash, peer)));
        }
        requests
    }

    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.wanted.values().take(MAX_OUTSTANDING).filter_map(|wanted| wanted.due).min()
    }
}

/// The final chain is fetched from the committed height upwards, one answer after the other.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct ChainFetch {
    /// Who told us of a finalization that we cannot commit.
    pub(crate) hint: Option<PublicKey>,
    /// The last block of the stretch that is being executed.
    pub(crate) executing: Option<Hash>,
    /// Who else told us of it, in this order. In an epoch whose authorities are gone, nobody but them
    /// can answer.
    offers: VecDeque<PublicKey>,
    /// Whether the next to be asked is one of those, and not an authority.
    prefers_offers: bool,
    /// The view of a finalization whose blocks are fetched by hash, and until when, if none comes.
    by_hash: Option<(View, Moment)>,
    asked_above: Option<Height>,
    asked: Option<PublicKey>,
    /// That was before the time for the last one's answer was over.
    asked_early: bool,
    attempts: usize,
    due: Option<Moment>,
}

impl ChainFetch {
    /// Whom to ask for the final chain above `height`, if it is time to ask.
    pub(crate) fn due(
        &mut self,
        now: Moment,
        interval: Span,
        height: Height,
        committee: &Committee,
        own: Option<AuthorityIndex>,
    ) -> Option<PublicKey> {
        let asked_before = self.asked_above == Some(height);
        if asked_before && self.due.is_some_and(|due| now < due) {
            return None;
        }
        self.asked_early = asked_before && self.due.is_none();
        self.asked_above = Some(height);
        self.due = Some(now.after(interval));
        self.asked = self.next_peer(committee, own);
        self.asked
    }

    fn next_peer(&mut self, committee: &Committee, own: Option<AuthorityIndex>) -> Option<PublicKey> {
        if let Some(hint) = self.hint.take() {
            return Some(hint);
        }
        // Not only those: whoever repeats a finalization and answers nothing could have us wait for ever.
        self.prefers_offers = !self.prefers_offers;
        if self.prefers_offers
            && let Some(peer) = self.offers.pop_front()
        {
            return Some(peer);
        }
        let others: Vec<_> = committee.indices().filter(|index| Some(*index) != own).collect();
        self.attempts = self.attempts.saturating_add(1);
        pick(&others, self.attempts).and_then(|index| committee.key(index))
    }

    /// S8: a peer has nothing to give: another one is asked, and at once. Not again before an answer
    /// has had its time, or nodes without an answer would be asked round and round.
    pub(crate) fn unanswered(&mut self, by: PublicKey) {
        if self.asked == Some(by) && !self.asked_early {
            self.due = None;
        }
    }

    /// A peer repeated a finalization that we cannot commit.
    pub(crate) fn offer(&mut self, by: PublicKey) {
        let has_room = self.offers.len() < MAX_OFFERS && !broken(Breakage::AskOnlyMembers);
        if has_room && !self.offers.contains(&by) {
            self.offers.push_back(by);
        }
    }

    /// S7: up to this finalization, blocks are fetched by hash.
    pub(crate) fn start_by_hash(&mut self, view: View, until: Moment) {
        self.by_hash = Some((view, until));
    }

    /// A block came.
    pub(crate) fn go_on_by_hash(&mut self, until: Moment) {
        self.by_hash = self.by_hash.map(|(view, _)| (view, until));
    }

    pub(crate) fn give_up_hashes(&mut self) {
        self.by_hash = None;
    }

    pub(crate) fn expire(&mut self, now: Moment) {
        self.by_hash = self.by_hash.filter(|(_, until)| now < *until);
    }

    pub(crate) fn is_by_hash_above(&self, tip: View) -> bool {
        self.by_hash.is_some_and(|(view, _)| view > tip)
    }

    /// A peer answered well: it is asked next, and at once.
    pub(crate) fn answered(&mut self, by: PublicKey, executing: Hash) {
        self.hint = Some(by);
        self.executing = Some(executing);
    }

    /// A peer answered badly: another one is asked, and at once.
    pub(crate) fn failed(&mut self) {
        let (attempts, prefers_offers) = (self.attempts, self.prefers_offers);
        *self =
            Self { attempts, prefers_offers, offers: std::mem::take(&mut self.offers), ..Self::default() };
    }

    pub(crate) const fn next_deadline(&self) -> Option<Moment> {
        self.due
    }

    pub(crate) fn idle(&mut self) {
        self.due = None;
        self.asked_above = None;
        self.executing = None;
    }
}

/// The item at this place, counted round and round.
fn pick(items: &[AuthorityIndex], place: usize) -> Option<AuthorityIndex> {
    items.get(place.checked_rem(items.len())?).copied()
}

//! What is being fetched from whom, and when to ask the next one.

use std::collections::BTreeMap;

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::finality::Signers;
use evchain_protocol::primitives::{Height, Span, View};

use crate::authority_set::Committee;
use crate::doubts::Doubts;
use crate::input::Moment;
use crate::mutations::{Breakage, broken};
use crate::turns::Turns;

/// The most blocks asked for at a time; an answer to one brings its ancestors too.
const MAX_OUTSTANDING: usize = 8;

/// The most blocks that can be wanted.
pub(crate) const MAX_WANTED: usize = 1024;

/// The most peers whose answers are awaited at a time, of each request; the first is given up.
const MAX_AWAITED: usize = 32;

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
    /// Who was asked and has not answered.
    awaited: Awaited,
    /// When to ask (again); `None` until it was asked for once.
    due: Option<Moment>,
}

/// The peers that were asked for something, each of which may answer once, and late.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
struct Awaited(Vec<PublicKey>);

impl Awaited {
    fn ask(&mut self, peer: PublicKey) {
        self.0.retain(|asked| *asked != peer);
        if self.0.len() >= MAX_AWAITED {
            self.0.remove(0);
        }
        self.0.push(peer);
    }

    /// Whether this peer was asked last.
    fn is_last(&self, peer: PublicKey) -> bool {
        self.0.last() == Some(&peer)
    }

    /// Whether this peer was asked, and not more often than it answered.
    fn answers(&mut self, peer: PublicKey) -> bool {
        let place = self.0.iter().position(|asked| *asked == peer);
        place.map(|place| self.0.remove(place)).is_some()
    }
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
            let awaited = Awaited::default();
            self.wanted.entry(hash).or_insert(Wanted { view, holders, attempts: 0, awaited, due: None });
        }
    }

    /// S5: whether a peer was asked for this block, and for its ancestors with it.
    pub(crate) fn is_answer(&mut self, hash: &Hash, from: PublicKey) -> bool {
        self.wanted.get_mut(hash).is_some_and(|wanted| wanted.awaited.answers(from))
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
        doubts: &Doubts,
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
            let everyone = unspoiling(likely.into_iter().chain(others), committee, doubts);
            // Different nodes begin with different holders.
            let start = own.map_or(0, |index| usize::from(index.get()));
            let peer = pick(&everyone, start.saturating_add(wanted.attempts)).and_then(|i| committee.key(i));
            wanted.attempts = wanted.attempts.saturating_add(1);
            wanted.due = Some(now.after(interval));
            if let Some(peer) = peer {
                wanted.awaited.ask(peer);
                requests.push((*hash, peer));
            }
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
    /// The last block of the stretch that is being executed.
    pub(crate) executing: Option<Hash>,
    /// Whose turn it is.
    turns: Turns,
    /// Who answered with all that it could: it is asked next.
    proven: Option<PublicKey>,
    /// The view of a finalization whose blocks are fetched by hash, and until when, if none comes.
    by_hash: Option<(View, Moment)>,
    asked_above: Option<Height>,
    /// Who was asked for the chain above that height and has not answered.
    awaited: Awaited,
    /// The last was asked before the time for an answer of the one before was over.
    asked_early: bool,
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
        doubts: &Doubts,
    ) -> Option<PublicKey> {
        let asked_before = self.asked_above == Some(height);
        if asked_before && self.due.is_some_and(|due| now < due) {
            return None;
        }
        if !asked_before {
            self.awaited = Awaited::default();
        }
        self.asked_early = asked_before && self.due.is_none();
        self.asked_above = Some(height);
        self.due = Some(now.after(interval));
        let peer = self.next_peer(committee, own, doubts)?;
        self.awaited.ask(peer);
        Some(peer)
    }

    /// S8: whoever gave all that it could, once more; then each in turn, beginning after the own place.
    fn next_peer(
        &mut self,
        committee: &Committee,
        own: Option<AuthorityIndex>,
        doubts: &Doubts,
    ) -> Option<PublicKey> {
        if let Some(proven) = self.proven.take() {
            return Some(proven);
        }
        let (below, above): (Vec<_>, Vec<_>) = committee
            .indices()
            .filter(|index| Some(*index) != own)
            .partition(|index| own.is_some_and(|own| *index < own));
        let others = above.into_iter().chain(below);
        self.turns.next(committee, unspoiling(others, committee, doubts))
    }

    /// S8: a peer has nothing to give: another one is asked, and at once. Not again before an answer
    /// has had its time, or nodes without an answer would be asked round and round.
    pub(crate) fn unanswered(&mut self, by: PublicKey) {
        if self.awaited.is_last(by) && !self.asked_early {
            self.due = None;
        }
    }

    /// A peer told of a finalization that we cannot commit.
    pub(crate) fn tell(&mut self, by: PublicKey, committee: &Committee, doubts: &Doubts) {
        let is_of_use = committee.index_of(&by).is_some() || !broken(Breakage::AskOnlyMembers);
        if is_of_use && !doubts.has_spoiled(&by) {
            self.turns.tell(by, committee);
        }
    }

    /// S8: whether a peer was asked for the chain above the tip, and has not answered yet.
    pub(crate) fn is_answer(&mut self, from: PublicKey) -> bool {
        self.awaited.answers(from)
    }

    /// Who answered with all that it could and was not asked since.
    pub(crate) const fn proven(&self) -> Option<PublicKey> {
        self.proven
    }

    /// S8: this peer is asked next.
    pub(crate) const fn prefer(&mut self, peer: Option<PublicKey>) {
        self.proven = peer;
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

    /// A peer's answer is being executed. The same is asked next, and at once, if it gave all that it
    /// could: whoever gives little at a time would keep us behind.
    pub(crate) fn answered(&mut self, by: PublicKey, is_full: bool, executing: Hash) {
        self.proven = is_full.then_some(by);
        self.executing = Some(executing);
    }

    /// A peer answered badly: another one is asked, and at once. Those that were asked may still answer.
    pub(crate) fn failed(&mut self) {
        self.proven = None;
        self.executing = None;
        self.by_hash = None;
        self.due = None;
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

/// S8: those that sent no spoiled bodies; all of them if there is no such one.
fn unspoiling(
    authorities: impl Iterator<Item = AuthorityIndex>,
    committee: &Committee,
    doubts: &Doubts,
) -> Vec<AuthorityIndex> {
    let spoils = |index: &AuthorityIndex| committee.key(*index).is_some_and(|key| doubts.has_spoiled(&key));
    let (spoiling, others): (Vec<_>, Vec<_>) = authorities.partition(spoils);
    if others.is_empty() { spoiling } else { others }
}

/// The item at this place, counted round and round.
fn pick(items: &[AuthorityIndex], place: usize) -> Option<AuthorityIndex> {
    items.get(place.checked_rem(items.len())?).copied()
}

//! The end of an epoch: what the authorities decided takes effect (E1 to E7).

use std::collections::BTreeSet;

use super::ledger::Ledger;
use crate::authority::{AuthoritySet, MAX_AUTHORITIES};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::governance::{Change, MAX_OPEN_PROPOSALS, ParamChange};
use crate::params::Params;
use crate::primitives::{Epoch, OutOfRange, TxRef};
use crate::state::authority::Authorities;
use crate::state::governance::{Offence, Proposal};
use crate::state::key::StateKey;
use crate::state::read::{ReadError, StateRead};
use crate::state::value::StateValue;

/// How many offences of one authority in one epoch the chain records (V4).
pub const MAX_OFFENCES: usize = 3;

/// All that can be open or recorded at a time, since each authority has its own limit.
const MAX_PROPOSALS_LISTED: usize = MAX_OPEN_PROPOSALS * MAX_AUTHORITIES;
const MAX_OFFENCES_LISTED: usize = 2 * MAX_OFFENCES * MAX_AUTHORITIES;

/// What the next epoch starts with, while it is being decided.
struct Next {
    keys: BTreeSet<PublicKey>,
    params: Params,
}

impl Ledger<'_> {
    /// E2: makes the next epoch if the block is its epoch's last. Gives the authorities of the next
    /// block.
    ///
    /// # Errors
    /// [`ReadError`]; the block cannot be executed then.
    pub fn turn_epoch(&mut self) -> Result<Authorities, ReadError> {
        let current = &self.block.authorities;
        if self.block.height < current.last_height {
            return Ok(current.clone());
        }
        let keys = current.set.keys().iter().copied().collect();
        let mut next = Next { keys, params: self.block.params.clone() };
        self.remove_offenders(&mut next)?;
        self.decide_proposals(&mut next)?;
        self.forget_old_offences()?;
        self.forget_admissions()?;
        self.start_epoch(next)
    }

    /// The proposals in the state, in the order of their names.
    pub(crate) fn open_proposals(&self) -> Result<Vec<(TxRef, Proposal)>, ReadError> {
        let entries = self.state.range(StateKey::proposals(), MAX_PROPOSALS_LISTED)?;
        entries
            .into_iter()
            .map(|entry| match entry {
                (StateKey::Proposal(name), StateValue::Proposal(proposal)) => Ok((name, proposal)),
                (key, _) => Err(ReadError::Inconsistent { key, reason: "a proposal" }),
            })
            .collect()
    }

    /// E3: authorities against which evidence came in this epoch leave, at most f of them, the earliest
    /// reported first.
    fn remove_offenders(&mut self, next: &mut Next) -> Result<(), ReadError> {
        let Authorities { set, first_height, .. } = &self.block.authorities;
        if !self.block.params.evidence_removes {
            return Ok(());
        }
        let mut reports = Vec::new();
        for (key, value) in self.state.range(StateKey::offences(), MAX_OFFENCES_LISTED)? {
            let (StateKey::Offence(_, offender, ..), StateValue::Offence(Offence { evidence, .. })) =
                (key, value)
            else {
                return Err(ReadError::Inconsistent { key, reason: "an offence" });
            };
            // One of the epoch before may have left already, and then takes nobody's place among the f.
            if evidence.height() >= *first_height && set.index_of(&offender).is_some() {
                reports.push((evidence, offender));
            }
        }
        // The order of coming onto the chain: nothing that is reported later can change who is first.
        reports.sort_unstable();
        let mut offenders: Vec<PublicKey> = Vec::new();
        for (_, offender) in reports {
            if !offenders.contains(&offender) {
                offenders.push(offender);
            }
        }
        if offenders.len() == set.len() {
            return Ok(());
        }
        for offender in offenders.iter().take(set.max_faulty()) {
            next.keys.remove(offender);
        }
        Ok(())
    }

    /// E4 to E6: proposals take effect, leave, or stay open.
    fn decide_proposals(&mut self, next: &mut Next) -> Result<(), ReadError> {
        let Authorities { epoch, set, .. } = &self.block.authorities;
        let mut undecided = Vec::new();
        for (name, proposal) in self.open_proposals()? {
            if !proposal.is_approved_by(set) {
                undecided.push((name, proposal));
                continue;
            }
            self.state.remove(StateKey::Proposal(name));
            let change = proposal.change;
            let fits = match change {
                Change::AddAuthority(key) => next.add(key),
                Change::RemoveAuthority(key) => next.remove(&key),
                Change::SetParam(change) => next.set(change),
                // D6: it passes here only where authorities have left since its last approval.
                Change::Standing(change) => {
                    self.change_standing(name, change)?;
                    continue;
                }
            };
            self.emit(if fits {
                Event::ProposalPassed { proposal: name, change }
            } else {
                Event::ProposalFailed { proposal: name, change }
            });
        }
        for (name, mut proposal) in undecided {
            if proposal.last_epoch <= *epoch || !next.keys.contains(&proposal.proposer) {
                self.state.remove(StateKey::Proposal(name));
                self.emit(Event::ProposalExpired { proposal: name, change: proposal.change });
            } else if !proposal.approvals.iter().all(|key| next.keys.contains(key)) {
                proposal.approvals = proposal.approvals.filter(|key| next.keys.contains(key));
                self.state.put(StateKey::Proposal(name), StateValue::Proposal(proposal));
            }
        }
        Ok(())
    }

    /// E7: evidence of epochs before this one is not accepted any more, so nothing is remembered.
    fn forget_old_offences(&mut self) -> Result<(), ReadError> {
        let epoch = self.block.authorities.epoch;
        for (key, _) in self.state.range(StateKey::offences(), MAX_OFFENCES_LISTED)? {
            if matches!(key, StateKey::Offence(of, ..) if of < epoch) {
                self.state.remove(key);
            }
        }
        Ok(())
    }

    /// E7: the next epoch's admissions are counted from zero (A6).
    fn forget_admissions(&mut self) -> Result<(), ReadError> {
        for (key, _) in self.state.range(StateKey::admissions(), MAX_AUTHORITIES)? {
            self.state.remove(key);
        }
        Ok(())
    }

    /// Writes the next epoch into the state.
    fn start_epoch(&mut self, next: Next) -> Result<Authorities, ReadError> {
        let Next { keys, params } = next;
        let current = self.block.authorities.clone();
        let set = AuthoritySet::new(keys.iter().copied().collect()).map_err(|_| ReadError::Inconsistent {
            key: StateKey::Authorities,
            reason: "authorities of which each change leaves a set",
        })?;
        for key in current.set.keys().iter().filter(|key| !keys.contains(key)) {
            self.emit(Event::AuthorityLeft { authority: *key });
        }
        for key in keys.iter().filter(|key| current.set.index_of(key).is_none()) {
            self.emit(Event::AuthorityJoined { authority: *key });
        }
        let out_of_heights = |OutOfRange(_)| ReadError::Inconsistent {
            key: StateKey::Authorities,
            reason: "heights and epochs that never run out",
        };
        let epoch = current.epoch.next().map_err(out_of_heights)?;
        let first_height = self.block.height.next().map_err(out_of_heights)?;
        let started = Authorities::new(epoch, set, first_height, params.epoch_length);
        self.emit(Event::EpochStarted { epoch, first: first_height, last: started.last_height });
        if params != self.block.params {
            self.state.put(StateKey::Params, StateValue::Params(params));
        }
        self.state.put(StateKey::FormerAuthorities, StateValue::FormerAuthorities(current));
        self.state.put(StateKey::Authorities, StateValue::Authorities(started.clone()));
        Ok(started)
    }

    /// The authorities of an epoch whose evidence counts: the current one or the one before.
    pub(crate) fn authorities_of(&self, epoch: Epoch) -> Result<Option<Authorities>, ReadError> {
        let current = &self.block.authorities;
        if current.epoch == epoch {
            return Ok(Some(current.clone()));
        }
        let former = self.state.former_authorities()?;
        Ok(former.filter(|former| former.epoch == epoch))
    }
}

/// E4: makes a change that passed, if it still fits what the next epoch is so far (E5).
impl Next {
    fn add(&mut self, key: PublicKey) -> bool {
        self.keys.len() < MAX_AUTHORITIES && self.keys.insert(key)
    }

    fn remove(&mut self, key: &PublicKey) -> bool {
        self.keys.len() > 1 && self.keys.remove(key)
    }

    fn set(&mut self, change: ParamChange) -> bool {
        let mut params = self.params.clone();
        change.apply_to(&mut params);
        let fits = params.validate().is_ok();
        if fits {
            self.params = params;
        }
        fits
    }
}

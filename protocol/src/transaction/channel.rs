//! Channels: collateral on the chain, states beside it, payout by the newest (C1 to C9; P21 IV-C).
//! What others than the two can do is in `post.rs`.

use serde::{Deserialize, Serialize};

use super::payable::Paying;
use crate::codec::{Decode, Encode};
use crate::crypto::{BadSignature, PublicKey};
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::payment::InstallmentCount;
use crate::primitives::Window;
use crate::primitives::{Span, Timestamp, TxRef};
use crate::state::auction::PaymentKinds;
use crate::state::channel::SignedChannelState;
use crate::state::channel::{Channel, ChannelState, INITIAL_RELEASED, PostedState};
use crate::state::key::{DueItem, StateKey};
use crate::state::read::StateRead;
use crate::state::value::StateValue;

/// Locks the price of a bid in a channel. The transaction's name is the channel's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct OpenChannel {
    /// Which of the sender's requests.
    pub request: TxRef,
    /// Whose bid.
    pub producer: PublicKey,
    /// N.
    pub count: InstallmentCount,
    /// How long a forced close can be challenged.
    pub challenge: Span,
    /// When the channel pays out if nobody closes it.
    pub deadline: Timestamp,
}

/// Ends a channel at once by a state that the other side signed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct CloseChannel {
    /// The state, which names the channel.
    pub state: SignedChannelState,
}

/// Starts a channel's end without the other side.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ForceCloseChannel {
    /// Which channel.
    pub channel: TxRef,
    /// The newest state that the other side signed; none for the initial one.
    pub state: Option<SignedChannelState>,
}

/// Answers a forced close with a newer state.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ChallengeChannel {
    /// The newer state, which names the channel.
    pub state: SignedChannelState,
}

/// Why an action on a channel breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum ChannelReason {
    /// C3
    #[error("the challenge period is {challenge}, and it must be {min} to {max}")]
    ChallengePeriod { challenge: Span, min: Span, max: Span },
    /// C3
    #[error("the deadline is {deadline}, and it must be {earliest} to {latest}")]
    Deadline { deadline: Timestamp, earliest: Timestamp, latest: Timestamp },
    /// C5
    #[error("there is no open channel {channel}")]
    NoChannel { channel: TxRef },
    /// C5
    #[error("channel {channel} pays out at {due}, and the block's time is {now}")]
    Ended { channel: TxRef, due: Timestamp, now: Timestamp },
    /// C5
    #[error("{sender} is not a party of channel {channel}")]
    NotParty { channel: TxRef, sender: PublicKey },
    /// C6
    #[error("the state is of channel {given}, not of {channel}")]
    OtherChannel { given: TxRef, channel: TxRef },
    /// C6
    #[error("the state releases {released} installments, and a state of this channel 1 to {count}")]
    ReleasedOutOfRange { released: u32, count: InstallmentCount },
    /// C6, C12
    #[error("the state is not signed by {signer}")]
    NotCoSigned { signer: PublicKey },
    /// C7
    #[error("the state releases {released} installments, and one with {posted} was posted")]
    OlderThanPosted { released: u32, posted: u32 },
    /// C7
    #[error("the payer can only close with a state that the payee signed as closing")]
    NotClosing,
    /// C8
    #[error("a forced close is under way, until {until}: answer it with a challenge")]
    AlreadyPosted { until: Timestamp },
    /// C9
    #[error("there is no forced close of channel {channel} to challenge")]
    NothingPosted { channel: TxRef },
    /// C9, C12
    #[error("the state releases {released} installments, which is not more than the posted {posted}")]
    NotNewer { released: u32, posted: u32 },
}

impl OpenChannel {
    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let Self { request: request_name, producer, count, challenge, deadline } = *self;
        // C1, C2
        let paying = Paying { request: request_name, producer, kind: PaymentKinds::CHANNEL, count };
        let (request, bid) = paying.check(sender.key, ledger)?;
        self.check_times(request.window, ledger)?;
        // C4
        paying.pay(sender, request, &bid, ledger)?;
        let channel = Channel {
            consumer: sender.key,
            producer,
            request: request_name,
            price: bid.price,
            count,
            challenge,
            deadline,
            cancel_by: bid.cancel_by,
            posted: None,
            dispute_lost: false,
        };
        let name = sender.name;
        ledger.state.put(StateKey::Channel(name), StateValue::Channel(channel));
        ledger.reschedule(DueItem::Channel(name), None, Some(channel.due()));
        ledger.emit(Event::ChannelOpened {
            channel: name,
            request: request_name,
            consumer: sender.key,
            producer,
            price: bid.price,
            installments: count,
            deadline,
        });
        Ok(())
    }

    /// C3
    fn check_times(&self, window: Window, ledger: &Ledger<'_>) -> Result<(), ChannelReason> {
        let Self { challenge, deadline, .. } = *self;
        let params = &ledger.block.params;
        let (min, max) = (params.min_challenge, params.max_challenge);
        if challenge < min || challenge > max {
            return Err(ChannelReason::ChallengePeriod { challenge, min, max });
        }
        let earliest = window.end.saturating_after(params.claim_margin).saturating_after(challenge);
        let latest = window.end.saturating_after(params.max_lead);
        if deadline < earliest || deadline > latest {
            return Err(ChannelReason::Deadline { deadline, earliest, latest });
        }
        Ok(())
    }
}

impl CloseChannel {
    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let name = self.state.state.channel;
        let channel = open_channel(name, sender.key, ledger)?;
        let released = check_state(&self.state, name, &channel, sender.key, ledger)?;
        // C7
        if let Some(PostedState { released: posted, .. }) = channel.posted
            && released < posted
        {
            return Err(ChannelReason::OlderThanPosted { released, posted }.into());
        }
        if sender.key == channel.consumer && !self.state.state.closing {
            return Err(ChannelReason::NotClosing.into());
        }
        Ok(ledger.pay_out_channel(name, &channel, released)?)
    }
}

impl ForceCloseChannel {
    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let name = self.channel;
        let channel = open_channel(name, sender.key, ledger)?;
        let released = match &self.state {
            Some(state) => check_state(state, name, &channel, sender.key, ledger)?,
            None => INITIAL_RELEASED,
        };
        // C8
        if let Some(PostedState { until, .. }) = channel.posted {
            return Err(ChannelReason::AlreadyPosted { until }.into());
        }
        let until = ledger.block.time.saturating_after(channel.challenge);
        post(name, channel, PostedState { released, until, by: sender.key }, ledger);
        Ok(())
    }
}

impl ChallengeChannel {
    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let name = self.state.state.channel;
        let channel = open_channel(name, sender.key, ledger)?;
        let released = check_state(&self.state, name, &channel, sender.key, ledger)?;
        // C9
        let Some(posted) = channel.posted else {
            return Err(ChannelReason::NothingPosted { channel: name }.into());
        };
        refuse_if_not_newer(released, posted)?;
        post(name, channel, PostedState { released, until: posted.until, by: sender.key }, ledger);
        Ok(())
    }
}

/// C5: the channel, if it is open and the sender is one of the two.
fn open_channel(name: TxRef, sender: PublicKey, ledger: &Ledger<'_>) -> Result<Channel, ExecuteError> {
    let channel = live_channel(name, ledger)?;
    if channel.other_side(&sender).is_none() {
        return Err(ChannelReason::NotParty { channel: name, sender }.into());
    }
    Ok(channel)
}

/// C5: the channel, if it is open and not due.
pub(super) fn live_channel(name: TxRef, ledger: &Ledger<'_>) -> Result<Channel, ExecuteError> {
    let Some(channel) = ledger.state.channel(name)? else {
        return Err(ChannelReason::NoChannel { channel: name }.into());
    };
    // It is still there where the queue of due items is behind (K1).
    let (due, now) = (channel.due(), ledger.block.time);
    if now >= due {
        return Err(ChannelReason::Ended { channel: name, due, now }.into());
    }
    Ok(channel)
}

/// C6: the state is of this channel, in range, and signed by the other side. Gives what it
/// releases.
fn check_state(
    signed: &SignedChannelState,
    name: TxRef,
    channel: &Channel,
    sender: PublicKey,
    ledger: &Ledger<'_>,
) -> Result<u32, ChannelReason> {
    let state = signed.state;
    if state.channel != name {
        return Err(ChannelReason::OtherChannel { given: state.channel, channel: name });
    }
    check_range(state, channel)?;
    let other = channel.other_side(&sender).ok_or(ChannelReason::NotParty { channel: name, sender })?;
    signed
        .verify(&other, ledger.block.chain)
        .map_err(|BadSignature| ChannelReason::NotCoSigned { signer: other })?;
    Ok(state.released)
}

/// C6
pub(super) fn check_range(state: ChannelState, channel: &Channel) -> Result<(), ChannelReason> {
    let (released, count) = (state.released, channel.count);
    if released < INITIAL_RELEASED || released > count.get() {
        return Err(ChannelReason::ReleasedOutOfRange { released, count });
    }
    Ok(())
}

/// C9
pub(super) fn refuse_if_not_newer(released: u32, posted: PostedState) -> Result<(), ChannelReason> {
    let PostedState { released: posted, .. } = posted;
    if released <= posted {
        return Err(ChannelReason::NotNewer { released, posted });
    }
    Ok(())
}

pub(super) fn post(name: TxRef, channel: Channel, posted: PostedState, ledger: &mut Ledger<'_>) {
    // H4
    let is_outdone = |before: PostedState| before.by == channel.producer && posted.by != channel.producer;
    let dispute_lost = channel.dispute_lost || channel.posted.is_some_and(is_outdone);
    let after = Channel { posted: Some(posted), dispute_lost, ..channel };
    ledger.reschedule(DueItem::Channel(name), Some(channel.due()), Some(after.due()));
    ledger.state.put(StateKey::Channel(name), StateValue::Channel(after));
    let PostedState { released, until, by } = posted;
    ledger.emit(Event::ChannelPosted { channel: name, by, released, until });
}

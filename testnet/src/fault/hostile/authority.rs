use std::sync::Arc;
use std::time::Duration;

use evchain_consensus::block::{Block, Payload};
use evchain_consensus::message::{Certificates, GetBlocks, GetFinalized, Message, Proposal, Status};
use evchain_node::clock;
use evchain_node::network::{NetworkEvent, NetworkEvents, NetworkHandle, Topic};
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::block::Header;
use evchain_protocol::codec::{List, decode, encode};
use evchain_protocol::crypto::{Hash, Signature};
use evchain_protocol::finality::{Certificate, Justification, ParentProof, Signers, Subject, Vote};
use evchain_protocol::primitives::{Epoch, Height, View};
use futures::future::join_all;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::attack::Sent;
use super::field::{Field, Target};
use super::peer::Peer;
use super::peers::join;
use crate::fault::error::FaultError;

/// How often questions are sent, and how many each time: 2,000 a second.
const QUESTIONS_EVERY: Duration = Duration::from_millis(10);
const QUESTIONS: u64 = 20;
/// How often lists of forged certificates are sent: 50 a second.
const FORGERIES_EVERY: Duration = Duration::from_millis(20);
/// Certificates in one list.
const FORGERIES: u64 = 256;
/// How often large messages are sent: 4 a second, 8 MB each.
const EARLY_EVERY: Duration = Duration::from_millis(250);
/// Views that an early message skips, and the signatures in each proof of it.
const EARLY_SKIPS: u64 = 1_024;
const EARLY_SIGNATURES: usize = 128;
/// The largest certificate that is read, in bytes.
const MAX_CERTIFICATE: usize = 64 * 1_024;
/// The epoch in which the trial runs, and the one to come.
const NOW: Epoch = Epoch::ZERO;
const NEXT: Epoch = Epoch::new(1);
/// Questions that are never answered are kept so long.
const UNANSWERED: usize = 1_024;

/// Who is refused loses its connection within this time.
const REFUSED_WITHIN: Duration = Duration::from_millis(500);

/// Whether no other validator refuses the authority any more for what it did before.
pub(super) async fn is_welcome(field: &Field) -> bool {
    join_all(field.others().map(|target| is_let_in(field, target))).await.into_iter().all(|is_in| is_in)
}

async fn is_let_in(field: &Field, target: &Target) -> bool {
    let Some(peer) = Peer::connect(&field.authority, target, field.chain).await else { return false };
    sleep(REFUSED_WITHIN).await;
    peer.is_connected()
}

/// The authority's place on the network, without a node behind it.
struct Place {
    network: NetworkHandle,
    events: NetworkEvents,
}

impl Place {
    async fn take(field: &Field) -> Result<Self, FaultError> {
        let (network, events) = join(field, &field.authority)?;
        let authorities = field.targets.iter().map(|target| target.key).collect();
        // Only a network that has stopped refuses.
        let _ = network.set_authorities(authorities).await;
        Ok(Self { network, events })
    }

    /// Sends a message to each other authority; what is dropped was too much.
    fn say(&self, message: &Message) {
        let _ = self.network.broadcast_to_authorities(&Arc::from(encode(message)));
    }
}

/// Frames of nine bytes that ask for the store's blocks, and statuses of an epoch that is over.
pub(super) async fn questions(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let place = Place::take(field).await?;
    let status = Status { epoch: NOW, view: View::ZERO, height: Height::ZERO, finalization: None };
    let questions = [
        Message::GetFinalized(GetFinalized { above: Height::ZERO }),
        Message::GetBlocks(GetBlocks { newest: Hash::ZERO, above: Height::ZERO }),
        Message::Status(status),
    ];
    let mut sent = 0;
    let mut turns = every(QUESTIONS_EVERY);
    while next(&mut turns, stop).await {
        for number in 0..QUESTIONS {
            place.say(&questions[usize::try_from(number % 3).unwrap_or_default()]);
        }
        sent += QUESTIONS;
    }
    place.network.shutdown().await;
    Ok(sent)
}

/// Lists of nullifications of views to come, with signatures that nobody made.
pub(super) async fn forgeries(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let place = Place::take(field).await?;
    let (mut sent, mut turns) = (0, every(FORGERIES_EVERY));
    while next(&mut turns, stop).await {
        let forged = (0..FORGERIES).map(|number| forged(1_000_000 + sent + number)).collect();
        let certificates = List::new(forged).unwrap_or_default();
        place.say(&Message::Certificates(Certificates { certificates }));
        sent += FORGERIES;
    }
    place.network.shutdown().await;
    Ok(sent)
}

fn forged(view: u64) -> Arc<Certificate> {
    Arc::new(Certificate {
        subject: Subject::nullify(NOW, View::new(view)),
        signers: (0..3).map(AuthorityIndex::new).collect::<Signers>(),
        signatures: List::new(vec![Signature::from_bytes([7; 64]); 3]).unwrap_or_default(),
    })
}

/// Proposals of the epoch to come, each with as much beside the block as a message has room for.
pub(super) async fn early_messages(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let place = Place::take(field).await?;
    let (mut sent, mut turns) = (0, every(EARLY_EVERY));
    while next(&mut turns, stop).await {
        sent += 1;
        if let Some(proposal) = early(field, sent) {
            place.say(&Message::Proposal(proposal));
        }
    }
    place.network.shutdown().await;
    Ok(sent)
}

fn early(field: &Field, number: u64) -> Option<Proposal> {
    let skip = |view| {
        Arc::new(Certificate {
            subject: Subject::nullify(NEXT, View::new(view)),
            signers: Signers::default(),
            signatures: List::new(vec![Signature::from_bytes([1; 64]); EARLY_SIGNATURES]).unwrap_or_default(),
        })
    };
    let skips = List::new((0..EARLY_SKIPS).map(skip).collect()).ok()?;
    let again = Justification { parent: ParentProof::Root, skips };
    let just = Justification { parent: ParentProof::Root, skips: List::default() };
    let root = Hash::ZERO;
    let header = Header {
        chain: field.chain,
        epoch: NEXT,
        height: Height::new(1),
        view: View::new(number),
        parent_hash: root,
        parent_view: View::ZERO,
        proposer: field.authority.public_key(),
        time_ms: clock::now(),
        tx_root: root,
        event_root: root,
        state_root: root,
        just_root: just.root(),
        authority_root: root,
        next_authority_root: root,
    };
    let block = Arc::new(Block::new(header, just, Payload::default()).ok()?);
    let subject = Subject::notarize(NEXT, View::new(number), block.hash());
    let signature = field.authority.sign(subject.purpose(), field.chain, &subject.signed_bytes());
    let vote = Vote { subject, signer: AuthorityIndex::new(0), signature };
    Some(Proposal { block, again: Some(again), vote })
}

/// Passes each finalization on at once, so that others ask for the blocks here, and keeps the questions.
pub(super) async fn silent_teller(field: &Field, stop: &CancellationToken) -> Result<Sent, FaultError> {
    let mut place = Place::take(field).await?;
    let (mut told, mut unanswered) = (0, Vec::new());
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            event = place.events.recv() => event,
        };
        match event {
            Some(NetworkEvent::SyncRequest { responder, .. }) if unanswered.len() < UNANSWERED => {
                unanswered.push(responder);
            }
            Some(event) => {
                if let Some(finalization) = finalization_in(event) {
                    let _ = place.network.publish_finalization(encode(&finalization));
                    place.say(&Message::Certificate(Arc::new(finalization)));
                    told += 1;
                }
            }
            None => break,
        }
    }
    place.network.shutdown().await;
    Ok(told + unanswered.len() as u64)
}

/// The finalization that an event brings, be it by gossip or by another authority.
pub(super) fn finalization_in(event: NetworkEvent) -> Option<Certificate> {
    match event {
        NetworkEvent::Gossip(message) if message.topic == Topic::Finalizations => {
            decode(message.items.first()?, MAX_CERTIFICATE).ok()
        }
        NetworkEvent::ConsensusMessage { bytes, .. } => match decode(&bytes, MAX_CERTIFICATE).ok()? {
            Message::Certificate(certificate) => Some(Arc::unwrap_or_clone(certificate)),
            _ => None,
        },
        _ => None,
    }
    .filter(|certificate: &Certificate| matches!(certificate.subject, Subject::Finalize(_)))
}

fn every(period: Duration) -> Interval {
    let mut turns = interval(period);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

/// Whether another turn has come before the end.
async fn next(turns: &mut Interval, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        _ = turns.tick() => true,
    }
}

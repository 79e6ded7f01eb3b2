use super::blame::Blame;
use super::inbox::{ConsensusHandle, Heard};
use super::question::decode_frame;
use crate::network::{ConsensusFrames, NetworkHandle};

/// Decodes the authorities' frames, beside the event loop, and lets through what belongs on their streams.
/// While the loop does not take the messages, frames wait in the network, and then with their senders. Runs
/// until the network has stopped.
pub async fn take_frames(mut frames: ConsensusFrames, consensus: ConsensusHandle, network: NetworkHandle) {
    let mut blame = Blame::new(network);
    while let Some(frame) = frames.recv().await {
        if blame.is_refused(&frame.from) {
            continue;
        }
        match decode_frame(&frame.bytes) {
            Ok(message) => {
                consensus.hear(Heard { from: frame.from, message, _share: frame.share }).await;
            }
            Err(fault) => blame.found(frame.from, &fault),
        }
    }
}

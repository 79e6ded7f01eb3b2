//! Goal: each message is taken only on the way on which honest nodes send it.
//! Method: tables over every kind of message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evchain_consensus::message::{
    Blocks, Certificates, Finalized, GetBlocks, GetCertificates, GetFinalized, Message, Status,
};
use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::codec::{List, encode};
use evchain_protocol::crypto::{Hash, KeyPair, Signature};
use evchain_protocol::finality::{Certificate, Signers, Subject, Vote};
use evchain_protocol::primitives::{Epoch, Height, View};

use super::blame::Fault;
use super::question::{Question, decode_frame};
use super::serving::ToldBoundaries;

fn certificate() -> Arc<Certificate> {
    let subject = Subject::finalize(Epoch::ZERO, View::new(1), Hash::ZERO);
    Arc::new(Certificate { subject, signers: Signers::default(), signatures: List::default() })
}

fn questions() -> [Question; 3] {
    [
        Question::Finalized(GetFinalized { above: Height::ZERO }),
        Question::Blocks(GetBlocks { newest: Hash::ZERO, above: Height::ZERO }),
        Question::Certificates(GetCertificates { epoch: Epoch::ZERO, lo: View::ZERO, hi: View::MAX }),
    ]
}

fn finalized() -> Message {
    Message::Finalized(Finalized { blocks: List::default(), finalization: certificate() })
}

fn status() -> Message {
    let (epoch, view, height) = (Epoch::ZERO, View::ZERO, Height::ZERO);
    Message::Status(Status { epoch, view, height, finalization: None })
}

#[test]
fn questions_and_answers_are_not_taken_in_frames() {
    let subject = Subject::nullify(Epoch::ZERO, View::new(1));
    let signature = Signature::from_bytes([1; 64]);
    let vote = Message::Vote(Vote { subject, signer: AuthorityIndex::new(0), signature });
    let certificates = Message::Certificates(Certificates::default());
    for message in [vote, status(), Message::Certificate(certificate()), certificates] {
        assert_eq!(decode_frame(&encode(&message)), Ok(message));
    }
    for question in questions() {
        assert_eq!(decode_frame(&encode(&question.into_message())), Err(Fault::QuestionInFrame));
    }
    for answer in [finalized(), Message::Blocks(Blocks::default())] {
        assert_eq!(decode_frame(&encode(&answer)), Err(Fault::UnaskedAnswer));
    }
    assert_eq!(decode_frame(&[0xff; 64]), Err(Fault::NotAMessage));
}

#[test]
fn only_questions_are_taken_as_requests() {
    for question in questions() {
        let message = question.into_message();
        let decoded = Question::decode(&encode(&message)).map(Question::into_message);
        assert_eq!(decoded, Ok(message));
    }
    for message in [status(), finalized(), Message::Certificate(certificate())] {
        assert_eq!(Question::decode(&encode(&message)).map(Question::into_message), Err(Fault::NotAQuestion));
    }
    assert_eq!(Question::decode(&[]).map(Question::into_message), Err(Fault::NotAMessage));
}

#[test]
fn an_answer_is_taken_only_to_its_question() {
    let answers = [
        finalized(),
        Message::Blocks(Blocks::default()),
        Message::Certificates(Certificates::default()),
        Message::Certificate(certificate()),
        status(),
    ];
    let right = |question: &Question| -> Vec<bool> {
        answers.iter().map(|answer| question.decode_answer(&encode(answer)) == Ok(answer.clone())).collect()
    };
    let [finalized, blocks, certificates] = questions();
    assert_eq!(right(&finalized), [true, false, false, false, false]);
    assert_eq!(right(&blocks), [false, true, false, false, false]);
    assert_eq!(right(&certificates), [false, false, true, true, false]);
    assert_eq!(blocks.decode_answer(&encode(&answers[0])), Err(Fault::WrongAnswer));
    assert_eq!(blocks.decode_answer(&[7; 9]), Err(Fault::NotAMessage));
}

#[test]
fn an_authority_is_told_an_end_once_in_a_while_whatever_it_sends() {
    let [one, other] = [1, 2].map(|byte| KeyPair::from_secret(&[byte; 32]).public_key());
    let mut told = ToldBoundaries::default();
    let start = Instant::now();
    let times = (0..1_000).filter(|ms| told.is_due(one, start + Duration::from_millis(*ms))).count();
    assert_eq!(times, 10);
    let end = start + Duration::from_millis(999);
    assert!(told.is_due(other, end) && !told.is_due(other, end));
}

//! What the commands that run an agent share.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::UsageError;
use super::values::{show_energy, show_moment, show_span};
use crate::agents::consumer::DecideNow;
use crate::agents::{AgentError, AgentEvent, Observer};
use crate::rpc::{CallError, RpcError};

/// Cancelled by Ctrl-C or SIGTERM. The second time the process ends at once, which loses nothing.
///
/// # Errors
/// Where signals cannot be heard.
pub(super) fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if token.is_cancelled() {
                eprintln!("left at once; the next start goes on");
                std::process::exit(super::exit::FAILED.into());
            }
            eprintln!("stopping; once more to leave at once");
            token.cancel();
        }
    });
    Ok(stop)
}

/// Decides whenever the user presses Enter. Only for those who ask for it: a program in the background
/// that reads from its terminal is stopped.
pub(super) fn decide_on_enter(decide_now: DecideNow) {
    // A thread, since nothing that waits for the terminal can be cancelled, and this must not hold up the end.
    std::thread::spawn(move || {
        let mut line = String::new();
        // Zero at the end of the input, which is no Enter.
        while std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
            line.clear();
            decide_now.decide();
        }
    });
    eprintln!("press Enter to decide by the bids that are there");
}

/// Tells a person on stderr what the agent does.
pub(super) fn progress() -> Observer {
    Arc::new(|event| {
        if let Some(line) = line_of(event) {
            eprintln!("{line}");
        }
    })
}

fn line_of(event: &AgentEvent) -> Option<String> {
    Some(match event {
        AgentEvent::Listening { contact } => format!("ready for sessions at {contact}"),
        AgentEvent::Final(sent) => {
            let (place, latency) = (sent.place, show_span(sent.latency_ms));
            format!("{} is final: {place}, after {latency}, fee EUR {}", sent.kind, sent.fee)
        }
        AgentEvent::Requested { request, consumer } => format!("asked for energy: {request}, as {consumer}"),
        AgentEvent::BidPlaced { request, price } => format!("bid EUR {price} for {request}"),
        AgentEvent::NotBidding { request, reason } => format!("no bid for {request}: {reason}"),
        AgentEvent::BidHeard { producer, price, .. } => format!("EUR {price} bid by {producer}"),
        AgentEvent::Chosen { producer, price, distance_m } => {
            format!("chose {producer}: EUR {price}, {distance_m} m away")
        }
        AgentEvent::Accepted { payment } => format!("{payment}: charging begins"),
        AgentEvent::Refused { payment, reason } => format!("{payment}: not served, {reason}"),
        AgentEvent::Delivered { payment, index, energy } => {
            format!("{payment}: installment {index}, {}", show_energy(*energy))
        }
        AgentEvent::Resumed { payment } => format!("{payment}: going on after an interruption"),
        AgentEvent::SessionEnded(report) => {
            let outcome = &report.outcome;
            let receipt = if outcome.receipt.is_some() { "with receipt" } else { "without receipt" };
            format!(
                "{}: ended {receipt}: {} of {} installments, {}, EUR {}",
                report.payment,
                outcome.released,
                report.installments,
                show_energy(outcome.energy),
                outcome.amount
            )
        }
        AgentEvent::Guarded { payment, released } => {
            format!("{payment}: the watchtower holds {released} installments")
        }
        AgentEvent::Watching { address, channels } => {
            format!("watching at {address}, channels under guard: {channels}")
        }
        AgentEvent::Guarding { channel, producer, released } => {
            format!("{channel}: guarding {released} installments for {producer}")
        }
        AgentEvent::Posting { channel, released } => {
            format!("{channel}: posting the state that releases {released} installments")
        }
        AgentEvent::GuardEnded { channel } => format!("{channel}: ended, no longer under guard"),
        AgentEvent::Waiting { until, reason } => format!("waiting until {}: {reason}", show_moment(*until)),
        AgentEvent::Warned(warning) => format!("warning: {warning}"),
        AgentEvent::PhaseBegun { .. } | AgentEvent::Released { .. } => return None,
    })
}

/// The error with the exit code that other commands give for it.
pub(super) fn exit_error(error: AgentError) -> anyhow::Error {
    match error {
        AgentError::Rpc(error) => error.into(),
        AgentError::Rejected { reason, message, .. } if reason == "invalid_input" => {
            UsageError(message).into()
        }
        AgentError::Rejected { action, reason, message } => {
            let message = format!("the {action} was rejected: {message}");
            RpcError::Call(CallError::Rejected { reason, message }).into()
        }
        AgentError::Settings(message) => UsageError(message).into(),
        error @ AgentError::OtherKey { .. } => UsageError(error.to_string()).into(),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    //! Goal: scripts can tell a wrong call from a bug, and people are told what is wrong. Method: errors by
    //! hand.

    use evchain_protocol::crypto::KeyPair;

    use super::*;
    use crate::cli::exit::{FAILED, REJECTED, USAGE, code_of, message_of};

    fn rejected(reason: &str) -> AgentError {
        let (reason, message) = (reason.to_owned(), "the amount is zero".to_owned());
        AgentError::Rejected { action: "transfer", reason, message }
    }

    #[test]
    fn exit_codes_tell_calls_from_bugs() {
        let (path, owner) = ("1-1.journal".into(), KeyPair::from_secret(&[1; 32]).public_key());
        let cases = [
            (rejected("invalid_input"), USAGE, "the amount is zero"),
            (rejected("transfer.zero_amount"), REJECTED, "the transfer was rejected: the amount is zero"),
            (AgentError::OtherKey { path, owner }, USAGE, "1-1.journal is a sale of"),
            (AgentError::Settings("no".to_owned()), USAGE, "no"),
            (AgentError::Task("it panicked".to_owned()), FAILED, "it panicked"),
        ];
        for (error, code, text) in cases {
            let error = exit_error(error);
            assert_eq!(code_of(&error), code, "{error}");
            assert!(message_of(&error).contains(text), "{error}");
        }
    }
}

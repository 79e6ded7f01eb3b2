use std::fmt;

use evchain_protocol::primitives::Amount;

use super::checks::side_name;
use super::report::{PaymentRow, TablesReport, VolumeFigures};
use super::stopped::AFTER;
use crate::report::{LatencyFigures, Table, payment_name};

/// P21's example of a charging time, in seconds.
const HOUR_S: f64 = 3_600.0;

impl fmt::Display for TablesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} validators on {}", self.validators, self.machine)?;
        self.fmt_payments(f)?;
        self.fmt_stopped(f)?;
        self.fmt_times(f)?;
        self.fmt_phases(f)?;
        self.fmt_volume(f)?;
        self.fmt_accounts(f)?;
        if self.failures.is_empty() {
            return writeln!(f, "\nOK: every session is charged, and no figure is worse than it should be");
        }
        writeln!(f, "\nFAILED:")?;
        self.failures.iter().try_for_each(|failure| writeln!(f, "  {failure}"))
    }
}

impl TablesReport {
    fn fmt_payments(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nP21, Table I: what a session costs and risks, by way to pay (P21's figures in brackets)"
        )?;
        let mut table = Table::new([
            "",
            "N",
            "on chain",
            "",
            "tx/s",
            "",
            "bytes",
            "off chain",
            "",
            "consumer risks",
            "b/N",
            "producer risks",
        ]);
        for row in &self.payments {
            table.row(payment_cells(row));
        }
        write!(f, "{table}")?;
        writeln!(f, "  risks: by the order of the agents' steps; their accounts are below")?;
        writeln!(
            f,
            "  on chain: P21 counts N for HTLCs, but its own text needs a lock and a claim for each: 2N"
        )?;
        writeln!(
            f,
            "  tx/s: those transactions over ||T||, here the hour of P21's example. In windows longer than the"
        )?;
        writeln!(
            f,
            "  claim margin hash locks take one more claim about every margin, so that none is late"
        )?;
        writeln!(
            f,
            "  off chain: P21 counts 0 for HTLCs, whose secrets the chain reveals. Here each goes to the producer\n  \
             itself, as P21's own text has it for r_0: so nothing waits for a block, and claims can be few"
        )
    }

    fn fmt_stopped(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nMeasured loss when the other side stops: the consumer vanishes when it has {AFTER} installments' \
             energy,\nor the producer is paid for one more and does not deliver it"
        )?;
        let header = ["", "stops", "N", "released", "Wh", "consumer spent", "producer got", "loss", "b/N"];
        let mut table = Table::new(header).left(2);
        for row in &self.stopped {
            let shown = |amount: Option<_>| amount.map_or("?".to_owned(), |amount| format!("{amount}"));
            table.row([
                payment_name(row.kind).to_owned(),
                side_name(row.stops).to_owned(),
                row.installments.to_string(),
                row.released.to_string(),
                row.delivered.get().to_string(),
                shown(row.spent),
                shown(row.got),
                shown(row.loss),
                row.installment.to_string(),
            ]);
        }
        write!(f, "{table}")?;
        writeln!(
            f,
            "  from the accounts, without fees; the loss is that of the side that stays, by its own meter"
        )
    }

    fn fmt_times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.plan.timed_runs == 0 {
            return Ok(());
        }
        writeln!(
            f,
            "\nA session of 100 installments, from its beginning to the last delivery, each synced to disk"
        )?;
        let mut table = Table::new(["", "ms"]);
        for time in &self.times {
            let ms: Vec<String> = time.ms.iter().map(u64::to_string).collect();
            table.row([payment_name(time.kind).to_owned(), ms.join(", ")]);
        }
        write!(f, "{table}")
    }

    fn fmt_phases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nP18, Table 2: bytes on the chain in each phase")?;
        let mut table = Table::new(["phase", "transaction", "payload", "P18", "whole transaction"]).left(2);
        let shown = |bytes: Option<usize>| bytes.map_or("?".to_owned(), |bytes| bytes.to_string());
        for row in &self.phases {
            table.row([
                row.phase.to_owned(),
                row.kind.to_owned(),
                shown(row.payload),
                row.payload_p18.to_string(),
                shown(row.whole),
            ]);
        }
        write!(f, "{table}")?;
        writeln!(
            f,
            "  request: 8 bytes more than P18's: a start that counts from 1970 in tenths of a second (3), one more \
             each\n  for the length of T and for e in Wh, and what P18 leaves out, the bids' deadline and mode (3)"
        )?;
        writeln!(f, "  commitment: a SHA-256 hash, which P18 counts with 16 bytes, has 32")?;
        writeln!(f, "  P18 leaves out sender, time and signature")
    }

    fn fmt_volume(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VolumeFigures { requests, producers, bids, expected, on_chain, together, slot, confirmation } =
            self.volume;
        writeln!(f, "\nP18, 4.4: transactions of the auctions")?;
        writeln!(
            f,
            "  M = {requests} consumers, N = {producers} producers, n = {bids}: 2M + NMn = {expected}; on the chain {on_chain}"
        )?;
        if let Some(slot) = slot {
            let transactions = 2 * together + producers * together * bids;
            #[allow(clippy::cast_precision_loss)] // a rate for the eye
            let (rate, slot_s) =
                (transactions as f64 * 1_000.0 / slot.get().max(1) as f64, slot.get() as f64 / 1_000.0);
            writeln!(
                f,
                "  (2M + NMn)c/t of the {together} that asked at once, c = 1 block, t = {slot_s:.1} s from the first \
                 request to the\n  last decision: {rate:.1} transactions per second"
            )?;
        }
        match confirmation {
            Some(LatencyFigures { count, p50_ms, p99_ms, max_ms }) => writeln!(
                f,
                "  confirmation time of {count} of them: p50 {p50_ms} ms, p99 {p99_ms} ms, max {max_ms} ms; one block is final"
            ),
            None => writeln!(f, "  no confirmation time was measured"),
        }
    }

    fn fmt_accounts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nAccounts of all sessions that nobody stopped, without fees, in EUR")?;
        let mut table = Table::new(["", "sessions", "prices", "by account"]);
        let sum =
            |amounts: &mut dyn Iterator<Item = Amount>| amounts.fold(Amount::ZERO, Amount::saturating_add);
        table.row([
            "consumers spent".to_owned(),
            self.sessions.len().to_string(),
            sum(&mut self.sessions.iter().filter_map(|row| row.price)).to_string(),
            sum(&mut self.sessions.iter().filter_map(|row| row.spent)).to_string(),
        ]);
        for row in &self.earnings {
            table.row([
                format!("station {} got", row.station),
                row.sessions.to_string(),
                row.price.to_string(),
                row.got.map_or("?".to_owned(), |got| got.to_string()),
            ]);
        }
        write!(f, "{table}")?;
        let height = self.audit.height;
        if self.audit.is_conserved() && self.audit.is_agreed() {
            return writeln!(
                f,
                "  at height {height} every validator has the same state and all of the money"
            );
        }
        writeln!(f, "  at height {height} the validators DO NOT have the same state and all of the money")
    }
}

fn payment_cells(row: &PaymentRow) -> [String; 12] {
    let bracket = |paper: Option<u32>| paper.map_or(String::new(), |figure| format!("({figure})"));
    #[allow(clippy::cast_precision_loss)] // a rate for the eye
    let on_chain = row.on_chain as f64;
    [
        payment_name(row.kind).to_owned(),
        row.installments.to_string(),
        row.on_chain.to_string(),
        bracket(row.on_chain_p21),
        format!("{:.4}", on_chain / HOUR_S),
        row.on_chain_p21.map_or(String::new(), |count| format!("({:.4})", f64::from(count) / HOUR_S)),
        row.bytes.to_string(),
        row.off_chain.to_string(),
        bracket(row.off_chain_p21),
        row.consumer_risk.to_string(),
        row.installment.to_string(),
        row.producer_risk.to_string(),
    ]
}

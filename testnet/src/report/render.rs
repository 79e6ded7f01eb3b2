use std::fmt;

use super::figures::Report;
use super::table::Table;
use crate::data::PriceSource;

/// The most requests that are listed as left out; JSON has them all.
const SHOWN_SKIPPED: usize = 10;
/// The most sessions that are listed as not charged in full; JSON has them all.
const SHOWN_ROWS: usize = 10;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show_scenario(f)?;
        self.show_sessions(f)?;
        self.show_chain(f)?;
        self.show_latency(f)?;
        self.show_audit(f)
    }
}

impl Report {
    fn show_scenario(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scenario = &self.scenario;
        writeln!(f, "\n{}", scenario.name)?;
        writeln!(
            f,
            "  {} validators, {} producers, {} requests, N = {}, speed {}",
            scenario.validators,
            scenario.producers,
            self.sessions.asked,
            scenario.installments,
            scenario.speed,
        )?;
        writeln!(f, "  {}.{} s on {}", self.duration_ms / 1000, self.duration_ms % 1000 / 100, self.machine)?;
        for note in &scenario.notes {
            writeln!(f, "  - {note}")?;
        }
        if scenario.producers_left_out > 0 {
            writeln!(f, "  - {} more stations of the region take no part", scenario.producers_left_out)?;
        }
        let skipped = &scenario.skipped;
        if !skipped.is_empty() {
            writeln!(f, "  - {} requests that nobody can serve are left out:", skipped.len())?;
        }
        for row in skipped.iter().take(SHOWN_SKIPPED) {
            writeln!(f, "      line {}: {}", row.line, row.reason)?;
        }
        if skipped.len() > SHOWN_SKIPPED {
            writeln!(f, "      and {} more", skipped.len() - SHOWN_SKIPPED)?;
        }
        Ok(())
    }

    fn show_sessions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sessions, prices) = (&self.sessions, &self.prices);
        let listed = |parts: Vec<String>| parts.join(", ");
        let outcomes = sessions.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}"));
        let directions =
            sessions.directions.iter().map(|count| format!("{} {}", count.sessions, count.direction));
        writeln!(f, "\nSessions")?;
        writeln!(f, "  outcomes      {}; {} settled", listed(outcomes.collect()), sessions.settled)?;
        for row in sessions.each.iter().filter(|row| row.outcome != "charged").take(SHOWN_ROWS) {
            writeln!(f, "    {}: {}, {} installments, {}", row.name, row.outcome, row.released, row.reason)?;
        }
        if sessions.asked_again > 0 {
            writeln!(f, "  asked again   {} for a later window, having missed theirs", sessions.asked_again)?;
        }
        writeln!(f, "  directions    {}", listed(directions.collect()))?;
        writeln!(
            f,
            "  delivered     {} Wh in {} installments for EUR {}",
            sessions.energy.get(),
            sessions.installments,
            sessions.paid,
        )?;
        writeln!(
            f,
            "  prices        EUR {} chosen, EUR {} the lowest bids; the lowest was chosen in {} of {} ({} bids)",
            prices.chosen_sum, prices.lowest_sum, prices.lowest_chosen, prices.chosen, prices.bids,
        )?;
        let sources =
            prices.sources.iter().map(|(source, count)| format!("{count} {}", source_name(*source)));
        writeln!(f, "  price data    {}", listed(sources.collect()))?;
        for (about, warned) in &self.warnings {
            writeln!(f, "  warned        {} times: {about}, such as: {}", warned.count, warned.last)?;
        }
        writeln!(f, "\nPayment by kind, over the sessions that were charged (P21, Table I)")?;
        let mut table =
            Table::new(["", "sessions", "installments", "transactions", "bytes", "payment messages"]);
        for (kind, figures) in &self.payments {
            table.row([
                (*kind).to_owned(),
                figures.sessions.to_string(),
                figures.installments.to_string(),
                figures.transactions.to_string(),
                figures.bytes.to_string(),
                figures.messages.to_string(),
            ]);
        }
        write!(f, "{table}")
    }

    fn show_chain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = &self.chain;
        writeln!(f, "\nTransactions on the chain")?;
        let mut table = Table::new(["kind", "phase", "count", "bytes"]).left(2);
        for (kind, figures) in &chain.kinds {
            let (count, bytes) = (figures.count.to_string(), figures.bytes.to_string());
            table.row([kind.clone(), figures.phase.to_owned(), count, bytes]);
        }
        let (count, bytes) = chain.totals();
        table.row(["all".to_owned(), String::new(), count.to_string(), bytes.to_string()]);
        write!(f, "{table}")?;
        writeln!(
            f,
            "  {} blocks, {} with transactions, {}.{:03} blocks per second; fees EUR {}",
            chain.blocks,
            chain.blocks_with_transactions,
            self.blocks_per_1000_s / 1000,
            self.blocks_per_1000_s % 1000,
            chain.fees,
        )
    }

    fn show_latency(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nFrom submission to finality, in ms")?;
        let mut table = Table::new(["kind", "count", "p50", "p99", "max"]);
        for (kind, figures) in &self.latency {
            table.row([
                kind.clone(),
                figures.count.to_string(),
                figures.p50_ms.to_string(),
                figures.p99_ms.to_string(),
                figures.max_ms.to_string(),
            ]);
        }
        write!(f, "{table}")
    }

    fn show_audit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audit = &self.audit;
        writeln!(f, "\nMoney and agreement at height {}; the supply is EUR {}", audit.height, audit.supply)?;
        let mut table = Table::new(["validator", "in accounts", "locked", "state root"]);
        for validator in &audit.validators {
            table.row([
                validator.number.to_string(),
                validator.in_accounts.to_string(),
                validator.locked.to_string(),
                validator.state_root.to_string()[..16].to_owned(),
            ]);
        }
        write!(f, "{table}")?;
        let said = |holds: bool, yes: &'static str, no: &'static str| if holds { yes } else { no };
        writeln!(
            f,
            "  {}; {}",
            said(audit.is_conserved(), "money is conserved on every validator", "MONEY IS NOT CONSERVED"),
            said(audit.is_agreed(), "all validators agree on the state", "THE VALIDATORS DISAGREE"),
        )?;
        if self.failures.is_empty() {
            return writeln!(f, "\nOK: every session is settled");
        }
        writeln!(f, "\nFAILED")?;
        self.failures.iter().try_for_each(|failure| writeln!(f, "  {failure}"))
    }
}

fn source_name(source: PriceSource) -> &'static str {
    match source {
        PriceSource::Posted => "by a posted price",
        PriceSource::Imputed => "by an imputed price, which is no fact about its station",
        PriceSource::Invented => "by an invented price",
    }
}

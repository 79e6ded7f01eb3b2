//! Runs two machines against each other, second by second.

use std::collections::VecDeque;

use evchain_protocol::codec;
use evchain_protocol::primitives::{Energy, Span, Timestamp};
use evchain_protocol::session::{
    ConsumerInput, ConsumerOutput, ConsumerPolicy, ConsumerRecord, ConsumerSession, MAX_MESSAGE_BYTES,
    Message, OnChain, Outcome, PaymentKind, ProducerInput, ProducerOutput, ProducerPolicy, ProducerRecord,
    ProducerSession, RejectReason, Settlement, StopReason, Unexpected,
};

use crate::bank::{Bank, Side};
use crate::deal::{Deal, END, START};

/// What flows in a second through an open valve: 10 kWh take 28 minutes of the hour.
const WH_PER_SECOND: u64 = 6;
const BLOCK_MS: u64 = 5_000;
const MAX_RECORD_BYTES: usize = 64 * 1024;

/// What a cheating side makes of a message that it should have sent.
pub type Tamper = Box<dyn FnMut(Side, &Message) -> Option<Vec<Message>>>;
/// What happens besides, each second.
pub type Hook = Box<dyn FnMut(&mut World)>;
/// The time of a block that is made at this moment.
pub type BlockTime = Box<dyn FnMut(Timestamp) -> Timestamp>;

pub struct World {
    pub deal: Deal,
    pub now: Timestamp,
    pub bank: Bank,
    pub consumer: ConsumerSession,
    pub producer: Option<ProducerSession>,
    pub consumer_policy: ConsumerPolicy,
    pub producer_policy: ProducerPolicy,
    pub consumer_disk: Vec<ConsumerRecord>,
    pub producer_disk: Vec<ProducerRecord>,
    pub consumer_outcome: Option<Outcome>,
    pub producer_outcome: Option<Outcome>,
    pub rejected: Option<RejectReason>,
    /// Energy that really went over.
    pub flowed: u64,
    /// Most energy that was on the producer's permission.
    pub permitted: u64,
    valve: u64,
    /// The battery takes no more than this yet.
    limit: u64,
    /// Percent of the truth that each side's machine is told: a cheat's own meter.
    pub consumer_meter_percent: u64,
    pub producer_meter_percent: u64,
    pub is_faulty: bool,
    wire: VecDeque<(Side, Message)>,
    pub messages: Vec<(Side, Message)>,
    pub connected: bool,
    reconnect_at: Timestamp,
    /// Settlements on their way to the chain, and from when on a block can have them.
    pending: Vec<(Timestamp, Side, Settlement)>,
    pub settlements: Vec<(Side, Settlement)>,
    /// When each was asked for.
    pub settled_at: Vec<Timestamp>,
    /// How long a side's settlements are on their way, by [`Side`].
    pub settling_takes: [Span; 2],
    /// The newest final block's time.
    pub chain_time: Timestamp,
    pub block_time: Option<BlockTime>,
    pub unexpected: Vec<Unexpected>,
    pub tamper: Option<Tamper>,
    pub hook: Option<Hook>,
    /// Crash a side before it carries out its output of this number.
    pub crash: Option<(Side, usize)>,
    pub crashed: bool,
    pub outputs: [usize; 2],
    /// Until when a side's process is down, by [`Side`].
    down_until: [Option<Timestamp>; 2],
    told_posted: [bool; 2],
    /// Whether the producer's process was there when the consumer took everything back.
    producer_saw_cancel: bool,
    /// A consumer that does not want to know that it took everything back.
    pub denies_cancel: bool,
}

impl World {
    /// The consumer connects at `now`.
    pub fn new(deal: Deal, now: Timestamp) -> Self {
        // Exact meters: every shortfall is a loss.
        let consumer_policy = ConsumerPolicy { tolerance_permille: 0, ..ConsumerPolicy::default() };
        let producer_policy = ProducerPolicy { tolerance_permille: 0, ..ProducerPolicy::default() };
        let mut out = Vec::new();
        let key = deal.consumer.clone();
        Self {
            consumer: ConsumerSession::new(key, deal.beginning(), consumer_policy, &mut out),
            bank: Bank::new(&deal),
            now,
            producer: None,
            consumer_policy,
            producer_policy,
            consumer_disk: vec![ConsumerRecord::Begun(deal.beginning())],
            producer_disk: Vec::new(),
            consumer_outcome: None,
            producer_outcome: None,
            rejected: None,
            flowed: 0,
            permitted: 0,
            valve: 0,
            limit: u64::MAX,
            consumer_meter_percent: 100,
            producer_meter_percent: 100,
            is_faulty: false,
            wire: VecDeque::new(),
            messages: Vec::new(),
            connected: false,
            reconnect_at: now,
            pending: Vec::new(),
            settlements: Vec::new(),
            settled_at: Vec::new(),
            settling_takes: [Span::ZERO; 2],
            chain_time: deal.chain.tip.time_ms,
            block_time: None,
            unexpected: Vec::new(),
            tamper: None,
            hook: None,
            crash: None,
            crashed: false,
            outputs: [0, 0],
            down_until: [None; 2],
            told_posted: [false; 2],
            producer_saw_cancel: false,
            denies_cancel: false,
            deal,
        }
    }

    /// Runs until both are done and the payment is settled.
    pub fn run(&mut self) {
        let last = END.get() + 4 * 3_600_000;
        while self.now.get() < last {
            self.tick();
            let open = self.bank.settled_below() < self.deal.terms.plan.count.get();
            let over = self.down_until == [None; 2]
                && (self.consumer.is_over() || self.denies_cancel)
                && self.producer.as_ref().is_none_or(ProducerSession::is_over);
            if over && !open && self.wire.is_empty() {
                return;
            }
            // Nothing but deadlines can happen any more: jump.
            let to_block = BLOCK_MS * 12 - self.now.get() % BLOCK_MS;
            self.now = self.now.after(Span::new(if over { to_block } else { 1000 })).unwrap();
        }
        assert!(self.consumer.is_over() || self.denies_cancel, "the consumer's machine never ends");
        assert!(
            self.producer.as_ref().is_none_or(ProducerSession::is_over),
            "the producer's machine never ends"
        );
    }

    fn tick(&mut self) {
        if let Some(mut hook) = self.hook.take() {
            hook(self);
            self.hook = Some(hook);
        }
        for side in [Side::Consumer, Side::Producer] {
            if self.down_until[side as usize].is_some_and(|until| until <= self.now) {
                self.down_until[side as usize] = None;
                self.recover(side);
            }
        }
        if !self.connected && self.reconnect_at <= self.now && self.down_until == [None; 2] {
            self.connected = true;
            self.consumer_step(ConsumerInput::Connected);
        }
        if self.now.get().is_multiple_of(BLOCK_MS) {
            self.block();
        }
        let target = self.valve.min(self.limit);
        if self.flowed < target {
            self.flowed = target.min(self.flowed + WH_PER_SECOND);
            let reading = |percent| Energy::new(self.flowed * percent / 100);
            let (consumer, producer) =
                (reading(self.consumer_meter_percent), reading(self.producer_meter_percent));
            self.consumer_step(ConsumerInput::Metered(consumer));
            self.producer_step(ProducerInput::Metered(producer));
        } else if self.producer_meter_percent > 100 && self.valve > 0 {
            let shown = Energy::new(self.valve * self.producer_meter_percent / 100);
            self.producer_step(ProducerInput::Metered(shown));
        }
        self.talk();
        if self.consumer.deadline().is_some_and(|at| at <= self.now) {
            self.consumer_step(ConsumerInput::Timeout);
        }
        if self.producer.as_ref().and_then(ProducerSession::deadline).is_some_and(|at| at <= self.now) {
            self.producer_step(ProducerInput::Timeout);
        }
        self.talk();
    }

    fn talk(&mut self) {
        while let Some((from, message)) = self.wire.pop_front() {
            match from {
                Side::Consumer => self.producer_hears(message),
                Side::Producer => self.consumer_step(ConsumerInput::Message(message)),
            }
        }
    }

    fn block(&mut self) {
        // A block's time is above its parent's, whatever clock it comes from.
        let least = self.chain_time.after(Span::new(1)).unwrap();
        let wanted = self.block_time.as_mut().map_or(self.now, |block_time| block_time(self.now));
        self.chain_time = wanted.max(least);
        let (come, on_their_way) =
            std::mem::take(&mut self.pending).into_iter().partition(|(from, ..)| *from <= self.now);
        self.pending = on_their_way;
        let come: Vec<(Timestamp, Side, Settlement)> = come;
        let settlements = come.into_iter().map(|(_, side, settlement)| (side, settlement)).collect();
        let was_cancelled = self.bank.cancelled;
        let left = self.bank.block(self.chain_time, settlements);
        self.producer_saw_cancel |= !was_cancelled && self.bank.cancelled && !self.is_down(Side::Producer);
        self.pending.extend(left.into_iter().map(|(side, settlement)| (self.now, side, settlement)));
        self.consumer_step(ConsumerInput::ChainTime(self.chain_time));
        self.producer_step(ProducerInput::ChainTime(self.chain_time));
        self.tell_what_is_final();
    }

    /// What a driver tells its machine of the payment after a block.
    fn tell_what_is_final(&mut self) {
        let below = self.bank.settled_below();
        if self.bank.cancelled {
            if !self.denies_cancel {
                self.consumer_step(ConsumerInput::Cancelled);
            }
            if self.producer_saw_cancel {
                self.producer_step(ProducerInput::Cancelled);
            }
        } else if below > 0 {
            if self.deal.terms.kind == PaymentKind::Channel {
                self.consumer_step(ConsumerInput::PaidOut);
            }
            self.producer_step(ProducerInput::Settled(below));
        }
        for side in [Side::Consumer, Side::Producer] {
            let is_up = !self.is_down(side);
            let own = if side == Side::Consumer { &self.deal.consumer } else { &self.deal.producer };
            let by_others = self.bank.posted_by.is_some_and(|by| by != own.public_key());
            let is_news = is_up && !self.told_posted[side as usize] && by_others;
            let is_open = matches!(self.bank.on_chain(), Some(OnChain::Channel(_)));
            if is_news && is_open {
                self.told_posted[side as usize] = true;
                match side {
                    Side::Consumer => self.consumer_step(ConsumerInput::ForceClosed),
                    Side::Producer => self.producer_step(ProducerInput::ForceClosed),
                }
            }
        }
    }

    fn producer_hears(&mut self, message: Message) {
        if self.producer.is_some() || self.down_until[Side::Producer as usize].is_some() {
            return self.producer_step(ProducerInput::Message(message));
        }
        let Message::Open(open) = message else { return };
        let mut out = Vec::new();
        let mut facts = self.deal.facts.clone();
        facts.time = self.chain_time;
        facts.payment = self.bank.on_chain();
        let (key, remote) = (self.deal.producer.clone(), self.deal.consumer.public_key());
        match ProducerSession::open(key, remote, &open, &facts, self.producer_policy, self.now, &mut out) {
            Ok(session) => {
                self.producer = Some(session);
                self.carry_out_producer(out);
            }
            Err(reason) => {
                self.rejected = Some(reason);
                self.wire.push_back((Side::Producer, Message::Reject(reason)));
            }
        }
    }

    pub fn consumer_step(&mut self, input: ConsumerInput) {
        if self.down_until[Side::Consumer as usize].is_some() {
            return;
        }
        let mut out = Vec::new();
        if let Err(unexpected) = self.consumer.step(self.now, input, &mut out) {
            assert!(out.is_empty());
            self.unexpected.push(unexpected);
        }
        self.carry_out_consumer(out);
    }

    pub fn producer_step(&mut self, input: ProducerInput) {
        if self.down_until[Side::Producer as usize].is_some() {
            return;
        }
        let Some(producer) = &mut self.producer else { return };
        let mut out = Vec::new();
        if let Err(unexpected) = producer.step(self.now, input, &mut out) {
            assert!(out.is_empty());
            self.unexpected.push(unexpected);
        }
        self.carry_out_producer(out);
    }

    fn crashes(&mut self, side: Side) -> bool {
        let number = self.outputs[side as usize];
        self.outputs[side as usize] += 1;
        let crashes = !self.crashed && self.crash == Some((side, number));
        if crashes {
            self.crashed = true;
            self.stop_process(side);
        }
        crashes
    }

    /// Ends a side's process at once (kill -9) and starts it again this much later, from the first
    /// `records` of its disk.
    pub fn kill(&mut self, side: Side, records: usize, down: Span) {
        self.stop_process(side);
        match side {
            Side::Consumer => self.consumer_disk.truncate(records),
            Side::Producer => {
                self.producer_disk.truncate(records);
                self.valve = self.flowed;
            }
        }
        self.down_until[side as usize] = Some(self.now.after(down).unwrap());
    }

    /// Whether a side's process is down.
    pub fn is_down(&self, side: Side) -> bool {
        self.down_until[side as usize].is_some()
    }

    fn stop_process(&mut self, side: Side) {
        self.disconnect(2000);
        self.pending.retain(|(_, of, _)| *of != side);
    }

    fn recover(&mut self, side: Side) {
        self.told_posted[side as usize] = false;
        match side {
            Side::Consumer => self.recover_consumer(),
            Side::Producer => {
                self.producer_saw_cancel = false;
                self.recover_producer();
            }
        }
        self.look(side);
        self.tell_what_is_final();
    }

    /// What a driver finds when it asks the chain after a restart: whether the payment is there, and not how
    /// it ended.
    fn look(&mut self, side: Side) {
        let is_there = self.bank.left().is_some_and(|payment| match payment {
            OnChain::Installments(payment) => payment.unsettled().next().is_some(),
            OnChain::Channel(_) => true,
        });
        if side == Side::Producer && !is_there {
            self.producer_step(ProducerInput::Gone);
        }
    }

    pub fn disconnect(&mut self, for_ms: u64) {
        self.connected = false;
        self.wire.clear();
        self.reconnect_at = self.now.after(Span::new(for_ms)).unwrap();
    }

    fn carry_out_consumer(&mut self, outputs: Vec<ConsumerOutput>) {
        for output in outputs {
            if self.crashes(Side::Consumer) {
                return self.recover(Side::Consumer);
            }
            match output {
                ConsumerOutput::Persist(record) => {
                    let bytes = codec::encode(&record);
                    assert_eq!(
                        codec::decode::<ConsumerRecord>(&bytes, MAX_RECORD_BYTES).as_ref(),
                        Ok(&record)
                    );
                    self.consumer_disk.push(record);
                }
                ConsumerOutput::Send(message) => {
                    self.check_consumer_send(&message);
                    self.send(Side::Consumer, message);
                }
                ConsumerOutput::Settle(settlement) => {
                    assert!(
                        self.consumer_disk.iter().any(|it| matches!(it, ConsumerRecord::Ended(_))),
                        "D2: {settlement:?}"
                    );
                    self.settle(Side::Consumer, settlement);
                }
                ConsumerOutput::Finished(outcome) => self.consumer_outcome = Some(outcome),
                ConsumerOutput::OpenValve | ConsumerOutput::CloseValve => {}
            }
        }
    }

    fn carry_out_producer(&mut self, outputs: Vec<ProducerOutput>) {
        for output in outputs {
            if self.crashes(Side::Producer) {
                return self.recover(Side::Producer);
            }
            match output {
                ProducerOutput::Persist(record) => {
                    let bytes = codec::encode(&record);
                    assert_eq!(
                        codec::decode::<ProducerRecord>(&bytes, MAX_RECORD_BYTES).as_ref(),
                        Ok(&record)
                    );
                    self.producer_disk.push(record);
                }
                ProducerOutput::Send(message) => {
                    self.check_producer_send(&message);
                    self.send(Side::Producer, message);
                }
                ProducerOutput::Deliver(up_to) => {
                    assert!(
                        up_to.get() <= self.deal.energy_of(self.released_on_disk()),
                        "D3: flows before its proof"
                    );
                    let is_binding = self.producer_disk.contains(&ProducerRecord::Binding);
                    assert!(
                        is_binding || self.deal.terms.cancel_by == Timestamp::ZERO,
                        "D3: flows before it is written that nothing can be taken back"
                    );
                    self.permitted = self.permitted.max(up_to.get());
                    if !self.is_faulty {
                        self.valve = up_to.get();
                    }
                }
                ProducerOutput::StopEnergy => self.valve = self.flowed,
                ProducerOutput::Settle(settlement) => self.settle(Side::Producer, settlement),
                ProducerOutput::Finished(outcome) => self.producer_outcome = Some(outcome),
            }
        }
    }

    /// Lets the battery take no more than this yet, in Wh.
    pub fn throttle(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Brings something to the chain that the machines did not ask for.
    pub fn bring(&mut self, side: Side, settlement: Settlement) {
        self.pending.push((self.now, side, settlement));
    }

    fn settle(&mut self, side: Side, settlement: Settlement) {
        self.settlements.push((side, settlement.clone()));
        self.settled_at.push(self.now);
        let arrives = self.now.after(self.settling_takes[side as usize]).unwrap();
        self.pending.push((arrives, side, settlement));
    }

    fn send(&mut self, from: Side, message: Message) {
        let bytes = message.encode();
        assert!(bytes.len() <= MAX_MESSAGE_BYTES);
        assert_eq!(Message::decode(&bytes), Ok(message));
        if !self.connected {
            return;
        }
        self.messages.push((from, message));
        let replaced = self.tamper.as_mut().and_then(|tamper| tamper(from, &message));
        let sent = replaced.unwrap_or_else(|| vec![message]);
        self.wire.extend(sent.into_iter().map(|message| (from, message)));
    }

    /// The installments whose energy the producer may let flow, by its disk.
    pub fn released_on_disk(&self) -> Vec<u32> {
        let deposit = (self.deal.terms.kind == PaymentKind::Channel).then_some(0);
        let proofs = self.producer_disk.iter().filter_map(|record| match record {
            ProducerRecord::Released(release) => Some(release.index),
            _ => None,
        });
        deposit.into_iter().chain(proofs).collect()
    }

    /// D2.
    fn check_consumer_send(&self, message: &Message) {
        let has = |test: &dyn Fn(&ConsumerRecord) -> bool| self.consumer_disk.iter().any(test);
        let durable = match message {
            Message::Open(_) => has(&|it| matches!(it, ConsumerRecord::Begun(_))),
            Message::Release(release) => {
                let channel_before =
                    (self.deal.terms.kind == PaymentKind::Channel).then(|| release.index - 1);
                has(&|it| *it == ConsumerRecord::Released(release.index))
                    && channel_before.is_none_or(|before| {
                        has(&|it| matches!(it, ConsumerRecord::Delivered(got) if got.index == before && got.state.is_some()))
                    })
            }
            Message::Receipt(_) | Message::Stop(_) => has(&|it| matches!(it, ConsumerRecord::Ended(_))),
            _ => true,
        };
        assert!(durable, "D2: {message:?} is sent before its record");
    }

    /// D3.
    fn check_producer_send(&self, message: &Message) {
        let has = |test: &dyn Fn(&ProducerRecord) -> bool| self.producer_disk.iter().any(test);
        let durable = match message {
            Message::Accept(_) => has(&|it| matches!(it, ProducerRecord::Accepted(_))),
            Message::Delivered(sent) => {
                has(&|it| matches!(it, ProducerRecord::Delivered((index, _)) if *index == sent.index))
            }
            Message::Receipt(_) => has(&|it| matches!(it, ProducerRecord::Receipted(_))),
            Message::Stop(StopReason::Ended) => true,
            Message::Stop(_) => has(&|it| matches!(it, ProducerRecord::Ended(_))),
            _ => true,
        };
        assert!(durable, "D3: {message:?} is sent before its record");
    }

    fn recover_consumer(&mut self) {
        let mut out = Vec::new();
        let (key, policy) = (self.deal.consumer.clone(), self.consumer_policy);
        self.consumer =
            ConsumerSession::recover(key, policy, &self.consumer_disk, self.now, &mut out).unwrap();
        self.carry_out_consumer(out);
        let meter = Energy::new(self.flowed * self.consumer_meter_percent / 100);
        self.consumer_step(ConsumerInput::Metered(meter));
    }

    fn recover_producer(&mut self) {
        let mut out = Vec::new();
        self.valve = self.flowed;
        if self.producer_disk.is_empty() {
            self.producer = None;
            return;
        }
        let (key, policy) = (self.deal.producer.clone(), self.producer_policy);
        let session = ProducerSession::recover(key, policy, &self.producer_disk, self.now, &mut out).unwrap();
        self.producer = Some(session);
        self.carry_out_producer(out);
        self.producer_step(ProducerInput::Metered(Energy::new(
            self.flowed * self.producer_meter_percent / 100,
        )));
    }

    /// Energy that flowed and that nobody paid for, in Wh.
    pub fn producer_loss_wh(&self) -> u64 {
        self.flowed.saturating_sub(self.deal.energy_of(self.bank.paid.iter().copied()))
    }

    /// Money paid for energy that did not come, in units, rounded up. `energy * price / e` is what
    /// the energy is worth.
    pub fn consumer_loss(&self) -> u64 {
        let (price, all) =
            (u128::from(self.deal.terms.plan.price.get()), u128::from(self.deal.terms.energy.get()));
        let paid = u128::from(self.bank.producer_money().get()) * all;
        let worth = u128::from(self.flowed) * price;
        u64::try_from(paid.saturating_sub(worth).div_ceil(all)).unwrap()
    }

    /// ceil(b/N).
    pub fn largest_installment(&self) -> u64 {
        self.deal.terms.plan.price.get().div_ceil(u64::from(self.deal.terms.plan.count.get()))
    }

    /// P21 IV-A: what neither side may lose more than.
    pub fn assert_risk_bounds(&self, what: &str) {
        assert_eq!(self.producer_loss_wh(), 0, "{what}: the producer delivered unpaid");
        let (loss, bound) = (self.consumer_loss(), self.largest_installment());
        assert!(loss <= bound, "{what}: the consumer lost {loss}, more than {bound}");
        self.bank.assert_record(what);
    }

    /// Everything was delivered, paid and receipted.
    pub fn assert_complete(&self, what: &str) {
        let all = self.deal.terms.energy.get();
        assert_eq!(self.flowed, all, "{what}: energy");
        assert_eq!(self.bank.producer_money(), self.deal.terms.plan.price, "{what}: money");
        let (consumer, producer) = (self.consumer_outcome.unwrap(), self.producer_outcome.unwrap());
        assert_eq!(consumer.receipt, producer.receipt, "{what}: one receipt");
        let receipt = producer.receipt.unwrap_or_else(|| panic!("{what}: no receipt"));
        assert_eq!(receipt.verify(self.deal.terms.chain), Ok(()), "{what}");
        assert_eq!(receipt.receipt.energy.get(), all, "{what}");
    }

    /// Runs until `is_ready` holds before a tick.
    pub fn run_until(&mut self, mut is_ready: impl FnMut(&Self) -> bool) {
        while !is_ready(self) {
            assert!(self.now < END, "it never comes to that");
            self.tick();
            self.now = self.now.after(Span::new(1000)).unwrap();
        }
    }

    /// Messages of this side that carry payment.
    pub fn payment_messages(&self) -> usize {
        self.messages.iter().filter(|(_, message)| matches!(message, Message::Release(_))).count()
    }
}

/// A session from the window's start on, or as long before it as the deposit needs, or as there is
/// something to cancel.
pub fn at_start(deal: Deal) -> World {
    let is_refund = deal.terms.kind != PaymentKind::Channel && !deal.terms.deposit_is_forfeit();
    let is_early = is_refund || deal.terms.cancel_by > Timestamp::ZERO;
    World::new(deal, if is_early { Timestamp::new(START.get() - 290_000) } else { START })
}

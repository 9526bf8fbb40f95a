//! Names, their certificates and orders, and two processes that keep them, moment by moment on a clock of its own.
//!
//! What decides is certd's and the store's own code: when a certificate is due and how much that hurries
//! (`certd::renewal`), what an order draws from which limit (`certd::acme::Limits`, `store::draw_all`), who stands where
//! in line (`store::Urgency`) and who is picked (`certd::line`), how many are asked at a time (`certd::acme::Course`), when
//! one that failed is tried again (`certd::acme::next_at`). What is made up is what they decide about: names that are always
//! connected, requests that take a while, and `testkit`'s authority without keys. The DNS, the wire and the database are
//! deliberately absent; the simulated year of certd's tests has them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::Range;
use std::time::Duration;

use certd::acme::{AcmeError, Advice, Limits, Purpose, next_at};
use certd::line::Crowds;
use certd::renewal;
use model::id::TenantId;
use model::{Host, HostPattern, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use store::{Hastened, Term, Urgency, is_told_anew};
use testkit::ca::{Limits as Theirs, Placed, Stub};

use super::ledger::Ledger;
use super::process::{Answered, Process};
use super::questions::Questions;

/// Processes that share the work.
pub(super) const PROCESSES: u32 = 2;
/// How long an order takes at the authority, from the first request to the certificate.
const TAKES: Range<u64> = 2_000..4_000;
/// How long an order waits for a place in the lane, and until it comes back, as certd has it.
const IN_LANE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(2));
/// Orders of those in line that are looked through, as certd has it.
const IN_LINE: usize = 500;
/// How long a request hangs before it is given up, as certd has it.
const HANGS: Duration = Duration::from_secs(30);
/// How soon an authority says that it is away.
const SAYS_NO: Duration = Duration::from_millis(200);
/// How often turns are dealt out anew, and which stay where they are, as certd and the store have it.
const DEAL: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(60);
/// Time between two questions of all processes: 50 a second each, as certd has it.
const QUESTION: Duration = Duration::from_millis(1000 / 50 / PROCESSES as u64);

/// An order of a name: its number, and the name's.
pub(super) type Key = (u64, usize);

/// How an authority is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Away {
    /// It answers that it is.
    Says,
    /// It does not answer.
    Hangs,
}

#[derive(Debug)]
struct Name {
    host: Host,
    tenant: TenantId,
    held: Option<Held>,
    order: Option<Order>,
    ask_at: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    term: Term,
    serial: usize,
    /// That its authority wants it back.
    is_revoked: bool,
}

#[derive(Debug)]
struct Order {
    number: u64,
    rank: Timestamp,
    urgency: Urgency,
    begun_at: Timestamp,
    attempts: u32,
    /// When it goes back into the line.
    next_at: Timestamp,
    /// Its turn, if one is reserved, and whether another order may have it.
    turn: Option<(Timestamp, bool)>,
    /// Which turns it was told, and when.
    told: Vec<(Timestamp, Timestamp)>,
    placed: Option<Placed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A name is connected.
    Connect(usize),
    /// The certificate of a name may be due.
    Look(usize),
    /// An order goes back into the line, unless it was given another turn.
    Line(Key),
    /// Turns are dealt out anew.
    Deal,
    /// An order has waited long enough for a place in the lane.
    LeaveLane(Key, usize),
    /// An order begins its requests.
    Begin(Key, usize),
    /// An order has its certificate, if the authority is there still.
    End(Key, usize),
    /// An order finds that the authority is away.
    Fail(Key, usize),
}

/// What became of an order.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) name: usize,
    pub(super) urgency: Urgency,
    pub(super) begun_at: Timestamp,
    pub(super) done_at: Timestamp,
    pub(super) told: Vec<(Timestamp, Timestamp)>,
    pub(super) was_revoked: bool,
}

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) stub: Stub,
    /// Orders that came to their end, of those that somebody wants to know about.
    pub(super) done: Vec<Done>,
    /// Names that were without a valid certificate after they had one.
    pub(super) expired: u64,
    /// Most orders in line at a time.
    pub(super) longest_line: usize,
    away: Option<(Range<Timestamp>, Away)>,
    chance: StdRng,
    names: Vec<Name>,
    questions: Questions,
    ask_at: Timestamp,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    count: u64,
    line: BTreeSet<(Timestamp, Key)>,
    crowds: Crowds,
    processes: Vec<Process>,
    ledger: Ledger,
}

impl World {
    /// No name yet; certificates are valid for `lifetime`.
    pub(super) fn new(lifetime: Duration, seed: u64) -> Self {
        let now = Timestamp::from_unix_seconds(1_795_000_000);
        Self {
            now,
            stub: Stub::new(Theirs::lets_encrypt(), lifetime),
            done: Vec::new(),
            expired: 0,
            longest_line: 0,
            away: None,
            chance: StdRng::seed_from_u64(seed),
            names: Vec::new(),
            questions: Questions::default(),
            ask_at: now,
            events: BinaryHeap::new(),
            count: 0,
            line: BTreeSet::new(),
            crowds: Crowds::default(),
            processes: (0..PROCESSES).map(|_| Process::new(now)).collect(),
            ledger: Ledger::default(),
        }
    }

    /// Connects a name of `tenant` at `at`; gives its number.
    pub(super) fn connect(&mut self, at: Timestamp, tenant: TenantId) -> anyhow::Result<usize> {
        let number = self.names.len();
        let host = Host::parse(&format!("www.shop-{number}.com"))?;
        self.names.push(Name { host, tenant, held: None, order: None, ask_at: at });
        self.will(at, Event::Connect(number));
        Ok(number)
    }

    /// Lets the authority be away for a while.
    pub(super) fn go_away(&mut self, during: Range<Timestamp>, how: Away) {
        self.away = Some((during, how));
    }

    /// Has the authority revoke what `which` is true of, by a name's number.
    pub(super) fn revoke(&mut self, which: impl Fn(usize) -> bool) -> usize {
        let mut count = 0;
        for (number, name) in self.names.iter_mut().enumerate() {
            if let Some(held) = name.held.as_mut().filter(|_| which(number)) {
                self.stub.revoke(held.serial);
                held.is_revoked = true;
                count += 1;
            }
        }
        count
    }

    /// Names whose certificate is revoked, or has ended.
    pub(super) fn unserved(&self) -> usize {
        let is_bad = |held: &Held| held.is_revoked || held.term.not_after <= self.now;
        self.names.iter().filter(|name| name.held.as_ref().is_none_or(is_bad)).count()
    }

    /// Names that had a certificate and have no valid one.
    pub(super) fn ended(&self) -> usize {
        let has_ended = |held: &Held| held.term.not_after <= self.now;
        self.names.iter().filter(|name| name.held.as_ref().is_some_and(has_ended)).count()
    }

    /// Lets time pass until `end`.
    pub(super) fn pass_until(&mut self, end: Timestamp) {
        loop {
            let question = self.questions.next().map_or(end, |(at, _)| self.ask_at.max(at));
            let event = self.events.peek().map_or(end, |Reverse((at, ..))| *at);
            if question.min(event) >= end {
                break;
            }
            if question < event {
                self.now = question.max(self.now);
                self.ask();
            } else if let Some(Reverse((at, _, event))) = self.events.pop() {
                self.now = at.max(self.now);
                self.happen(event);
                self.work_off_line();
            }
        }
        self.now = end;
    }

    fn will(&mut self, at: Timestamp, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Connect(number) | Event::Look(number) => self.look(number),
            Event::Line(key) => self.stand_in_line(key),
            Event::Deal => self.deal(),
            Event::LeaveLane(key, process) => self.leave_lane(key, process),
            Event::Begin(key, process) => self.begin(key, process),
            Event::End(key, process) if self.is_away().is_none() => self.end(key, process),
            Event::End(key, process) | Event::Fail(key, process) => self.fail(key, process),
        }
    }

    fn is_away(&self) -> Option<Away> {
        self.away.as_ref().filter(|(during, _)| during.contains(&self.now)).map(|(_, how)| *how)
    }

    /// Asks when a certificate should be renewed.
    fn ask(&mut self) {
        let now = self.now;
        let Some((at, number)) = self.questions.pop() else { return };
        let is_away = self.is_away().is_some();
        self.ask_at = now.plus(QUESTION);
        let Some(name) = self.names.get_mut(number).filter(|name| name.ask_at == at) else { return };
        let Some(held) = name.held.as_mut().filter(|held| held.term.not_after > now) else { return };
        let advice = if is_away {
            Advice { window: held.term.window, ..Advice::FAILED }
        } else {
            let told = self.stub.renewal_info(held.serial, now);
            told.map_or(Advice::FAILED, |(window, ask_in)| Advice {
                window: Some((window.start, window.end)),
                ask_in,
            })
        };
        let told = renewal::heed(held.term, advice, now);
        name.ask_at = now.plus(told.ask_in);
        self.questions.push((name.ask_at, number));
        if told.is_news {
            held.term.window = told.window;
            self.will(told.renew_at.max(now), Event::Look(number));
        }
        if told.is_recalled {
            self.hasten(renewal::others_to_ask(told.ask_in));
        }
    }

    /// Has others asked about sooner, as the store does.
    fn hasten(&mut self, which: Hastened) {
        let (now, mut most) = (self.now, which.most);
        let mut passed_over = Vec::new();
        while most > 0
            && let Some((at, number)) = self.questions.pop()
        {
            let Some(name) = self.names.get_mut(number).filter(|name| name.ask_at == at) else { continue };
            if let Some(sooner) = which.sooner(at, now) {
                name.ask_at = sooner;
                most -= 1;
            }
            passed_over.push((name.ask_at, number));
        }
        passed_over.into_iter().for_each(|question| self.questions.push(question));
    }

    /// Begins an order if the name needs one.
    fn look(&mut self, number: usize) {
        let now = self.now;
        let Some(name) = self.names.get_mut(number).filter(|name| name.order.is_none()) else { return };
        let held = name.held.map(|held| held.term).filter(|term| term.not_after > now);
        let due_at = held.map_or(now, renewal::due_at);
        if due_at > now {
            return self.will(due_at, Event::Look(number));
        }
        let urgency = renewal::urgency(held, now);
        self.count += 1;
        let order = Order {
            number: self.count,
            rank: urgency.rank(now),
            urgency,
            begun_at: now,
            attempts: 0,
            next_at: now,
            turn: None,
            told: Vec::new(),
            placed: None,
        };
        let key = (order.number, number);
        name.order = Some(order);
        self.stand_in_line(key);
    }

    fn stand_in_line(&mut self, key: Key) {
        let now = self.now;
        let rank = self.order(key).filter(|order| order.next_at == now).map(|order| order.rank);
        if let Some(rank) = rank {
            self.line.insert((rank, key));
            self.longest_line = self.longest_line.max(self.line.len());
        }
    }

    fn order(&mut self, (number, name): Key) -> Option<&mut Order> {
        let order = self.names.get_mut(name)?.order.as_mut();
        order.filter(|order| order.number == number)
    }

    /// Each process takes as many as it may.
    fn work_off_line(&mut self) {
        for process in 0..self.processes.len() {
            let free = self.processes.get(process).map_or(0, Process::free);
            if free == 0 || self.line.is_empty() {
                continue;
            }
            let names = &self.names;
            let in_line = self.line.iter().take(IN_LINE);
            let in_line = in_line.filter_map(|place| Some((*place, &names.get(place.1.1)?.host)));
            for place in self.crowds.pick(in_line, free) {
                self.line.remove(&place);
                self.take_in_hand(place.1, process);
            }
        }
    }

    fn take_in_hand(&mut self, key: Key, number: usize) {
        let Some(process) = self.processes.get_mut(number) else { return };
        process.take();
        process.in_lane.push_back(key);
        self.will(self.now.plus(IN_LANE.0), Event::LeaveLane(key, number));
        self.move_lane(number);
    }

    /// Lets those begin for whom there is a place.
    fn move_lane(&mut self, number: usize) {
        let now = self.now;
        while let Some(process) = self.processes.get_mut(number) {
            let Some(key) = process.in_lane.front().copied() else { return };
            let Some(start) = process.enter(now) else { return };
            process.in_lane.pop_front();
            self.will(start, Event::Begin(key, number));
        }
    }

    fn leave_lane(&mut self, key: Key, number: usize) {
        let Some(process) = self.processes.get_mut(number) else { return };
        let Some(place) = process.in_lane.iter().position(|waiting| *waiting == key) else { return };
        process.in_lane.remove(place);
        self.put_back(key, number, self.now.plus(IN_LANE.1));
    }

    /// The order is in nobody's hands until `at`.
    fn put_back(&mut self, key: Key, number: usize, at: Timestamp) {
        if let Some(process) = self.processes.get_mut(number) {
            process.release();
        }
        if let Some(name) = self.names.get_mut(key.1) {
            self.crowds.leave(&name.host);
            if let Some(order) = &mut name.order {
                order.next_at = at;
            }
        }
        self.will(at, Event::Line(key));
    }

    /// Deals the turns out anew that are not so near, as the store does.
    fn deal(&mut self) {
        let now = self.now;
        let soon = now.plus(SOON);
        let waits = |name: &Name| {
            let order = name.order.as_ref()?;
            let turn = order.turn.filter(|(turn, is_shared)| *is_shared && *turn > soon)?.0;
            (order.next_at == turn).then_some((Some(name.tenant), turn))
        };
        let waiting = self.names.iter().enumerate();
        let waiting = waiting.filter_map(|(number, name)| Some((number, waits(name)?)));
        let (numbers, held): (Vec<_>, Vec<_>) = waiting.unzip();
        for (number, turn) in numbers.into_iter().zip(store::deal(&held)) {
            let Some(order) = self.names.get_mut(number).and_then(|name| name.order.as_mut()) else {
                continue;
            };
            if order.next_at != turn {
                if is_told_anew(order.told.last().map_or(order.next_at, |(_, told)| *told), turn, now) {
                    order.told.push((now, turn));
                }
                (order.next_at, order.turn) = (turn, Some((turn, true)));
                let key = (order.number, number);
                self.will(turn, Event::Line(key));
            }
        }
        if !self.events.is_empty() {
            self.will(self.now.plus(DEAL), Event::Deal);
        }
    }

    /// Lets turns be dealt out from now on.
    pub(super) fn share(&mut self) {
        self.will(self.now, Event::Deal);
    }

    /// The turns of those who wait now, by name.
    pub(super) fn turns(&self) -> Vec<(usize, Timestamp)> {
        let turn = |(number, name): (usize, &Name)| Some((number, name.order.as_ref()?.turn?.0));
        self.names.iter().enumerate().filter_map(turn).collect()
    }

    fn begin(&mut self, key: Key, number: usize) {
        match self.is_away() {
            Some(Away::Hangs) => return self.will(self.now.plus(HANGS), Event::Fail(key, number)),
            Some(Away::Says) => return self.will(self.now.plus(SAYS_NO), Event::Fail(key, number)),
            None => {}
        }
        match self.place(key) {
            Ok(()) => {
                let takes = Duration::from_millis(self.chance.random_range(TAKES));
                self.will(self.now.plus(takes), Event::End(key, number));
            }
            Err(until) => {
                self.leave_place(number, Answered::NotAsked);
                self.put_back(key, number, until);
            }
        }
    }

    /// Takes the order's turn and sends it, unless it was sent already.
    fn place(&mut self, key: Key) -> Result<(), Timestamp> {
        let now = self.now;
        let ours = Limits::LetsEncrypt;
        let Some(name) = self.names.get_mut(key.1) else { return Ok(()) };
        let held = name.held.filter(|held| held.term.not_after > now);
        let Some(order) = name.order.as_mut().filter(|order| order.placed.is_none()) else { return Ok(()) };
        let purpose = held.map_or(Purpose::First, |held| Purpose::of_renewal(held.term.window, now));
        let urgency = renewal::urgency(held.map(|held| held.term), now);
        let rested = self.ledger.free_at(&ours.failure(name.host.as_str()), now);
        let turn = match order.turn {
            Some(turn) => turn,
            None => self.ledger.reserve(&ours.order(&HostPattern::from(&name.host), purpose, urgency), now),
        };
        order.turn = Some(turn);
        let until = turn.0.max(rested);
        if until > now {
            order.told.push((now, until));
            return Err(until);
        }
        match self.stub.place(name.host.as_str(), held.map(|held| held.serial), now) {
            Ok(placed) => {
                (order.placed, order.turn) = (Some(placed), None);
                Ok(())
            }
            Err((_, wait)) => {
                order.attempts += 1;
                let limited = AcmeError::Limited { reason: String::new(), retry_at: Some(now.plus(wait)) };
                Err(next_at(&limited, order.attempts, now, self.chance.random()))
            }
        }
    }

    fn leave_place(&mut self, number: usize, answered: Answered) {
        if let Some(process) = self.processes.get_mut(number) {
            process.leave(answered, self.now);
        }
        self.move_lane(number);
    }

    fn end(&mut self, key: Key, number: usize) {
        self.leave_place(number, Answered::Well);
        if let Some(process) = self.processes.get_mut(number) {
            process.release();
        }
        self.keep(key);
    }

    fn fail(&mut self, key: Key, number: usize) {
        self.leave_place(number, Answered::Badly);
        let (now, jitter) = (self.now, self.chance.random());
        let held = self.names.get(key.1).and_then(|name| name.held).map(|held| held.term);
        let Some(order) = self.order(key) else { return };
        order.attempts += 1;
        let busy = AcmeError::Busy { reason: String::new(), retry_at: None };
        let retry_at = next_at(&busy, order.attempts, now, jitter);
        self.put_back(key, number, renewal::hurried(retry_at, held, now));
    }

    /// The order's certificate takes the place of the one before.
    fn keep(&mut self, key: Key) {
        let (now, id) = (self.now, self.chance.next_u64());
        let Some(name) = self.names.get_mut(key.1) else { return };
        self.crowds.leave(&name.host);
        let Some(order) = name.order.take_if(|order| order.number == key.0) else { return };
        let Some(placed) = order.placed else { return };
        let life = self.stub.issue(name.host.as_str(), placed, now);
        let (not_before, not_after) = (life.not_before, life.not_after);
        let Ok(id) = format!("crt_{id:026}").parse() else { return };
        let term = Term { id, not_before, not_after, created_at: now, window: None };
        let old = name.held.replace(Held { term, serial: life.serial, is_revoked: false });
        if let Some(old) = &old {
            self.expired += u64::from(old.term.not_after <= now);
            self.stub.forget(old.serial);
        }
        let was_revoked = old.is_some_and(|old| old.is_revoked);
        if was_revoked || order.urgency != Urgency::Renewal {
            let Order { urgency, begun_at, told, .. } = order;
            self.done.push(Done { name: key.1, urgency, begun_at, done_at: now, told, was_revoked });
        }
        name.ask_at = now;
        self.questions.push((now, key.1));
        self.will(renewal::due_at(term), Event::Look(key.1));
    }
}

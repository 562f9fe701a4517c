//! One history: who acts when, what they ask for, and when somebody or everything stops for good.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use lancewire::{
    clock::Clock,
    db::points::{CommitObserver, Point},
    ids::Ids,
};

use super::{
    oracle::{Deed, Names, Oracle, Verdict},
    stage::{Stage, Step},
    world::{CAST, Ended, Template, World, start},
};
use crate::{
    Failure,
    model::{Move, Roles},
    random::Random,
    trace::Trace,
};

/// What is asked for in one history.
const DEEDS: usize = 320;
/// The devices of the same person: who has these places in the cast acts twice at a time.
const SECOND_DEVICES: [usize; 4] = [0, 7, 8, 15];
/// Once in so many steps a request is dropped, and once in so many the process is killed.
const DROPPED: usize = 150;
const KILLED: usize = 2_500;

/// What a history came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) hash: String,
    pub(crate) deeds: u64,
    /// That were begun and ended, by a commit or a rollback.
    pub(crate) transactions: u64,
    pub(crate) commits: u64,
    pub(crate) dropped: u64,
    pub(crate) killed: u64,
}

struct Player {
    who: usize,
    running: Option<Running>,
}

struct Running {
    deed: Deed,
    task: BoxFuture<'static, Ended>,
    stands: Option<Point>,
    /// What must be answered, from the moment when that was decided.
    must: Option<Verdict>,
    /// What a look at a wallet may show: what was so at one of its reads.
    seen: Vec<(i64, [i64; 4])>,
}

struct Play {
    seed: u64,
    random: Random,
    trace: Trace,
    clock: Clock,
    stage: Stage,
    world: World,
    oracle: Oracle,
    players: Vec<Player>,
    /// Who holds the one connection that writes.
    writer: Option<usize>,
    /// What was asked for before, to be asked again.
    recent: Vec<Deed>,
    keys: u64,
    report: Report,
}

/// Plays the history of a seed to its end.
pub(crate) async fn play(seed: u64) -> Result<Report, Failure> {
    let template = Template::get();
    let (clock, stage) = (start(), Stage::default());
    let observer: Arc<dyn CommitObserver> = Arc::new(stage.clone());
    let world = template.open(&clock, Ids::seeded(clock.clone(), seed.wrapping_add(1)), observer).await;
    let devices = (0..CAST.len()).chain(SECOND_DEVICES);
    let mut play = Play {
        seed,
        random: Random::new(seed),
        trace: Trace::default(),
        clock,
        stage,
        world,
        oracle: Oracle::new(template.actors.iter().map(|actor| actor.user().expect("a user").into()).collect()),
        players: devices.map(|who| Player { who, running: None }).collect(),
        writer: None,
        recent: Vec::new(),
        keys: 0,
        report: Report::default(),
    };
    let outcome = play.run(template).await;
    let Play { world, players, trace, mut report, oracle, .. } = play;
    drop(players);
    world.close().await;
    report.commits = oracle.commits;
    report.hash = trace.hash();
    match outcome {
        Ok(()) => Ok(report),
        Err(why) => Err(Failure { why, trace: trace.last() }),
    }
}

impl Play {
    async fn run(&mut self, template: &Template) -> Result<(), String> {
        loop {
            self.clock.advance(Duration::from_millis(self.random.next() % 40));
            let Some(place) = self.next() else { break };
            if self.random.once_in(KILLED) {
                self.kill(template).await?;
            } else if self.players[place].running.is_some() && self.random.once_in(DROPPED) {
                self.drop_request(place).await?;
            } else {
                self.act(place, template).await?;
            }
        }
        self.oracle.agrees(&self.world).await?;
        for row in self.world.rows("SELECT payload FROM events ORDER BY position").await {
            self.trace.line(row.try_get("", "payload").expect("a text"));
        }
        Ok(())
    }

    /// Whose turn it is; nobody's when all is done.
    fn next(&mut self) -> Option<usize> {
        let begins = self.report.deeds < u64::try_from(DEEDS).expect("64 bits");
        if let Some(writer) = self.writer
            && self.random.once_in(2)
        {
            return Some(writer);
        }
        let can_act = |player: &Player| match &player.running {
            None => begins,
            Some(running) => running.stands != Some(Point::Begin) || self.writer.is_none(),
        };
        let ready: Vec<usize> =
            (0..).zip(&self.players).filter(|(_, player)| can_act(player)).map(|(at, _)| at).collect();
        self.random.pick(&ready)
    }

    async fn act(&mut self, place: usize, template: &Template) -> Result<(), String> {
        let who = self.players[place].who;
        let mut running = if let Some(running) = self.players[place].running.take() {
            running
        } else {
            let deed = self.choose(who);
            self.report.deeds += 1;
            self.trace.line(format!("{place}: {deed}"));
            let task = self.world.begin(&self.oracle.names, template.actors[who], &deed);
            Running { deed, task, stands: None, must: None, seen: Vec::new() }
        };
        if running.stands == Some(Point::Begin) {
            self.writer = Some(place);
        }
        if running.deed.asked.is_none() {
            let person = &self.oracle.model.people[who];
            let money = [person.available, person.in_escrow, person.pending_in, person.pending_out];
            running.seen.push((person.version, money));
        }
        match self.stage.advance(&mut running.task).await {
            Step::At(point) => {
                self.trace.line(format!("{place}: {point:?}"));
                running.stands = Some(point);
                match point {
                    Point::Committed => {
                        running.must = Some(self.oracle.commit(&running.deed)?);
                        self.writer = None;
                        self.report.transactions += 1;
                    }
                    Point::RolledBack => {
                        running.must = Some(self.oracle.judge(&running.deed));
                        self.writer = None;
                        self.report.transactions += 1;
                    }
                    Point::Read | Point::Begin | Point::Statement | Point::Commit => {}
                }
                self.players[place].running = Some(running);
            }
            Step::Done(ended) => {
                self.trace.line(format!("{place}: {ended:?}"));
                if self.writer == Some(place) {
                    self.writer = None;
                }
                let Running { deed, must, seen, .. } = running;
                if let (Ok(answer), None) = (&ended, deed.asked) {
                    let is = answer.version.zip(answer.money);
                    if !is.is_some_and(|is| seen.contains(&is)) {
                        return Err(format!("{deed}: it has {is:?}, and must have one of {seen:?}"));
                    }
                } else {
                    let must = must.unwrap_or_else(|| self.oracle.judge(&deed));
                    self.oracle.answered(&deed, &must, &ended)?;
                }
                self.remember(deed);
            }
        }
        Ok(())
    }

    fn remember(&mut self, deed: Deed) {
        if self.recent.len() == 40 {
            self.recent.remove(0);
        }
        self.recent.push(deed);
    }

    /// Somebody has hung up: their use case ends where it stands.
    async fn drop_request(&mut self, place: usize) -> Result<(), String> {
        let Some(Running { deed, task, stands, must, .. }) = self.players[place].running.take() else { return Ok(()) };
        self.trace.line(format!("{place}: dropped at {stands:?}"));
        drop(task);
        self.world.settle().await;
        if self.writer == Some(place) {
            self.writer = None;
        }
        self.report.dropped += 1;
        if let Some(must) = must {
            self.oracle.learn(&deed, &must, &self.world).await?;
        }
        self.remember(deed);
        Ok(())
    }

    /// The process is killed, with all that it was about to do, and another one takes its place.
    async fn kill(&mut self, template: &Template) -> Result<(), String> {
        self.trace.line("killed".into());
        self.report.killed += 1;
        let copied = self.world.copy();
        let ended: Vec<_> = self.players.iter_mut().filter_map(|player| player.running.take()).collect();
        self.writer = None;
        let mut known = Vec::new();
        for Running { deed, must, .. } in ended {
            known.push((deed, must));
        }
        let ids = Ids::seeded(self.clock.clone(), self.seed.wrapping_add(1_000_003 * (self.report.killed + 1)));
        let next = template.open_in(copied, &self.clock, ids, Arc::new(self.stage.clone())).await;
        std::mem::replace(&mut self.world, next).close().await;
        for (deed, must) in known {
            if let Some(must) = must {
                self.oracle.learn(&deed, &must, &self.world).await?;
            }
            self.remember(deed);
        }
        Ok(())
    }

    fn choose(&mut self, who: usize) -> Deed {
        let own: Vec<usize> = (0..).zip(&self.recent).filter(|(_, deed)| deed.who == who).map(|(at, _)| at).collect();
        if !own.is_empty() && self.random.once_in(8) {
            let at = self.random.pick(&own).expect("there is one");
            let mut deed = self.recent[at].clone();
            if self.random.once_in(4) {
                // The same key for something else.
                if let Some(asked) = deed.asked {
                    deed.asked = self.again(asked);
                }
            }
            return deed;
        }
        // The same at the same time, from another device.
        let twin = self.players.iter().find_map(|player| match &player.running {
            Some(running) if player.who == who => Some(running.deed.clone()),
            _ => None,
        });
        if let Some(twin) = twin
            && self.random.once_in(3)
        {
            return twin;
        }
        let asked = if self.random.once_in(12) { None } else { Some(self.sensible(who)) };
        let expected = match asked {
            Some(Move::Budget { job, .. } | Move::Claim { job }) if self.random.once_in(3) => {
                let outdated = i64::from(self.random.once_in(6));
                Some(self.oracle.model.jobs[job].version - outdated)
            }
            _ => None,
        };
        self.keys += 1;
        Deed { who, asked, expected, key: format!("key-{}", self.keys) }
    }

    /// Something that works now, if that is found soon; it may not any more when its turn comes.
    fn sensible(&mut self, who: usize) -> Move {
        let mut last = None;
        for _ in 0..12 {
            let Some(asked) = self.any(CAST[who]) else { continue };
            last = Some(asked);
            let careless = self.random.once_in(12);
            if careless || self.oracle.model.clone().make(who, asked).is_ok() {
                return asked;
            }
        }
        last.unwrap_or(Move::Deposit { cents: 50_000 })
    }

    /// The same kind of request, about something else.
    fn again(&mut self, asked: Move) -> Option<Move> {
        let cents = self.cents();
        Some(match asked {
            Move::Deposit { .. } => Move::Deposit { cents },
            Move::Withdraw { .. } => Move::Withdraw { cents },
            Move::Post { .. } => Move::Post { cents },
            Move::Draft { .. } => Move::Draft { cents },
            Move::Budget { job, .. } => Move::Budget { job, cents },
            Move::Claim { .. } => Move::Claim { job: self.known(|names| &names.jobs)? },
            Move::Submit { .. } => Move::Submit { claim: self.known(|names| &names.claims)? },
            other => other,
        })
    }

    fn cents(&mut self) -> i64 {
        i64::try_from(self.random.below(9_999)).expect("64 bits") + 1
    }

    /// The place of something that has a name by now; of the latest more often.
    fn known(&mut self, of: impl Fn(&Names) -> &Vec<Option<uuid::Uuid>>) -> Option<usize> {
        let things = of(&self.oracle.names);
        let mut places: Vec<usize> = (0..).zip(things).filter(|(_, id)| id.is_some()).map(|(at, _)| at).collect();
        if !self.random.once_in(4) {
            places = places.split_off(places.len().saturating_sub(10));
        }
        self.random.pick(&places)
    }

    /// Some request of somebody with these roles.
    fn any(&mut self, roles: Roles) -> Option<Move> {
        // Once in a while what is not for them.
        let stranger = self.random.once_in(40);
        let mut kinds: Vec<(usize, u8)> = Vec::new();
        if roles.client || stranger {
            kinds.extend([(3, 0), (6, 3), (2, 4), (2, 5), (2, 6), (1, 7), (3, 11), (7, 12), (1, 1)]);
        }
        if roles.freelancer || stranger {
            kinds.extend([(9, 8), (1, 9), (8, 10), (1, 1)]);
        }
        if roles.admin || stranger {
            kinds.extend([(10, 2), (1, 7), (2, 13)]);
        }
        let cents = self.cents();
        Some(match self.random.weighted(&kinds) {
            0 => Move::Deposit { cents: cents * 10 },
            1 => Move::Withdraw { cents: cents / 4 + 1 },
            2 => {
                let outcome = self.random.weighted(&[(8, 0), (1, 1), (1, 2)]);
                Move::Settle { transaction: self.known(|names| &names.transactions)?, outcome }
            }
            3 => Move::Post { cents },
            4 => Move::Draft { cents },
            5 => Move::Publish { job: self.known(|names| &names.jobs)? },
            6 => Move::Budget { job: self.known(|names| &names.jobs)?, cents },
            7 => Move::Cancel { job: self.known(|names| &names.jobs)? },
            8 => Move::Claim { job: self.known(|names| &names.jobs)? },
            9 => Move::Release { claim: self.known(|names| &names.claims)? },
            10 => Move::Submit { claim: self.known(|names| &names.claims)? },
            11 => Move::Revise { work: self.known(|names| &names.works)? },
            13 => {
                let step = self.random.weighted(&[(1, 0), (1, 1), (1, 2)]);
                Move::Intervene { job: self.known(|names| &names.jobs)?, step }
            }
            _ => Move::Approve { work: self.known(|names| &names.works)? },
        })
    }
}

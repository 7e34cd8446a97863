//! Runs the rules: gives the engine what is learned of targets, keeps what it decides, carries
//! that out, and tells what came of it.
//!
//! A decision is in the store before its actions begin: no crash gives a rule a fresh allowance. Only
//! where memory is about to run out both happen at once.
//! Actions have threads of their own, so that what is decided next waits for none.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use capture::events::{EventKind, KernelEvent};
use capture::find;
use model::{CaptureId, Observation, TargetId, Timestamp};
use store::{RuleEvent, Store, StoreError};

use crate::actions::{self, Glimpse, Outcome, Output, Request, captured};
use crate::captures::Captures;
use crate::events::{Event, Publish};
use crate::failures::Part;
use crate::registry::{Registry, Watched};
use crate::rules::saved;
use crate::rules::{
    self, Action, Decision, DecisionKind, Engine, Input, Rule, RuleView, TargetInfo,
};

/// Decisions that are carried out at the same time.
const RUNNING_MAX: usize = 16;
/// From this share of its limit on a target's memory is taken as it is now, not as it was
/// published.
const URGENT: f64 = 0.6;
/// A target is not looked at again within this time; a saw-tooth passes shares all the time.
const GLIMPSE_APART: Duration = Duration::from_secs(10);
/// What was seen is worth something so long.
const GLIMPSE_KEPT: Duration = Duration::from_secs(30);
/// What the engine remembers is written so often.
const KEEP_EVERY: Duration = Duration::from_secs(30);

/// Somebody is to be told.
#[derive(Clone, Debug)]
pub struct Notice {
    /// By which rule.
    pub rule: Arc<Rule>,
    /// About whom.
    pub target: Arc<Watched>,
    /// Whom to tell.
    pub receiver: String,
    /// One line; a template.
    pub summary: String,
    /// More; a template.
    pub description: String,
    /// Why the rule fired.
    pub reason: String,
    /// The figure behind it.
    pub value: Option<f64>,
    /// What was captured.
    pub captures: Vec<CaptureId>,
    /// Since when the rule fires.
    pub since: Timestamp,
    /// When it ended.
    pub resolved: Option<Timestamp>,
}

/// Takes notices; it must be quick.
pub type Tell = Arc<dyn Fn(Notice) -> Result<(), String> + Send + Sync>;

/// The rules of the watch, at work.
pub struct Runner {
    engine: Mutex<Engine>,
    infos: Mutex<HashMap<TargetId, Arc<TargetInfo>>>,
    glimpses: Mutex<HashMap<TargetId, (Instant, Arc<Glimpse>)>>,
    store: Arc<Store>,
    captures: Arc<Captures>,
    registry: Arc<Registry>,
    publish: Publish,
    tell: Tell,
    running: AtomicUsize,
    kept: Mutex<Instant>,
    /// What the store did not take last time; that is told once.
    unkept: Mutex<BTreeSet<&'static str>>,
    stop: Arc<AtomicBool>,
}

impl Runner {
    /// Goes on from what an earlier run left in the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(
        rules: Vec<Rule>,
        captures: Arc<Captures>,
        registry: Arc<Registry>,
        publish: Publish,
        tell: Tell,
        stop: Arc<AtomicBool>,
    ) -> Result<Runner, StoreError> {
        let store = Arc::clone(&captures.store);
        let saved = saved::load(&store, &rules, capture::now())?;
        Ok(Runner {
            engine: Mutex::new(Engine::new(rules, saved)),
            infos: Mutex::default(),
            glimpses: Mutex::default(),
            store,
            captures,
            registry,
            publish,
            tell,
            running: AtomicUsize::new(0),
            kept: Mutex::new(Instant::now()),
            unkept: Mutex::default(),
            stop,
        })
    }

    /// Goes on with other rules; what holds for rules of the same name stays.
    pub fn replace_rules(&self, rules: Vec<Rule>) {
        self.engine().replace_rules(rules);
    }

    /// The rules.
    pub fn rules(&self) -> Vec<Arc<Rule>> {
        self.engine().rules().to_vec()
    }

    /// State and reason of every rule for a target.
    pub fn view(&self, target: TargetId) -> Vec<RuleView> {
        self.engine().view(capture::now(), target)
    }

    /// What rules did, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn history(
        &self,
        rule: Option<&str>,
        target: Option<TargetId>,
        limit: usize,
    ) -> Result<Vec<RuleEvent>, StoreError> {
        saved::history(&self.store, rule, target, limit)
    }

    /// Something was learned of a target.
    pub fn learned(self: &Arc<Self>, watched: &Arc<Watched>, input: &Input<'_>) {
        let info = self.info(watched);
        let now = input.observation.map_or_else(capture::now, |observation| observation.time);
        let is_urgent = input.observation.is_some_and(is_near_limit) || !input.events.is_empty();
        let pressure = input.observation.map(|observation| observation.cgroup.pressure);
        let pressure = pressure.filter(|pressure| pressure.some.is_some());
        let input = Input { cgroup_pressure: input.cgroup_pressure.or(pressure), ..*input };
        let decisions = self.engine().step(now, &info, &input);
        self.carry_out(watched, &info, &decisions, is_urgent);
        // The kernel may tell of one that has ended: nothing of it stays.
        if self.registry.get(watched.id).is_none() {
            self.ended(watched);
        }
        self.keep(false);
    }

    /// The kernel told something about targets: each is looked at in this moment.
    pub fn kernel(self: &Arc<Self>, event: &KernelEvent, targets: &[Arc<Watched>]) {
        if let EventKind::Threshold { .. } = event.kind {
            targets.iter().for_each(|watched| self.look(watched));
        }
        let told = match event.kind {
            EventKind::OomKill { count } => Some(rules::Event::OomKill(count)),
            EventKind::LimitHit { count } => Some(rules::Event::LimitHit(count)),
            _ => None,
        };
        for watched in targets {
            // Of one that has just been killed only the event is left to know.
            let observation = watched.live.observe().ok();
            let input = Input {
                observation: observation.as_ref(),
                events: told.as_slice(),
                ..Input::default()
            };
            self.learned(watched, &input);
        }
    }

    /// Reads what says most about a target that has just passed a share of its limit, before
    /// anything else: one that takes all its memory at once is gone before a rule fires.
    fn look(&self, watched: &Watched) {
        let mut glimpses = self.glimpses.lock().unwrap_or_else(PoisonError::into_inner);
        glimpses.retain(|_, (at, _)| at.elapsed() < GLIMPSE_KEPT);
        if glimpses.get(&watched.id).is_some_and(|(at, _)| at.elapsed() < GLIMPSE_APART) {
            return;
        }
        let glimpse = Glimpse::of(&watched.live);
        if !glimpse.is_empty() {
            self.captures.cpu.spend(glimpse.cost(), Instant::now());
            glimpses.insert(watched.id, (Instant::now(), Arc::new(glimpse)));
        }
    }

    fn glimpse(&self, target: TargetId) -> Option<Arc<Glimpse>> {
        let glimpses = self.glimpses.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, glimpse) = glimpses.get(&target)?;
        (at.elapsed() < GLIMPSE_KEPT).then(|| Arc::clone(glimpse))
    }

    /// Somebody sent the agent its signal (`None`), or called a rule, for one target or for all.
    ///
    /// # Errors
    /// When there is no such rule or target.
    pub fn call(
        self: &Arc<Self>,
        rule: Option<&str>,
        target: Option<TargetId>,
    ) -> Result<usize, String> {
        if let Some(name) = rule
            && !self.engine().rules().iter().any(|rule| rule.name == name)
        {
            return Err(format!("there is no rule {name:?}"));
        }
        let targets = match target {
            None => self.registry.all(),
            Some(id) => match self.registry.get(id) {
                Some(watched) => vec![watched],
                None => return Err(format!("target {} is not under watch", id.0)),
            },
        };
        let event = rule.map_or(rules::Event::Signal, |name| rules::Event::Call(name.to_owned()));
        for watched in &targets {
            let events = std::slice::from_ref(&event);
            self.learned(watched, &Input { events, ..Input::default() });
        }
        Ok(targets.len())
    }

    /// A target has ended: what fires for it resolves.
    pub fn ended(self: &Arc<Self>, watched: &Arc<Watched>) {
        let decisions = self.engine().forget(capture::now(), watched.id);
        self.carry_out(watched, &self.info(watched), &decisions, false);
        self.infos.lock().unwrap_or_else(PoisonError::into_inner).remove(&watched.id);
    }

    /// Writes what the engine remembers; at the end, and from time to time.
    pub fn keep(&self, at_once: bool) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !at_once && kept.elapsed() < KEEP_EVERY {
            return;
        }
        *kept = Instant::now();
        let result = saved::keep_states(&self.store, &self.engine());
        self.stored("the state of rules", None, result);
    }

    /// Waits until nothing is carried out any more, at most so long.
    pub fn drain(&self, at_most: Duration) {
        let started = Instant::now();
        while self.running.load(Ordering::Acquire) > 0 && started.elapsed() < at_most {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn info(&self, watched: &Watched) -> Arc<TargetInfo> {
        let mut infos = self.infos.lock().unwrap_or_else(PoisonError::into_inner);
        let info = infos.entry(watched.id).or_insert_with(|| Arc::new(described(watched)));
        Arc::clone(info)
    }

    fn carry_out(
        self: &Arc<Self>,
        watched: &Arc<Watched>,
        info: &TargetInfo,
        decisions: &[Decision],
        is_urgent: bool,
    ) {
        if decisions.is_empty() {
            return;
        }
        // What is urgent does not wait for the disk: a program may be gone within 100 ms.
        let mut begun: Vec<Option<SyncSender<Option<i64>>>> = Vec::new();
        for decision in decisions.iter().filter(|_| is_urgent) {
            begun.push(self.begin(decision, watched, true));
        }
        // Without, what it may do is still done: the evidence matters more than the history.
        let result = saved::record(&self.store, info, decisions);
        let keys = self.stored("what rules decide", Some(info.id), result).unwrap_or_default();
        for (index, decision) in decisions.iter().enumerate() {
            (self.publish)(told(decision));
            let is_notice = match decision.kind {
                DecisionKind::Fire => false,
                DecisionKind::Refuse(_) => decision.actions.is_empty(),
                DecisionKind::Resolve => true,
            };
            if is_notice {
                self.only_tell(decision, watched);
            }
            let begun = match begun.get_mut(index) {
                Some(begun) => begun.take(),
                None => self.begin(decision, watched, false),
            };
            if let Some(begun) = begun {
                // Its thread ends without it where that is gone.
                let _ = begun.send(keys.get(index).copied());
            }
        }
    }

    /// Tells without taking anything: that a rule no longer fires, or that it does and a limit forbids
    /// captures.
    fn only_tell(&self, decision: &Decision, watched: &Arc<Watched>) {
        let unasked = unasked(&decision.rule);
        for action in decision.rule.actions.iter().chain(&unasked) {
            if let Action::Notify { .. } = action {
                // A template that cannot be used is told of where captures are taken.
                if self.notify(decision, watched, action, Vec::new()).is_err() {
                    Part::Action.failed();
                }
            }
        }
    }

    /// Starts the thread that does a decision's actions, if it has any. It is sent the decision's
    /// key in the store, which it waits for: before its actions, or after them where they are urgent.
    fn begin(
        self: &Arc<Self>,
        decision: &Decision,
        watched: &Arc<Watched>,
        is_urgent: bool,
    ) -> Option<SyncSender<Option<i64>>> {
        if decision.actions.is_empty() {
            return None;
        }
        let (target, watched) = (watched.id, Arc::clone(watched));
        let (sender, key) = sync_channel(1);
        let (runner, decision) = (Arc::clone(self), decision.clone());
        let is_full = self.running.fetch_add(1, Ordering::AcqRel) >= RUNNING_MAX;
        let thread = std::thread::Builder::new().name(format!("rule {}", decision.rule.name));
        let run = move || {
            match is_full {
                true => {
                    Part::Action.failed();
                    let why = format!("{RUNNING_MAX} rules act already");
                    runner.finish(key.recv().ok().flatten(), &decision, &[], &why);
                }
                false => runner.run(&key, &decision, &watched, is_urgent),
            }
            runner.running.fetch_sub(1, Ordering::AcqRel);
        };
        if let Err(error) = thread.spawn(run) {
            self.running.fetch_sub(1, Ordering::AcqRel);
            self.warn(Part::Action, Some(target), &format!("cannot start a thread: {error}"));
        }
        Some(sender)
    }

    fn run(
        &self,
        key: &Receiver<Option<i64>>,
        decision: &Decision,
        watched: &Arc<Watched>,
        is_urgent: bool,
    ) {
        let known = (!is_urgent).then(|| key.recv().ok().flatten());
        let glimpse = self.glimpse(watched.id);
        let request = Request {
            rule: &decision.rule.name,
            target: watched.id,
            live: &watched.live,
            value: decision.value,
            reason: &decision.reason,
            is_urgent,
            stop: &self.stop,
            glimpse: glimpse.as_deref(),
        };
        let mut tell = |action: &Action, outputs: &[Output]| {
            self.notify(decision, watched, action, captured(outputs))
        };
        let (outcomes, outputs) =
            actions::run(&self.captures, &request, &decision.actions, &mut tell);
        if let Some(action) = unasked(&decision.rule) {
            // It has no texts of its own that could be wrong.
            let _ = self.notify(decision, watched, &action, captured(&outputs));
        }
        let faults: Vec<String> = outcomes
            .into_iter()
            .filter_map(|outcome| match outcome {
                Outcome::Done(_) => None,
                Outcome::Refused(why) => Some(format!("refused: {why}")),
                Outcome::Failed(why) => {
                    Part::Action.failed();
                    Some(why)
                }
            })
            .collect();
        let key = known.unwrap_or_else(|| key.recv().ok().flatten());
        self.finish(key, decision, &captured(&outputs), &faults.join("; "));
    }

    fn finish(&self, key: Option<i64>, decision: &Decision, captures: &[CaptureId], fault: &str) {
        let mut engine = self.engine();
        let event = key.unwrap_or_default();
        let kept = saved::finish(&self.store, &mut engine, event, decision.id, captures, fault);
        drop(engine);
        self.stored("what came of rules", Some(decision.target), kept);
        (self.publish)(Event::Acted {
            target: decision.target,
            rule: decision.rule.name.clone(),
            captures: captures.to_vec(),
            fault: fault.to_owned(),
        });
    }

    fn notify(
        &self,
        decision: &Decision,
        watched: &Arc<Watched>,
        action: &Action,
        captures: Vec<CaptureId>,
    ) -> Result<(), String> {
        let Action::Notify { receiver, summary, description } = action else { return Ok(()) };
        let is_over = decision.kind == DecisionKind::Resolve;
        (self.tell)(Notice {
            rule: Arc::clone(&decision.rule),
            target: Arc::clone(watched),
            receiver: receiver.clone(),
            summary: summary.clone(),
            description: description.clone(),
            reason: decision.reason.clone(),
            value: decision.value,
            captures,
            since: decision.firing_since,
            resolved: is_over.then_some(decision.time),
        })
    }

    /// What the store gave; that it does not take something is told once, and that it does again.
    fn stored<T>(
        &self,
        what: &'static str,
        target: Option<TargetId>,
        result: Result<T, StoreError>,
    ) -> Option<T> {
        let mut unkept = self.unkept.lock().unwrap_or_else(PoisonError::into_inner);
        let (is_news, text) = match &result {
            Ok(_) => (unkept.remove(what), format!("{what}: kept again")),
            Err(error) => {
                Part::Store.failed();
                (unkept.insert(what), format!("{what}: not kept: {error}"))
            }
        };
        drop(unkept);
        if is_news {
            (self.publish)(Event::Warning { target, text });
        }
        result.ok()
    }

    fn warn(&self, part: Part, target: Option<TargetId>, text: &str) {
        part.failed();
        (self.publish)(Event::Warning { target, text: text.to_owned() });
    }
}

/// A rule that matters (it has a severity) but names nobody is told of to whom the routes say.
fn unasked(rule: &Rule) -> Option<Action> {
    let is_told = rule.actions.iter().any(Action::is_notice) || rule.severity.is_empty();
    let empty = String::new;
    let action = Action::Notify { receiver: empty(), summary: empty(), description: empty() };
    (!is_told).then_some(action)
}

fn told(decision: &Decision) -> Event {
    Event::Rule {
        target: decision.target,
        rule: decision.rule.name.clone(),
        what: decision.kind.as_str(),
        severity: decision.rule.severity.clone(),
        value: decision.value,
        reason: decision.reason.clone(),
    }
}

fn is_near_limit(observation: &Observation) -> bool {
    let (usage, limit) = (observation.cgroup.usage_bytes, observation.cgroup.limit_bytes);
    let share = usage.zip(limit).map(|(usage, limit)| usage as f64 / limit.max(1) as f64);
    share.is_some_and(|share| share >= URGENT)
}

fn described(watched: &Watched) -> TargetInfo {
    let label = |name: &str| watched.target.labels.get(name).cloned().unwrap_or_default();
    TargetInfo {
        command: watched.target.pid.map(find::command_line).unwrap_or_default(),
        cgroup: label("cgroup"),
        unit: label("unit"),
        container: label("container"),
        ..TargetInfo::new(watched.id, watched.target.clone())
    }
}

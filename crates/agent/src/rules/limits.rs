//! What rules have spent, and whether they may act again. Plain data, so that it can be kept:
//! a restart of the agent or of a target gives nobody a fresh allowance.

use std::collections::VecDeque;
use std::sync::Arc;

use model::{Bytes, Timestamp};

use super::rule::Limits;
use super::units::show_millis;

/// More firings than this are not remembered; limits of counts are below it.
const SPENT_MAX: usize = 50_000;

/// A firing that took something, and what that cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    /// Which decision.
    pub decision: u64,
    /// When.
    pub time: Timestamp,
    /// Which rule.
    pub rule: Arc<str>,
    /// For whom: see `TargetInfo::identity`.
    pub identity: Arc<str>,
    /// CPU time it cost us.
    pub cpu_micros: u64,
    /// Bytes stored.
    pub bytes: u64,
}

/// Why a rule may not act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which limit, and how it is used up.
    pub text: String,
    /// When it will be over.
    pub until: Timestamp,
}

impl Refusal {
    /// As a sentence that is true `now`.
    pub fn words(&self, now: Timestamp) -> String {
        format!("{}; next possible capture in {}", self.text, show_millis(self.until.0 - now.0))
    }
}

/// All that was spent, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    spent: VecDeque<Spent>,
}

impl Ledger {
    /// With what an earlier run has spent.
    pub(super) fn new(mut spent: Vec<Spent>) -> Ledger {
        spent.sort_by_key(|spent| spent.time);
        Ledger { spent: spent.into() }
    }

    /// All entries, oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Spent> {
        self.spent.iter()
    }

    pub(super) fn push(&mut self, spent: Spent) {
        if self.spent.len() >= SPENT_MAX {
            self.spent.pop_front();
        }
        self.spent.push_back(spent);
    }

    /// Notes what a decision cost.
    pub(super) fn add_cost(&mut self, decision: u64, cpu_micros: u64, bytes: u64) {
        // Outcomes come soon after their decisions.
        if let Some(spent) = self.spent.iter_mut().rev().find(|spent| spent.decision == decision) {
            spent.cpu_micros = spent.cpu_micros.saturating_add(cpu_micros);
            spent.bytes = spent.bytes.saturating_add(bytes);
        }
    }

    /// Forgets what no limit asks about. Where the clock was set back, what would lie ahead
    /// counts as of now: a limit can take longer than its window never.
    pub(super) fn tidy(&mut self, now: Timestamp, longest: i64) {
        while self.spent.front().is_some_and(|spent| spent.time.0 <= now.0 - longest) {
            self.spent.pop_front();
        }
        for spent in self.spent.iter_mut().rev().take_while(|spent| spent.time > now) {
            spent.time = now;
        }
    }

    /// Why this rule may not act for this target now; of several reasons the one that lasts.
    pub(super) fn refusal(
        &self,
        limits: &Limits,
        rule: &str,
        identity: &str,
        now: Timestamp,
    ) -> Option<Refusal> {
        let of_rule = |spent: &Spent| &*spent.rule == rule;
        let of_both = |spent: &Spent| of_rule(spent) && &*spent.identity == identity;
        let counts = [
            (
                "for this target",
                "per_target",
                limits.per_target,
                &of_both as &dyn Fn(&Spent) -> bool,
            ),
            ("of this rule", "per_rule", limits.per_rule, &of_rule),
            ("on this machine", "per_node", limits.per_node, &|_: &Spent| true),
        ];
        let counts = counts.into_iter().filter_map(|(whose, key, limit, counts)| {
            let (count, span) = limit?;
            let until =
                self.full_until(now, span, u64::from(count), |spent| u64::from(counts(spent)))?;
            let text =
                format!("{count} in {} {whose} are used up (limit {key})", show_millis(span));
            Some(Refusal { text, until })
        });
        let cooldown = limits.cooldown.and_then(|span| {
            let until = self.full_until(now, span, 1, |spent| u64::from(of_both(spent)))?;
            let text = format!("the last one was less than {} ago (cooldown)", show_millis(span));
            Some(Refusal { text, until })
        });
        let cpu = limits.cpu.and_then(|(micros, span)| {
            let cost = |spent: &Spent| if of_rule(spent) { spent.cpu_micros } else { 0 };
            let until = self.full_until(now, span, micros, cost)?;
            let allowed = show_millis(i64::try_from(micros / 1000).unwrap_or(i64::MAX));
            let text =
                format!("{allowed} of CPU time in {} are used up (limit cpu)", show_millis(span));
            Some(Refusal { text, until })
        });
        let bytes = limits.bytes.and_then(|(bytes, span)| {
            let cost = |spent: &Spent| if of_rule(spent) { spent.bytes } else { 0 };
            let until = self.full_until(now, span, bytes, cost)?;
            let text =
                format!("{} in {} are used up (limit bytes)", Bytes(bytes), show_millis(span));
            Some(Refusal { text, until })
        });
        counts.chain(cooldown).chain(cpu).chain(bytes).max_by_key(|refusal| refusal.until)
    }

    /// When less than `allowed` will be spent in a window of `span`; `None` when that is so now.
    fn full_until(
        &self,
        now: Timestamp,
        span: i64,
        allowed: u64,
        amount: impl Fn(&Spent) -> u64,
    ) -> Option<Timestamp> {
        let recent = self.spent.iter().rev().take_while(|spent| spent.time.0 > now.0 - span);
        let mut sum = 0_u64;
        for spent in recent {
            sum = sum.saturating_add(amount(spent));
            if sum >= allowed {
                return Some(Timestamp(spent.time.0 + span));
            }
        }
        None
    }
}

impl Limits {
    /// The longest span any of them looks back.
    pub(super) fn longest(&self) -> i64 {
        let counts = [self.per_target, self.per_rule, self.per_node];
        let counts = counts.into_iter().flatten().map(|(_, span)| span);
        let costs = [self.cpu, self.bytes].into_iter().flatten().map(|(_, span)| span);
        counts.chain(costs).chain(self.cooldown).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(decision: u64, seconds: i64, rule: &str, identity: &str) -> Spent {
        let time = Timestamp(seconds * 1000);
        let (rule, identity) = (rule.into(), identity.into());
        Spent { decision, time, rule, identity, cpu_micros: 400_000, bytes: 30 }
    }

    #[test]
    fn each_limit_counts_its_own() {
        let ledger = Ledger::new(vec![
            spent(3, 30, "b", "shop"),
            spent(1, 10, "a", "shop"),
            spent(2, 20, "a", "cart"),
        ]);
        let until = |limits: Limits, rule: &str, identity: &str| {
            let refusal = ledger.refusal(&limits, rule, identity, Timestamp(40_000));
            refusal.map(|refusal| refusal.until.0 / 1000)
        };
        let hour = 3_600_000;
        let none = Limits::default();
        assert_eq!(until(none, "a", "shop"), None);
        let per_target = Limits { per_target: Some((1, hour)), ..none };
        assert_eq!(until(per_target, "a", "shop"), Some(3610));
        assert_eq!(until(per_target, "a", "till"), None);
        let per_rule = Limits { per_rule: Some((2, hour)), ..none };
        assert_eq!(until(per_rule, "a", "till"), Some(3610));
        assert_eq!(until(per_rule, "b", "shop"), None);
        assert_eq!(until(Limits { per_node: Some((3, hour)), ..none }, "c", ""), Some(3610));
        assert_eq!(until(Limits { per_node: Some((4, hour)), ..none }, "c", ""), None);
        // Windows are over.
        assert_eq!(until(Limits { per_node: Some((3, 30_000)), ..none }, "c", ""), None);
        assert_eq!(until(Limits { cooldown: Some(31_000), ..none }, "a", "shop"), Some(41));
        assert_eq!(until(Limits { cooldown: Some(30_000), ..none }, "a", "shop"), None);
        assert_eq!(until(Limits { cpu: Some((800_000, hour)), ..none }, "a", ""), Some(3610));
        assert_eq!(until(Limits { cpu: Some((800_001, hour)), ..none }, "a", ""), None);
        assert_eq!(until(Limits { bytes: Some((30, hour)), ..none }, "a", ""), Some(3620));
        // The one that lasts is told.
        let both = Limits { cooldown: Some(31_000), ..per_target };
        assert_eq!(until(both, "a", "shop"), Some(3610));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let mut ledger = Ledger::new(vec![spent(1, 10_000, "a", "shop")]);
        let limits = Limits { cooldown: Some(60_000), ..Limits::default() };
        let now = Timestamp(1_000_000);
        ledger.tidy(now, limits.longest());
        let refusal = ledger.refusal(&limits, "a", "shop", now).unwrap();
        assert_eq!(refusal.until, Timestamp(1_060_000));
        assert_eq!(
            refusal.words(now),
            "the last one was less than 1m ago (cooldown); next possible capture in 1m"
        );
        ledger.tidy(Timestamp(1_060_000), limits.longest());
        assert_eq!(ledger.entries().count(), 0);
    }
}

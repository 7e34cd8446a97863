//! Sampled objects of one process by the stack that allocated them: what lives, how fast it comes,
//! how long it lasts. From births and deaths as they happen, where a heap profile has sums only.
//!
//! The runtime samples an object of `size` bytes with probability `1 - exp(-size / rate)`; each
//! sample stands for the inverse of it, and carries the error that this brings.

mod goroutines;

use std::collections::{BTreeMap, HashMap, HashSet};

use model::Addr;
use model::probe::{HeapSample, MonotonicNanos, SampledObject};
use model::trace::GoId;

use goroutines::Goroutines;

/// What is known of the sampled objects of a process. It holds one entry for each stack, for each
/// sample that lives and for each goroutine, of which those are forgotten that allocated least.
#[derive(Debug)]
pub struct Samples {
    rate: i64,
    sites: Vec<Site>,
    by_stack: HashMap<Vec<Addr>, usize>,
    live: HashMap<Addr, Live>,
    goroutines: Goroutines,
    /// Deaths that were not told: the address was given out again.
    missed: u64,
}

#[derive(Debug, Default)]
struct Site {
    /// By size: allocated and dead.
    sizes: BTreeMap<u64, Deaths>,
    /// Weight of the dead by how long they lived; see [`bucket`].
    lifetimes: BTreeMap<u16, f64>,
    /// Goroutines of which the first sample is of this stack.
    goroutines: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Deaths {
    born: u64,
    dead: u64,
}

#[derive(Clone, Copy, Debug)]
struct Live {
    site: usize,
    goroutine: GoId,
    size: u64,
    born: MonotonicNanos,
}

/// How many objects and bytes some samples stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The samples.
    pub samples: u64,
    /// Objects.
    pub objects: f64,
    /// Bytes.
    pub bytes: f64,
    /// Standard error of the bytes.
    pub bytes_error: f64,
}

impl Estimate {
    pub(crate) fn add(&mut self, samples: u64, size: u64, rate: i64) {
        self.add_weighted(samples, size as f64, weight(size as f64, rate));
    }

    /// The same where each sample stands for so many objects; the size may be a mean.
    pub(crate) fn add_weighted(&mut self, samples: u64, size: f64, weight: f64) {
        let count = samples as f64;
        self.samples += samples;
        self.objects += count * weight;
        self.bytes += count * weight * size;
        // Each sample is a trial that succeeds once in `weight`: the variance of its inverse.
        let variance = self.bytes_error.powi(2) + count * weight * (weight - 1.0) * size * size;
        self.bytes_error = variance.sqrt();
    }

    /// One sample.
    fn one(size: u64, rate: i64) -> Estimate {
        let mut estimate = Estimate::default();
        estimate.add(1, size, rate);
        estimate
    }

    /// What is left without `part`, which is some of the samples.
    fn without(&self, part: &Estimate) -> Estimate {
        let variance = self.bytes_error.powi(2) - part.bytes_error.powi(2);
        Estimate {
            samples: self.samples - part.samples,
            objects: (self.objects - part.objects).max(0.0),
            bytes: (self.bytes - part.bytes).max(0.0),
            bytes_error: variance.max(0.0).sqrt(),
        }
    }

    /// Takes in other samples.
    pub fn join(&mut self, other: &Estimate) {
        self.samples += other.samples;
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.bytes_error = self.bytes_error.hypot(other.bytes_error);
    }
}

/// How many objects a sample of this size stands for.
pub(crate) fn weight(size: f64, rate: i64) -> f64 {
    if rate <= 1 || size <= 0.0 { 1.0 } else { 1.0 / -(-size / rate as f64).exp_m1() }
}

/// A stack and what it allocated.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteSamples {
    /// Return addresses, innermost first.
    pub stack: Vec<Addr>,
    /// By size of the objects: how many samples were taken, and how many of them are dead.
    pub sizes: Vec<(u64, u64, u64)>,
    /// All that was allocated.
    pub allocated: Estimate,
    /// What of it lives: as of the last sweep, as in every view of Go's heap.
    pub live: Estimate,
    /// How long half of the objects live, those that still do counted; `None` when more than half
    /// of them outlived what was seen.
    pub lifetime_seconds: Option<f64>,
    /// Age of the oldest that lives.
    pub oldest_seconds: Option<f64>,
    /// Goroutines of which the first sample is of this stack; one that allocates little may count
    /// more than once where there are tens of thousands.
    pub goroutines: u64,
}

/// A goroutine and what it allocated.
#[derive(Clone, Debug, PartialEq)]
pub struct GoroutineSamples {
    /// Which one.
    pub id: GoId,
    /// Return addresses of its first sample, innermost first.
    pub stack: Vec<Addr>,
    /// All that it allocated.
    pub allocated: Estimate,
    /// What of it lives.
    pub live: Estimate,
}

impl SiteSamples {
    /// Which part of the samples was freed.
    pub fn freed_share(&self) -> f64 {
        let dead = self.allocated.samples - self.live.samples;
        dead as f64 / self.allocated.samples.max(1) as f64
    }
}

impl Samples {
    /// Of a process with this rate (`runtime.MemProfileRate`).
    pub fn new(rate: i64) -> Samples {
        Samples {
            rate,
            sites: Vec::new(),
            by_stack: HashMap::new(),
            live: HashMap::new(),
            goroutines: Goroutines::default(),
            missed: 0,
        }
    }

    /// Takes in what happened.
    pub fn push(&mut self, sample: HeapSample) {
        match sample {
            HeapSample::Allocated(object) => self.born(object),
            HeapSample::Freed { time, address, .. } => {
                // The birth of one that is not known was not told either.
                if let Some(live) = self.live.remove(&address) {
                    self.died(live, Some(time.seconds_since(live.born)));
                }
            }
        }
    }

    /// Takes those for dead that do not live by what the kernel knows, where records were lost.
    pub fn keep_live(&mut self, live: &HashSet<Addr>) {
        let gone: Vec<Addr> = self.live.keys().copied().filter(|at| !live.contains(at)).collect();
        for address in gone {
            if let Some(object) = self.live.remove(&address) {
                self.missed += 1;
                self.died(object, None);
            }
        }
    }

    /// How many deaths were not told, so that nothing is known of how long these lived.
    pub fn missed_deaths(&self) -> u64 {
        self.missed
    }

    fn born(&mut self, object: SampledObject) {
        let site = match self.by_stack.get(&object.stack) {
            Some(site) => *site,
            None => {
                self.sites.push(Site::default());
                self.by_stack.insert(object.stack, self.sites.len() - 1);
                self.sites.len() - 1
            }
        };
        let (size, goroutine) = (object.size.0, object.goroutine);
        let is_new = self.goroutines.born(goroutine, site, &Estimate::one(size, self.rate));
        if let Some(site) = self.sites.get_mut(site) {
            site.sizes.entry(size).or_default().born += 1;
            site.goroutines += u64::from(is_new);
        }
        let live = Live { site, goroutine, size, born: object.time };
        if let Some(before) = self.live.insert(object.address, live) {
            self.missed += 1;
            self.died(before, None);
        }
    }

    fn died(&mut self, object: Live, lived_seconds: Option<f64>) {
        let weight = weight(object.size as f64, self.rate);
        self.goroutines.died(object.goroutine, &Estimate::one(object.size, self.rate));
        let Some(site) = self.sites.get_mut(object.site) else { return };
        site.sizes.entry(object.size).or_default().dead += 1;
        if let Some(seconds) = lived_seconds {
            *site.lifetimes.entry(bucket(seconds)).or_default() += weight;
        }
    }

    /// All stacks as of `now`, those of which most lives first.
    pub fn sites(&self, now: MonotonicNanos) -> Vec<SiteSamples> {
        let mut ages: Vec<Vec<(f64, f64)>> = vec![Vec::new(); self.sites.len()];
        for live in self.live.values() {
            let age = now.seconds_since(live.born);
            if let Some(ages) = ages.get_mut(live.site) {
                ages.push((age, weight(live.size as f64, self.rate)));
            }
        }
        let mut found: Vec<SiteSamples> = Vec::with_capacity(self.sites.len());
        for (stack, &index) in &self.by_stack {
            let (Some(site), Some(ages)) = (self.sites.get(index), ages.get(index)) else {
                continue;
            };
            let (mut allocated, mut live) = (Estimate::default(), Estimate::default());
            for (&size, count) in &site.sizes {
                allocated.add(count.born, size, self.rate);
                live.add(count.born - count.dead, size, self.rate);
            }
            found.push(SiteSamples {
                stack: stack.clone(),
                sizes: site.sizes.iter().map(|(size, of)| (*size, of.born, of.dead)).collect(),
                allocated,
                live,
                lifetime_seconds: median_lifetime(&site.lifetimes, ages),
                oldest_seconds: ages.iter().map(|age| age.0).max_by(f64::total_cmp),
                goroutines: site.goroutines,
            });
        }
        found.sort_by(|a, b| {
            let by_size = b.live.bytes.total_cmp(&a.live.bytes);
            let by_all = b.allocated.bytes.total_cmp(&a.allocated.bytes);
            by_size.then(by_all).then_with(|| a.stack.cmp(&b.stack))
        });
        found
    }

    /// The goroutines, those first that allocated most.
    pub fn goroutines(&self) -> Vec<GoroutineSamples> {
        let mut stacks: Vec<&[Addr]> = vec![&[]; self.sites.len()];
        for (stack, &site) in &self.by_stack {
            if let Some(place) = stacks.get_mut(site) {
                *place = stack;
            }
        }
        let known = self.goroutines.iter().map(|(id, account)| GoroutineSamples {
            id,
            stack: stacks.get(account.site).copied().unwrap_or_default().to_vec(),
            allocated: account.allocated,
            live: account.allocated.without(&account.dead),
        });
        let mut found: Vec<GoroutineSamples> = known.collect();
        found.sort_by(|a, b| {
            b.allocated.bytes.total_cmp(&a.allocated.bytes).then_with(|| a.id.cmp(&b.id))
        });
        found
    }

    /// What lives by the types that an object graph of time `taken` says: for each stack its types,
    /// those with the most bytes first. What was allocated later is not in it.
    pub fn types<'n>(
        &self,
        taken: MonotonicNanos,
        type_of: impl Fn(Addr) -> Option<&'n str>,
    ) -> HashMap<&[Addr], Vec<(&'n str, Estimate)>> {
        let mut by_site: HashMap<usize, BTreeMap<&str, Estimate>> = HashMap::new();
        for (address, live) in self.live.iter().filter(|(_, live)| live.born < taken) {
            let Some(name) = type_of(*address) else { continue };
            let of_site = by_site.entry(live.site).or_default();
            of_site.entry(name).or_default().add(1, live.size, self.rate);
        }
        let mut found = HashMap::new();
        for (stack, site) in &self.by_stack {
            let Some(types) = by_site.remove(site) else { continue };
            let mut types: Vec<(&str, Estimate)> = types.into_iter().collect();
            types.sort_by(|a, b| b.1.bytes.total_cmp(&a.1.bytes));
            found.insert(stack.as_slice(), types);
        }
        found
    }

    /// All stacks together: allocated and live.
    pub fn total(&self) -> (Estimate, Estimate) {
        let (mut allocated, mut live) = (Estimate::default(), Estimate::default());
        for site in &self.sites {
            for (&size, count) in &site.sizes {
                let mut of_size = (Estimate::default(), Estimate::default());
                of_size.0.add(count.born, size, self.rate);
                of_size.1.add(count.born - count.dead, size, self.rate);
                allocated.join(&of_size.0);
                live.join(&of_size.1);
            }
        }
        (allocated, live)
    }
}

/// Eighths of a power of two of nanoseconds: within 9 %.
pub(crate) fn bucket(seconds: f64) -> u16 {
    ((seconds * 1e9).max(1.0).log2() * 8.0) as u16
}

fn middle_of(bucket: u16) -> f64 {
    ((f64::from(bucket) + 0.5) / 8.0).exp2() / 1e9
}

/// The time that half of the objects outlive (Kaplan and Meier 1958): those that still live have
/// lived at least as long as they are old, and count as long.
pub(crate) fn median_lifetime(dead: &BTreeMap<u16, f64>, ages: &[(f64, f64)]) -> Option<f64> {
    let mut censored: BTreeMap<u16, f64> = BTreeMap::new();
    for (age, weight) in ages {
        *censored.entry(bucket(*age)).or_default() += weight;
    }
    let mut at_risk: f64 = dead.values().sum::<f64>() + censored.values().sum::<f64>();
    let (mut survival, mut censored) = (1.0, censored.into_iter().peekable());
    for (&bucket, deaths) in dead {
        while let Some((_, weight)) = censored.next_if(|(at, _)| *at < bucket) {
            at_risk -= weight;
        }
        survival *= 1.0 - deaths / at_risk;
        // Half of them, but for rounding.
        if survival < 0.5 + 1e-9 {
            return Some(middle_of(bucket));
        }
        at_risk -= deaths;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use model::probe::{HeapSample, MonotonicNanos, SampledObject};
    use model::trace::GoId;
    use model::{Addr, Bytes};

    use super::Samples;

    const SECOND: u64 = 1_000_000_000;

    fn born(at: u64, address: u64, size: u64, site: u64) -> HeapSample {
        HeapSample::Allocated(SampledObject {
            time: MonotonicNanos(at),
            pid: 1,
            thread: 1,
            goroutine: GoId(site.cast_signed()),
            address: Addr(address),
            size: Bytes(size),
            stack: vec![Addr(site), Addr(1)],
        })
    }

    fn died(at: u64, address: u64) -> HeapSample {
        HeapSample::Freed {
            time: MonotonicNanos(at),
            pid: 1,
            address: Addr(address),
            size: Bytes(0),
            born: MonotonicNanos(0),
        }
    }

    #[test]
    fn what_lives_has_the_types_of_a_graph() {
        let mut samples = Samples::new(1);
        for (at, address, size, site) in
            [(1, 10, 8, 7), (2, 20, 64, 7), (3, 30, 64, 7), (4, 40, 8, 9)]
        {
            samples.push(born(at, address, size, site));
        }
        samples.push(died(5, 30));
        // Allocated after the graph was taken, where something else lay then.
        samples.push(born(20, 50, 8, 9));
        let names = [(10, "main.Key"), (20, "main.Row"), (30, "main.Row"), (50, "main.Gone")];
        let names: std::collections::HashMap<u64, &str> = names.into();
        let found = samples.types(MonotonicNanos(10), |address| names.get(&address.0).copied());
        assert_eq!(found.len(), 1);
        let types = &found[&[Addr(7), Addr(1)][..]];
        let types: Vec<_> = types.iter().map(|(name, of)| (*name, of.samples, of.bytes)).collect();
        assert_eq!(types, [("main.Row", 1, 64.0), ("main.Key", 1, 8.0)]);
    }

    #[test]
    fn samples_stand_for_what_was_not_sampled() {
        let mut samples = Samples::new(512 << 10);
        for index in 0..100 {
            samples.push(born(0, index * 4096, 1024, 7));
        }
        for index in 0..40 {
            samples.push(died(SECOND, index * 4096));
        }
        let site = samples.sites(MonotonicNanos(3 * SECOND)).remove(0);
        // 1 / (1 - exp(-1/512)): 512.5 objects each.
        assert!((site.allocated.objects - 51_250.0).abs() < 1.0, "{site:?}");
        assert_eq!((site.allocated.samples, site.live.samples), (100, 60));
        assert!((site.live.bytes / (60.0 * 512.5 * 1024.0) - 1.0).abs() < 1e-4, "{site:?}");
        // 60 samples: an error of one part in their root.
        assert!((site.live.bytes_error / site.live.bytes * 60f64.sqrt() - 1.0).abs() < 0.01);
        assert_eq!(site.oldest_seconds, Some(3.0));
        let (allocated, live) = samples.total();
        assert_eq!((allocated, live), (site.allocated, site.live));
        // All of one goroutine.
        let goroutine = samples.goroutines().remove(0);
        assert_eq!((goroutine.id, &goroutine.stack, site.goroutines), (GoId(7), &site.stack, 1));
        assert!((goroutine.live.bytes / live.bytes - 1.0).abs() < 1e-9, "{goroutine:?}");
        assert!((goroutine.live.bytes_error / live.bytes_error - 1.0).abs() < 1e-9);
    }

    #[test]
    fn objects_that_live_count_in_the_median() {
        // 40 of 100 died after a second, all others live: nobody knows how long.
        let mut samples = Samples::new(1);
        for index in 0..100 {
            samples.push(born(0, index, 8, 7));
        }
        for index in 0..40 {
            samples.push(died(SECOND, index));
        }
        let lifetime = |samples: &Samples| {
            samples.sites(MonotonicNanos(10 * SECOND)).remove(0).lifetime_seconds
        };
        assert_eq!(lifetime(&samples), None);
        // Ten more after four seconds are half of them.
        for index in 40..50 {
            samples.push(died(4 * SECOND, index));
        }
        let median = lifetime(&samples).unwrap();
        assert!((median - 4.0).abs() < 0.4, "{median}");
        // Those that are half a second old say nothing about later ones.
        for index in 1000..2000 {
            samples.push(born(9 * SECOND + SECOND / 2, index, 8, 7));
        }
        assert_eq!(lifetime(&samples).unwrap(), median);
    }

    #[test]
    fn lost_records_do_not_make_a_leak() {
        let mut samples = Samples::new(1);
        for index in 0..10 {
            samples.push(born(0, index, 8, 7));
        }
        // The address was given out again: the first must have died.
        samples.push(born(SECOND, 3, 8, 8));
        // The kernel knows of two.
        samples.keep_live(&HashSet::from([Addr(3), Addr(4)]));
        let sites = samples.sites(MonotonicNanos(2 * SECOND));
        assert_eq!(sites.iter().map(|site| site.live.samples).sum::<u64>(), 2);
        assert_eq!(samples.missed_deaths(), 9);
        assert!(sites.iter().all(|site| site.lifetime_seconds.is_none()));
        // Of one whose birth was not told.
        samples.push(died(2 * SECOND, 77));
        assert_eq!(samples.total().1.samples, 2);
    }
}

//! Rules on series, through the front door: files of rules and of tests as people write them.

use model::{Observation, TargetId, Timestamp};

use super::*;

/// Runs tests that stand in a text; all must pass.
fn check(text: &str) {
    let file = parse_cases(text).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    let mut rules = compile(&file.rules).unwrap_or_else(|faults| panic!("{faults:?}"));
    if file.defaults {
        rules.extend(defaults());
    }
    assert!(!file.tests.is_empty());
    let results = file.tests.iter().map(|case| run_case(case, &rules));
    let failures: Vec<String> = results
        .flat_map(|result| {
            let named = result.failures.into_iter();
            named.map(move |fault| format!("{}: {fault}", result.name)).collect::<Vec<_>>()
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_default_rules_are_sound() {
    assert_eq!(parse(DEFAULTS).map(|rules| rules.len()), Ok(7));
}

#[test]
fn conditions() {
    check(include_str!("tests/conditions.yaml"));
}

#[test]
fn states() {
    check(include_str!("tests/states.yaml"));
}

/// What is wrong with a file of rules, each with its place.
fn faults(text: &str) -> Vec<String> {
    let faults = parse(text).err().unwrap_or_default();
    faults.iter().map(Fault::to_string).collect()
}

#[test]
fn each_fault_has_its_place() {
    // What is at fault stands between | and |.
    let check = |marked: &str, expected: &str| {
        let column = marked.find('|').unwrap_or(0) + 11;
        let condition = marked.replace('|', "");
        let text = format!("rules:\n  - name: x\n    when: {condition}\n");
        assert_eq!(faults(&text), [format!("3:{column}: {expected}")], "{condition}");
    };
    check(
        "{signal: |working_set_bytes|, above: 1}",
        "there is no signal \"working_set_bytes\"; did you mean cgroup_working_set_bytes?",
    );
    check("{signal: rss_bytes, above: |5x|}", "\"5x\" is no amount: write 2GiB, 80% or 3000");
    check("{signal: goroutines, above: |5GiB|}", "\"5GiB\": this signal is counted; write 3000");
    check("{signal: limit_share, above: |5GiB|}", "\"5GiB\": this signal is a share; write 80%");
    check(
        "{signal: |rss_bytes|}",
        "nothing is asked about it: add above, below, above_mean, above_quantile, \
         rate_above or rate_below",
    );
    check(
        "{signal: rss_bytes, above: 2GiB, clear_below: |3GiB|}",
        "it would clear while it still fires: the bound lies beyond that of the condition",
    );
    check(
        "{signal: rss_bytes, above: 2GiB, clear_above: |3GiB|}",
        "it clears on the side where it fires: use the other of clear_below and clear_above",
    );
    check(
        "{signal: rss_bytes, above: 2GiB, below: 1GiB}",
        "rss_bytes can never be above the one and below the other bound",
    );
    check(
        "{all: [{signal: rss_bytes, above: 80%}, {signal: rss_bytes, below: 70%}]}",
        "rss_bytes can never be above the one and below the other bound",
    );
    check("{signal: rss_bytes, rate_above: |5MiB/m|}", "a rate needs over, as over: 5m");
    check("{signal: rss_bytes, above: 1, over: |5m|}", "over goes with rate_above or rate_below");
    check("{event: |oom|}", "\"oom\" is none of oom-kill, limit-hit, signal, call");
    check("{event: call, above: |5|}", "above goes with signal");
    check("{any: []}", "there is no condition in it");
    check(
        "{high_water: {signal: |gc_cycles|}}",
        "a counter is always at its highest; use rate_above",
    );
    check(
        "{finding: {kind: |heapleak|}}",
        "there is no finding \"heapleak\"; did you mean heap-leak?",
    );
    check("{finding: {kind: leak, confidence: |90|}}", "\"90\": a number from 0 to 1 is expected");
    check("{pressure: |{some: 5, full: 5}}", "pressure needs one of some and full, as some: 20%");
    check(
        "{forecast: {signal: |goroutines|, reaches_limit_within: 5m, over: 5m}}",
        "a forecast needs a size that reaches a limit",
    );
    check(
        "{signal: rss_bytes, above_quantile: |{by: 5%, over: 1m}|}",
        "above_quantile needs q, as q: 0.95",
    );
    check(
        "{signal: rss_bytes, above: 1, event: call}",
        "a condition is one of any, all, not, signal, high_water, forecast, growth, \
         pressure, finding, event",
    );
}

/// Not only when somebody is told at night.
#[test]
fn templates_are_checked_where_they_stand() {
    let text = "rules:\n  - name: a\n    when: {event: call}\n    annotations:\n      \
                runbook: '{{ $labels.service }'\n    do:\n      - notify: team\n        \
                summary: '{{ $value | humanise }}'\n        description: '{{ $valeu }}'\n";
    let found = faults(text);
    let starts = [
        "5:16: the template, 1:20: unexpected '}' in command",
        "8:18: the template, 1:13: ",
        "9:22: the template, 1:4: undefined variable \"$valeu\"",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (fault, start) in found.iter().zip(starts) {
        assert!(fault.starts_with(start), "{fault}");
    }
    let sound = text.replace("service }", "service }}").replace("humanise", "humanize");
    assert_eq!(faults(&sound.replace("valeu", "value")), [""; 0]);
}

#[test]
fn faults_outside_conditions_have_their_places() {
    let text = "\
rules:
  - name: twice
    targets: {name: \"(\", labels: {service: \"a(b\"}}
    when: {event: call}
    for: 5m
    keep_firing_for: 5
  - name: twice
    when: {signal: rss_bytes, above: 1}
    do:
      - {capture: [heap, heep], as: a}
      - {capture: heep}
      - {capture: pair}
      - {capture: heap, as: a}
      - {exec: [/bin/true, $(captures.b.path), $(captures.a.size), $(target.nam)]}
      - {exec: [true]}
      - {notify: team, capture: heap}
    limits: {per_target: 0 in 1h, per_rule: 3, cooldown: 0s, bytes: 5% in 1h, cpu: 2s in 10m}
  - name: a b
    when: {signal: rss_bytes, above: 1}
";
    let expected = [
        "3:21: \"(\" is no regular expression: unclosed group",
        "3:44: \"a(b\" is no regular expression: unclosed group",
        "5:10: it can never hold that long: events and high-water marks are of an instant",
        "6:22: \"5\" is no duration: write 30s, 5m, 1h30m, 15d",
        "7:11: there is a rule \"twice\" in line 2",
        "10:26: \"heep\" is no kind of capture: heap, goroutine, goroutineleak, graph, runtime, \
         rss, trace, alloc, native, faults, mmap, pair",
        "11:9: \"heep\" is no kind of capture: heap, goroutine, goroutineleak, graph, runtime, \
         rss, trace, alloc, native, faults, mmap, pair",
        "12:9: a pair needs kind: heap or goroutine",
        "13:29: \"a\" names an earlier action already",
        "14:28: $(captures.b.path): no earlier action takes what is called \"b\"",
        "14:48: $(captures.a.size): of a capture there is path, id, kind, bytes",
        "14:68: $(target.nam) is not known: rule.name, target.id, target.name, target.pid, time, \
         value, reason, target.labels.NAME, captures.NAME.{path,id,kind,bytes}",
        "15:9: exec is a list: the program with its whole path, then its arguments",
        "16:9: an action is one of capture, notify and exec",
        "17:26: \"0 in 1h\": a number from 1 to 10000 is expected; enabled: false switches a rule off",
        "17:45: \"3\": write an amount and a span, as \"3 in 1h\"",
        "17:58: a duration above zero is expected",
        "17:69: \"5%\" is no size: write 200MiB or 2GiB",
        "18:11: a rule's name is of letters, digits, - _ and ., at most 100",
    ];
    assert_eq!(faults(text), expected);
}

#[test]
fn what_is_wrong_with_the_form_has_its_place_too() {
    let check = |text: &str, place: &str, words: &str| {
        let found = faults(text);
        let first = found.first().map(String::as_str).unwrap_or_default();
        assert!(first.starts_with(place) && first.contains(words), "{text}: {found:?}");
    };
    check("rules:\n  - name: x\n    when: {event: call}\n    limit: 3\n", "4:5: ", "limit");
    check("rules:\n  - name: x\n", "2:5: ", "when");
    check("rules:\n  - name: x\n    when: {event: [call]}\n", "3:19: ", "");
    check("rules:\n  - name: x\n    when: {all: {event: call}}\n", "3:", "");
    check("rules: 5\n", "1:8: ", "");
    check("rules: [\n", "1:8: ", "");
    check("", "", "");
    let deep = |levels: usize| {
        let (open, close) = ("{not: ".repeat(levels), "}".repeat(levels));
        faults(&format!("rules: [{{name: x, when: {open}{{event: call}}{close}}}]"))
    };
    assert!(deep(28).is_empty());
    assert_eq!(deep(29).len(), 1);
    assert_eq!(deep(5000).len(), 1);
}

const MIB: u64 = 1 << 20;

fn info(id: i64, name: &str) -> TargetInfo {
    let labels = [("service".to_owned(), name.to_owned())].into();
    let spec = model::TargetSpec::Pid(7);
    let target = model::Target { name: name.to_owned(), spec, pid: Some(7), labels };
    TargetInfo::new(TargetId(id), target)
}

fn rss(seconds: i64, mib: u64) -> Observation {
    let mut observation = Observation { time: Timestamp(seconds * 1000), ..Default::default() };
    observation.process.rss_bytes = Some(mib * MIB);
    observation
}

fn step(engine: &mut Engine, info: &TargetInfo, observation: &Observation) -> Vec<String> {
    let input = Input { observation: Some(observation), ..Input::default() };
    let decisions = engine.step(observation.time, info, &input);
    decisions.iter().map(|decision| decision.kind.as_str().to_owned()).collect()
}

fn engine(rules: &str) -> Engine {
    Engine::new(parse(rules).unwrap(), Saved::default())
}

const ABOVE: &str = "
rules:
  - name: above
    when: {signal: rss_bytes, above: 100MiB}
    do: [{capture: heap}, {notify: team}]
    limits: {per_target: 2 in 1h}
";

#[test]
fn limits_and_firings_survive_a_restart_of_the_agent() {
    let shop = info(1, "shop");
    let mut first = engine(ABOVE);
    assert_eq!(step(&mut first, &shop, &rss(10, 200)), ["fired"]);
    assert_eq!(step(&mut first, &shop, &rss(20, 50)), ["resolved"]);
    assert_eq!(step(&mut first, &shop, &rss(30, 200)), ["fired"]);
    let mut second = Engine::new(parse(ABOVE).unwrap(), first.saved());
    second.learn(Timestamp(35_000), &shop, &[rss(10, 200), rss(20, 50), rss(30, 200)]);
    // What fires goes on firing, and the same process acts no second time.
    assert_eq!(step(&mut second, &shop, &rss(40, 200)), [""; 0]);
    let view = &second.view(Timestamp(40_000), TargetId(1))[0];
    assert_eq!((view.phase, view.since), (Phase::Firing, Some(Timestamp(30_000))));
    assert_eq!(step(&mut second, &shop, &rss(50, 50)), ["resolved"]);
    assert_eq!(step(&mut second, &shop, &rss(60, 200)), ["refused"]);
    // The service is started anew: another process, the same allowance.
    let again = info(2, "shop");
    assert_eq!(step(&mut second, &again, &rss(70, 200)), ["refused"]);
    assert_eq!(step(&mut second, &info(3, "cart"), &rss(80, 200)), ["fired"]);
    // Ids of decisions do not repeat.
    let spent: Vec<u64> = second.saved().spent.iter().map(|spent| spent.decision).collect();
    assert_eq!(spent.len(), 3);
    assert!(spent.windows(2).all(|pair| pair[0] < pair[1]), "{spent:?}");
}

#[test]
fn who_is_to_be_told_is_told_though_nothing_may_be_taken() {
    let shop = info(1, "shop");
    let mut engine = engine(ABOVE);
    for (seconds, mib) in [(10, 200), (20, 50), (30, 200), (40, 50)] {
        step(&mut engine, &shop, &rss(seconds, mib));
    }
    let observation = rss(50, 200);
    let input = Input { observation: Some(&observation), ..Input::default() };
    let decisions = engine.step(Timestamp(50_000), &shop, &input);
    let [refused] = decisions.as_slice() else { panic!("{decisions:?}") };
    assert!(matches!(refused.kind, DecisionKind::Refuse(_)));
    assert!(refused.actions.iter().all(Action::is_notice) && refused.actions.len() == 1);
    // An hour after the first it takes what it could not, and tells nobody twice.
    let observation = rss(3611, 200);
    let input = Input { observation: Some(&observation), ..Input::default() };
    let decisions = engine.step(Timestamp(3_611_000), &shop, &input);
    let [fired] = decisions.as_slice() else { panic!("{decisions:?}") };
    assert_eq!(fired.kind, DecisionKind::Fire);
    assert!(!fired.actions.iter().any(Action::is_notice) && fired.actions.len() == 1);
}

#[test]
fn what_was_spent_limits_cost() {
    let rules = "
rules:
  - name: above
    when: {signal: rss_bytes, above: 100MiB}
    do: [{capture: heap}]
    limits: {cpu: 2s in 10m, bytes: 10MiB in 1d}
";
    let shop = info(1, "shop");
    let mut engine = engine(rules);
    let mut fire = |seconds: i64, cost: Cost| {
        step(&mut engine, &shop, &rss(seconds, 50));
        let observation = rss(seconds + 1, 200);
        let input = Input { observation: Some(&observation), ..Input::default() };
        let decisions = engine.step(observation.time, &shop, &input);
        let fired = decisions.iter().find(|decision| decision.kind == DecisionKind::Fire);
        if let Some(fired) = fired {
            engine.ran(fired.id, cost);
        }
        fired.is_some()
    };
    assert!(fire(0, Cost { cpu_micros: 1_500_000, bytes: MIB }));
    assert!(fire(10, Cost { cpu_micros: 600_000, bytes: MIB }));
    assert!(!fire(20, Cost::default()), "2.1 s in 10 minutes");
    assert!(fire(602, Cost { cpu_micros: 1, bytes: 8 * MIB }), "0.6 s are left of them");
    assert!(!fire(2000, Cost::default()), "10 MiB in a day");
    assert!(fire(90_000, Cost::default()));
}

#[test]
fn another_process_starts_from_nothing() {
    let rules = "
rules:
  - {name: above, when: {signal: rss_bytes, above: 100MiB}, for: 20s}
  - {name: mark, when: {high_water: {signal: rss_bytes, floor: 10MiB}}}
";
    let shop = info(1, "http://shop");
    let mut engine = engine(rules);
    let cycles = |seconds: i64, mib: u64, cycles: u64| {
        let mut observation = rss(seconds, mib);
        observation.runtime.gc_cycles = Some(cycles);
        observation
    };
    for (seconds, expected) in [(0, &[][..]), (10, &[]), (20, &["fired"])] {
        assert_eq!(step(&mut engine, &shop, &cycles(seconds, 200, 5)), expected);
    }
    // Fewer collections than before: what fired is over, holds and marks begin anew.
    assert_eq!(step(&mut engine, &shop, &cycles(30, 150, 1)), ["resolved"]);
    assert_eq!(step(&mut engine, &shop, &cycles(40, 150, 2)), [""; 0]);
    assert_eq!(step(&mut engine, &shop, &cycles(50, 160, 2)), ["fired", "fired"]);
    let ended = engine.forget(Timestamp(60_000), TargetId(1));
    let reasons: Vec<&str> = ended.iter().map(|decision| decision.reason.as_str()).collect();
    assert_eq!(reasons, ["the target has ended", "the target has ended"]);
    assert!(engine.view(Timestamp(60_000), TargetId(1)).is_empty());
}

#[test]
fn clocks_that_jump_lock_nothing_and_hold_nothing() {
    let rules = "
rules:
  - name: above
    when: {signal: rss_bytes, above: 100MiB}
    for: 30s
    keep_firing_for: 1m
    do: [{capture: heap}]
    limits: {cooldown: 10m}
";
    let shop = info(1, "shop");
    let mut engine = engine(rules);
    for seconds in [10_000, 10_010] {
        assert_eq!(step(&mut engine, &shop, &rss(seconds, 200)), [""; 0]);
    }
    // Forward by a day: nobody knows whether it held.
    assert_eq!(step(&mut engine, &shop, &rss(96_000, 200)), [""; 0]);
    assert_eq!(step(&mut engine, &shop, &rss(96_030, 200)), ["fired"]);
    assert_eq!(step(&mut engine, &shop, &rss(96_040, 50)), [""; 0]);
    // Back by a day: the end is waited for from now on, the cooldown too.
    assert_eq!(step(&mut engine, &shop, &rss(9000, 50)), [""; 0]);
    assert_eq!(step(&mut engine, &shop, &rss(9059, 50)), [""; 0]);
    assert_eq!(step(&mut engine, &shop, &rss(9060, 50)), ["resolved"]);
    let blocked = engine.view(Timestamp(9_060_000), TargetId(1))[0].blocked_until;
    assert_eq!(blocked, Some(Timestamp(9_600_000)));
}

#[test]
fn other_rules_leave_what_fires_alone() {
    let shop = info(1, "shop");
    let mut engine = engine(ABOVE);
    assert_eq!(step(&mut engine, &shop, &rss(10, 200)), ["fired"]);
    let other = "
rules:
  - {name: new, when: {signal: rss_bytes, above_mean: {by: 10%, over: 1m}}}
  - {name: above, when: {signal: rss_bytes, above: 150MiB}}
";
    engine.replace_rules(parse(other).unwrap());
    assert_eq!(step(&mut engine, &shop, &rss(20, 200)), [""; 0]);
    assert_eq!(step(&mut engine, &shop, &rss(30, 120)), ["resolved"]);
    engine.replace_rules(parse("rules: []").unwrap());
    assert_eq!(step(&mut engine, &shop, &rss(40, 500)), [""; 0]);
    assert!(engine.view(Timestamp(40_000), TargetId(1)).is_empty());
}

#[test]
fn windows_are_filled_from_what_was_stored() {
    let rules = "rules: [{name: up, when: {signal: rss_bytes, above_mean: {by: 50%, over: 1m}}}]";
    let shop = info(1, "shop");
    let mut engine = engine(rules);
    let past: Vec<Observation> = (0..6).map(|index| rss(index * 10, 100)).collect();
    engine.learn(Timestamp(55_000), &shop, &past);
    assert_eq!(step(&mut engine, &shop, &rss(60, 160)), ["fired"]);
}

#[test]
fn two_hundred_targets_with_ten_rules_fit_in_ten_megabytes() {
    let rules: Vec<String> = (1..=10)
        .map(|minutes| {
            format!("  - {{name: r{minutes}, when: {{signal: rss_bytes, above_mean: {{by: 50%, over: {minutes}m}}}}}}\n")
        })
        .collect();
    let mut engine = engine(&format!("rules:\n{}", rules.concat()));
    for target in 0..200 {
        let shop = info(target, "shop");
        let past: Vec<Observation> = (0..400).map(|index| rss(index * 2, 100)).collect();
        engine.learn(Timestamp(799_000), &shop, &past);
        step(&mut engine, &shop, &rss(800, 100));
    }
    assert!(engine.memory_bytes() < 10_000_000, "{}", engine.memory_bytes());
    assert!(engine.memory_bytes() > 1_000_000);
}

#[test]
fn the_default_rules_know_a_climb_from_a_saw_tooth() {
    check(include_str!("tests/defaults.yaml"));
}

#[test]
fn damaged_files_give_faults_and_nothing_worse() {
    let texts =
        [DEFAULTS, include_str!("tests/states.yaml"), include_str!("tests/conditions.yaml")];
    let mut state = 42_u64;
    let mut random = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in 0..300 {
        let mut bytes = texts[round % texts.len()].as_bytes().to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = b"{}[]:,-'\"9x%\n "[random(14)],
                1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.extend_from_within(at..(at + random(40)).min(bytes.len())),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let _ = parse(&text);
        let Ok(file) = parse_cases(&text) else { continue };
        let Ok(rules) = compile(&file.rules) else { continue };
        file.tests.iter().for_each(|case| drop(run_case(case, &rules)));
    }
}

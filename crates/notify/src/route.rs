//! The tree of routes, ready to be asked: which alerts go where, in which groups, how often.

use std::collections::{BTreeMap, BTreeSet};

use model::series::Labels;
use model::units::Timestamp;

use crate::config::{Config, GroupBy, InhibitRule, Matchers, NamedIntervals, Route, Span};

/// A route with all that it has from its parents.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Matchers from the root to here, as Alertmanager writes them; the start of a group's key.
    pub(crate) key: String,
    /// The same with the place among siblings, so that no two routes have the same.
    pub(crate) id: String,
    matchers: Matchers,
    children: Vec<Node>,
    goes_on: bool,
    pub(crate) receiver: String,
    group_by: GroupBy,
    pub(crate) wait: Span,
    pub(crate) interval: Span,
    pub(crate) repeat: Span,
    mute: Vec<String>,
    active: Vec<String>,
}

/// What alerts are routed by.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    root: Option<Node>,
    intervals: BTreeMap<String, NamedIntervals>,
    inhibit: Vec<Inhibit>,
}

#[derive(Clone, Debug)]
struct Inhibit {
    source: Matchers,
    target: Matchers,
    equal: Vec<String>,
}

impl Inhibit {
    fn new(rule: &InhibitRule) -> Inhibit {
        Inhibit {
            source: rule.source_matchers.joined(&rule.source_match, &rule.source_match_re),
            target: rule.target_matchers.joined(&rule.target_match, &rule.target_match_re),
            equal: rule.equal.clone(),
        }
    }
}

impl Routes {
    pub(crate) fn new(config: &Config) -> Routes {
        let intervals = config.time_intervals.iter().chain(&config.mute_time_intervals);
        Routes {
            root: root(config),
            intervals: intervals.map(|named| (named.name.value.clone(), named.clone())).collect(),
            inhibit: config.inhibit_rules.iter().map(Inhibit::new).collect(),
        }
    }

    /// The routes that take an alert.
    pub(crate) fn of(&self, labels: &Labels) -> Vec<&Node> {
        let mut taken = Vec::new();
        if let Some(root) = &self.root {
            collect(root, labels, &mut taken);
        }
        taken
    }

    /// The route with this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Node> {
        find(self.root.as_ref()?, id)
    }

    /// Reports whether the route tells nobody now.
    pub(crate) fn is_muted(&self, node: &Node, now: Timestamp) -> bool {
        let is_in = |name: &String| self.intervals.get(name).is_some_and(|i| i.contains(now));
        let is_inactive = !node.active.is_empty() && !node.active.iter().any(is_in);
        is_inactive || node.mute.iter().any(is_in)
    }

    /// Which of the alerts that fire others silence.
    pub(crate) fn inhibited<'a, K: Copy + Ord>(
        &self,
        firing: &(impl Iterator<Item = (K, &'a Labels)> + Clone),
    ) -> BTreeSet<K> {
        let mut silenced = BTreeSet::new();
        for rule in &self.inhibit {
            let agreed = |labels: &Labels| -> Vec<String> {
                let values = rule.equal.iter().map(|name| labels.get(name).unwrap_or_default());
                values.map(str::to_owned).collect()
            };
            let sources = firing.clone().filter(|(_, labels)| rule.source.match_all(labels));
            // An alert that is source and target at once does not silence itself or its like.
            let sources: BTreeMap<Vec<String>, bool> =
                sources.fold(BTreeMap::new(), |mut all, (_, labels)| {
                    *all.entry(agreed(labels)).or_default() |= !rule.target.match_all(labels);
                    all
                });
            for (key, labels) in firing.clone().filter(|(_, labels)| rule.target.match_all(labels))
            {
                let is_both = rule.source.match_all(labels);
                let is_silenced =
                    sources.get(&agreed(labels)).is_some_and(|has_pure| !is_both || *has_pure);
                if is_silenced {
                    silenced.insert(key);
                }
            }
        }
        silenced
    }
}

impl Node {
    /// The labels that make an alert's group.
    pub(crate) fn group_labels(&self, labels: &Labels) -> Labels {
        match &self.group_by {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => labels.filtered(|name| names.contains(name)),
        }
    }
}

/// The root as configured, or one that sends everything to the first receiver.
fn root(config: &Config) -> Option<Node> {
    let defaults = |wait: u64, group_by: &[&str]| Node {
        key: String::new(),
        id: String::new(),
        matchers: Matchers::default(),
        children: Vec::new(),
        goes_on: false,
        receiver: String::new(),
        group_by: GroupBy::Labels(group_by.iter().map(|name| (*name).to_owned()).collect()),
        wait: Span::seconds(wait),
        interval: Span::seconds(300),
        repeat: Span::seconds(4 * 3600),
        mute: Vec::new(),
        active: Vec::new(),
    };
    if let Some(route) = &config.route {
        return Some(node(route, &defaults(30, &[]), None));
    }
    // Somebody who runs out of memory has no half minute.
    let receiver = config.receivers.first()?.name.value.clone();
    let root = defaults(5, &["alertname", "service", "job"]);
    Some(Node { receiver, key: "{}".to_owned(), id: "{}".to_owned(), ..root })
}

fn node(route: &Route, parent: &Node, place: Option<usize>) -> Node {
    let matchers = route.matchers.joined(&route.equal, &route.match_re);
    let name = |spanned: &serde_saphyr::Spanned<String>| spanned.value.clone();
    let (key, id) = match place {
        None => (matchers.to_string(), matchers.to_string()),
        Some(place) => {
            (format!("{}/{matchers}", parent.key), format!("{}/{matchers}/{place}", parent.id))
        }
    };
    let mut own = Node {
        key,
        id,
        matchers,
        children: Vec::new(),
        goes_on: route.goes_on,
        receiver: route.receiver.as_ref().map_or_else(|| parent.receiver.clone(), name),
        group_by: route.group_by.clone().unwrap_or_else(|| parent.group_by.clone()),
        wait: route.group_wait.unwrap_or(parent.wait),
        interval: route.group_interval.unwrap_or(parent.interval),
        repeat: route.repeat_interval.unwrap_or(parent.repeat),
        mute: route.mute_time_intervals.iter().map(name).collect(),
        active: route.active_time_intervals.iter().map(name).collect(),
    };
    own.children = route
        .routes
        .iter()
        .enumerate()
        .map(|(place, child)| node(child, &own, Some(place)))
        .collect();
    own
}

/// Depth first; a node is taken when none of its children is.
fn collect<'a>(node: &'a Node, labels: &Labels, taken: &mut Vec<&'a Node>) -> bool {
    if !node.matchers.match_all(labels) {
        return false;
    }
    let before = taken.len();
    for child in &node.children {
        if collect(child, labels, taken) && !child.goes_on {
            break;
        }
    }
    if taken.len() == before {
        taken.push(node);
    }
    true
}

fn find<'a>(node: &'a Node, id: &str) -> Option<&'a Node> {
    if node.id == id {
        return Some(node);
    }
    node.children.iter().find_map(|child| find(child, id))
}

#[cfg(test)]
mod tests {
    use model::series::Labels;
    use model::units::Timestamp;

    use super::Routes;
    use crate::config::Config;

    fn routes(yaml: &str) -> Routes {
        let config: Config = serde_saphyr::from_str(yaml).unwrap();
        config.check().unwrap();
        Routes::new(&config)
    }

    const TREE: &str = "
receivers: [{name: all}, {name: db}, {name: pager}]
time_intervals: [{name: night, time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}]}]}]
route:
  receiver: all
  group_by: [alertname]
  routes:
  - matchers: [severity=critical]
    receiver: pager
    continue: true
    mute_time_intervals: [night]
  - match: {team: db}
    receiver: db
    group_by: ['...']
    routes: [{match_re: {env: test|dev}, group_wait: 1h}]
";

    #[test]
    fn alerts_go_where_alertmanager_sends_them() {
        let routes = routes(TREE);
        let check = |pairs: &[(&str, &str)], expected: &[(&str, &str)]| {
            let labels = Labels::new(pairs.iter().copied());
            let taken = routes.of(&labels);
            let taken: Vec<(&str, &str)> =
                taken.iter().map(|node| (node.receiver.as_str(), node.key.as_str())).collect();
            assert_eq!(taken, expected, "{labels}");
        };
        check(&[("a", "b")], &[("all", "{}")]);
        check(&[("severity", "critical")], &[("pager", "{}/{severity=\"critical\"}")]);
        check(
            &[("severity", "critical"), ("team", "db")],
            &[("pager", "{}/{severity=\"critical\"}"), ("db", "{}/{team=\"db\"}")],
        );
        check(&[("team", "db"), ("env", "dev")], &[("db", "{}/{team=\"db\"}/{env=~\"test|dev\"}")]);
    }

    #[test]
    fn children_have_what_their_parents_have() {
        let routes = routes(TREE);
        let labels = Labels::new([("team", "db"), ("env", "dev"), ("alertname", "x")]);
        let node = routes.of(&labels)[0];
        assert_eq!((node.wait.0.as_secs(), node.interval.0.as_secs()), (3600, 300));
        assert_eq!(node.group_labels(&labels), labels);
        assert_eq!(routes.get(&node.id).unwrap().key, node.key);
        let night = Timestamp(23 * 3_600_000);
        let pager = routes.of(&Labels::new([("severity", "critical")]))[0];
        assert!(routes.is_muted(pager, night) && !routes.is_muted(pager, Timestamp(0)));
        assert!(!routes.is_muted(node, night));
    }

    #[test]
    fn alerts_that_fire_silence_others() {
        let routes = routes(
            "inhibit_rules: [{source_matchers: [severity=critical], target_match_re: {severity: 'warning|critical'}, equal: [service]}]",
        );
        let set = |severity, service| Labels::new([("severity", severity), ("service", service)]);
        let alerts =
            [set("critical", "a"), set("warning", "a"), set("warning", "b"), set("critical", "b2")];
        let silenced = routes.inhibited(&alerts.iter().enumerate());
        assert_eq!(silenced.into_iter().collect::<Vec<_>>(), [1]);
        assert!(routes.of(&alerts[0]).is_empty());
    }
}

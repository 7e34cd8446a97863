//! `topproto`: the entries of a table as a profile of one-frame stacks.

use std::collections::HashMap;

use analyze::pprof::Report;
use analyze::pprof::graph::go_int;
use analyze::pprof::measure::scale;
use model::profile::Location;
use model::{Addr, Function, FunctionId, Line, LocationId, Profile};

/// Makes the profile.
pub fn top_profile(report: &mut Report) -> Profile {
    let trimmed = report.trimmed_graph();
    let source = &report.profile;
    let mut profile = Profile::new(&[("cum", &report.output_unit), ("flat", &report.output_unit)]);
    profile.time_nanos = source.time_nanos;
    profile.duration_nanos = source.duration_nanos;
    profile.period = source.period;
    profile.period_type =
        source.period_type.map(|t| profile.value_type(source.str(t.kind), source.str(t.unit)));
    let mut functions = HashMap::new();
    for id in &trimmed.graph.order {
        let node = trimmed.graph.node(*id);
        let info = node.info;
        let name = profile.strings.intern(source.str(info.name));
        let filename = profile.strings.intern(source.str(info.file));
        let function =
            Function { name, filename, start_line: info.start_line, ..Function::default() };
        let known = functions.len() as u32;
        let function_id = *functions.entry(function).or_insert(FunctionId(known));
        if function_id.0 == known {
            profile.functions.push(function);
        }
        let line = Line { function: function_id, line: info.line, column: info.column };
        let address = Addr(info.address);
        let location = LocationId(profile.locations.len() as u32);
        profile.locations.push(Location { address, lines: vec![line], ..Location::default() });
        let scaled = |value| go_int(scale(value, &report.sample_unit, &report.output_unit).0);
        let values = [scaled(node.cum_value()), scaled(node.flat_value())];
        profile.push_sample(&[location], &values, &[]);
    }
    profile
}

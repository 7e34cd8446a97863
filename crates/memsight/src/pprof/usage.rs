//! The help texts: what `-help`, `help` and `help NAME` print.

use analyze::pprof::config::{self, Kind};

use super::commands::COMMANDS;

/// Help of every option and choice, as pprof words it (github.com/google/pprof,
/// internal/driver/commands.go, Apache-2.0).
static OPTION_HELP: [(&str, &str); 38] = [
    ("output", "Output filename for file-based outputs\n"),
    (
        "drop_negative",
        "Ignore negative differences\n\
         Do not show any locations with values <0.\n",
    ),
    (
        "call_tree",
        "Create a context-sensitive call tree\n\
         Treat locations reached through different paths as separate.\n",
    ),
    (
        "relative_percentages",
        "Show percentages relative to focused subgraph\n\
         If unset, percentages are relative to full graph before focusing\n\
         to facilitate comparison with original graph.\n",
    ),
    (
        "unit",
        "Measurement units to display\n\
         Scale the sample values to this unit.\n\
         For time-based profiles, use seconds, milliseconds, nanoseconds, etc.\n\
         For memory profiles, use megabytes, kilobytes, bytes, etc.\n\
         Using auto will scale each value independently to the most natural unit.\n",
    ),
    ("compact_labels", "Show minimal headers"),
    ("source_path", "Search path for source files"),
    ("trim_path", "Path to trim from source paths before search"),
    (
        "intel_syntax",
        "Show assembly in Intel syntax\n\
         Only applicable to commands `disasm` and `weblist`\n",
    ),
    (
        "nodecount",
        "Max number of nodes to show\n\
         Uses heuristics to limit the number of locations to be displayed.\n\
         On graphs, dotted edges represent paths through nodes that have been removed.\n",
    ),
    ("nodefraction", "Hide nodes below <f>*total"),
    ("edgefraction", "Hide edges below <f>*total"),
    (
        "trim",
        "Honor nodefraction/edgefraction/nodecount defaults\n\
         Set to false to get the full profile, without any trimming.\n",
    ),
    (
        "focus",
        "Restricts to samples going through a node matching regexp\n\
         Discard samples that do not include a node matching this regexp.\n\
         Matching includes the function name, filename or object name.\n",
    ),
    (
        "ignore",
        "Skips paths going through any nodes matching regexp\n\
         If set, discard samples that include a node matching this regexp.\n\
         Matching includes the function name, filename or object name.\n",
    ),
    (
        "prune_from",
        "Drops any functions below the matched frame.\n\
         If set, any frames matching the specified regexp and any frames\n\
         below it will be dropped from each sample.\n",
    ),
    (
        "hide",
        "Skips nodes matching regexp\n\
         Discard nodes that match this location.\n\
         Other nodes from samples that include this location will be shown.\n\
         Matching includes the function name, filename or object name.\n",
    ),
    (
        "show",
        "Only show nodes matching regexp\n\
         If set, only show nodes that match this location.\n\
         Matching includes the function name, filename or object name.\n",
    ),
    (
        "show_from",
        "Drops functions above the highest matched frame.\n\
         If set, all frames above the highest match are dropped from every sample.\n\
         Matching includes the function name, filename or object name.\n",
    ),
    (
        "tagroot",
        "Adds pseudo stack frames for labels key/value pairs at the callstack root.\n\
         A comma-separated list of label keys.\n\
         The first key creates frames at the new root.\n",
    ),
    (
        "tagleaf",
        "Adds pseudo stack frames for labels key/value pairs at the callstack leaf.\n\
         A comma-separated list of label keys.\n\
         The last key creates frames at the new leaf.\n",
    ),
    (
        "tagfocus",
        "Restricts to samples with tags in range or matched by regexp\n\
         Use name=value syntax to limit the matching to a specific tag.\n\
         Numeric tag filter examples: 1kb, 1kb:10kb, memory=32mb:\n\
         String tag filter examples: foo, foo.*bar, mytag=foo.*bar\n",
    ),
    (
        "tagignore",
        "Discard samples with tags in range or matched by regexp\n\
         Use name=value syntax to limit the matching to a specific tag.\n\
         Numeric tag filter examples: 1kb, 1kb:10kb, memory=32mb:\n\
         String tag filter examples: foo, foo.*bar, mytag=foo.*bar\n",
    ),
    (
        "tagshow",
        "Only consider tags matching this regexp\n\
         Discard tags that do not match this regexp\n",
    ),
    (
        "taghide",
        "Skip tags matching this regexp\n\
         Discard tags that match this regexp\n",
    ),
    (
        "divide_by",
        "Ratio to divide all samples before visualization\n\
         Divide all samples values by a constant, eg the number of processors or jobs.\n",
    ),
    (
        "mean",
        "Average sample value over first value (count)\n\
         For memory profiles, report average memory per allocation.\n\
         For time-based profiles, report average time per event.\n",
    ),
    (
        "sample_index",
        "Sample value to report (0-based index or name)\n\
         Profiles contain multiple values per sample.\n\
         Use sample_index=i to select the ith value (starting at 0).\n",
    ),
    ("normalize", "Scales profile based on the base profile.\n"),
    ("flat", "Sort entries based on own weight\n"),
    ("cum", "Sort entries based on cumulative weight\n"),
    (
        "functions",
        "Aggregate at the function level.\n\
         Ignores the filename where the function was defined.\n",
    ),
    (
        "filefunctions",
        "Aggregate at the function level.\n\
         Takes into account the filename where the function was defined.\n",
    ),
    ("files", "Aggregate at the file level."),
    ("lines", "Aggregate at the source code line level."),
    ("showcolumns", "Show column numbers at the source code line level."),
    (
        "addresses",
        "Aggregate at the address level.\n\
         Includes functions' addresses in the output.\n",
    ),
    (
        "noinlines",
        "Ignore inlines.\n\
         Attributes inlined functions to their first out-of-line caller.\n",
    ),
];

/// Help of an option or choice.
pub(super) fn option(name: &str) -> Option<&'static str> {
    OPTION_HELP.iter().find(|(known, _)| *known == name).map(|(_, help)| *help)
}

fn line(name: &str, help: &str) -> String {
    format!("    {name:<16} {}", help.lines().next().unwrap_or(""))
}

/// Commands and options, a line each.
pub(super) fn overview(dash: &str) -> String {
    let mut commands: Vec<String> =
        COMMANDS.iter().map(|c| line(&format!("{dash}{}", c.name), c.description)).collect();
    commands.sort();
    let title = match dash {
        "" => {
            commands.push(line("o/options", "List options and their current values"));
            commands.push(line("q/quit/exit/^D", "Exit pprof"));
            "  Commands:\n"
        }
        _ => "  Output formats (select at most one):\n",
    };
    let mut options = Vec::new();
    let mut groups = Vec::new();
    for (name, kind) in config::OPTIONS {
        let help = |name: &str| option(name).unwrap_or("");
        match kind {
            Kind::Choice(choices) => {
                let mut lines = vec![line(name, "")];
                let choice =
                    |name: &&str| format!("  {}", line(&format!("{dash}{name}"), help(name)));
                lines.extend(choices.iter().map(choice));
                groups.push(lines.join("\n"));
            }
            _ => options.push(line(&format!("{dash}{name}"), help(name))),
        }
    }
    options.sort();
    groups.sort();
    format!(
        "{title}{}\n\n  Options:\n{}\n\n  Option groups (only set one per group):\n{}",
        commands.join("\n"),
        options.join("\n"),
        groups.join("\n")
    )
}

const HEADER: &str = "\
usage: memsight pprof [format] [options] [binary] SOURCE...

Prints a report in the chosen format:

   memsight pprof -top heap.pb.gz
   memsight pprof -diff_base before.pb.gz -top after.pb.gz
   memsight pprof -list 'main.leak' http://localhost:6060/debug/pprof/heap

Without a format it is a shell; with -http=HOST:PORT it serves pages.

Details:
";

const SOURCES: &str = "

  Source options:
    -seconds              Duration for time-based profile collection
    -timeout              Timeout in seconds for profile collection
    -buildid              Override build id for main binary
    -add_comment          Free-form annotation to add to the profile
                          Displayed on some reports or with pprof -comments
    -diff_base source     Source of base profile for comparison
    -base source          Source of base profile for profile subtraction
    profile.pb.gz         Profile in compressed protobuf format
    legacy_profile        Profile in legacy pprof format, or any other that can be read
    http://host/profile   URL for profile handler to retrieve
    PID, name:REGEX       Heap profile of a live process, read from outside
    -symbolize=           Controls source of symbol information
      none                  Do not attempt symbolization
      local                 Examine only local binaries
      fastlocal             Only get function names from local binaries
      remote                Do not examine local binaries
      force                 Force re-symbolization
    Binary                  Local path or build id of binary for symbolization

  Misc options:
   -http              Provide web interface at host:port.
                      Host is optional and 'localhost' by default.
                      Port is optional and a randomly available port by default.
   -no_browser        Skip opening a browser for the interactive web UI.
   -all_frames        Keep the frames that the profile itself wants dropped.
   -tls_cert, -tls_key, -tls_ca
                      Client certificate, its key, and the authority to trust.

  Legacy convenience options:
   -inuse_space           Same as -sample_index=inuse_space
   -inuse_objects         Same as -sample_index=inuse_objects
   -alloc_space           Same as -sample_index=alloc_space
   -alloc_objects         Same as -sample_index=alloc_objects
   -total_delay           Same as -sample_index=delay
   -contentions           Same as -sample_index=contentions
   -mean_delay            Same as -mean -sample_index=delay

  Environment Variables:
   PPROF_TMPDIR       Location for saved profiles (default $HOME/pprof)
   PPROF_BINARY_PATH  Search path for local binary files
                      default: $HOME/pprof/binaries
";

/// What `-help` prints.
pub(super) fn command_line() -> String {
    format!("{HEADER}{}{SOURCES}", overview("-"))
}

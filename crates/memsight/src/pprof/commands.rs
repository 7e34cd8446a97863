//! The commands: their formats, arguments and help.

use analyze::pprof::Format;

/// What happens to a report after it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Text for the terminal.
    Text,
    /// Data that must not reach a terminal; the ending of the file it goes to instead.
    File(&'static str),
    /// A file with this ending, opened by the first of these programs that starts.
    Viewer(&'static str, Viewer),
}

/// Who opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Viewer {
    /// The web browser.
    Browser,
    /// A program.
    Program(&'static str),
}

/// What a call graph is drawn as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Image {
    Svg,
    Png,
    Gif,
    Pdf,
    Ps,
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandInfo {
    pub(super) name: &'static str,
    pub(super) format: Format,
    pub(super) output: Output,
    pub(super) has_argument: bool,
    pub(super) description: &'static str,
    /// The picture that is made of the graph.
    pub(super) image: Option<Image>,
    help: Help,
}

#[derive(Clone, Copy, Debug)]
enum Help {
    None,
    Report { cum: bool, redirect: bool },
    Listing { redirect: bool },
    Text(&'static str),
}

const fn report(
    name: &'static str,
    format: Format,
    output: Output,
    cum: bool,
    description: &'static str,
) -> CommandInfo {
    let help = Help::Report { cum, redirect: true };
    CommandInfo { name, format, output, has_argument: false, description, image: None, help }
}

const fn plain(
    name: &'static str,
    format: Format,
    output: Output,
    description: &'static str,
) -> CommandInfo {
    let help = Help::None;
    CommandInfo { name, format, output, has_argument: false, description, image: None, help }
}

const fn picture(
    name: &'static str,
    image: Image,
    output: Output,
    description: &'static str,
) -> CommandInfo {
    let redirect = matches!(output, Output::File(_));
    let help = Help::Report { cum: false, redirect };
    let image = Some(image);
    CommandInfo { name, format: Format::Dot, output, has_argument: false, description, image, help }
}

const fn viewed(ending: &'static str, program: &'static str) -> Output {
    Output::Viewer(ending, Viewer::Program(program))
}

const TABLE: &str = "Outputs top entries in text form";

pub(super) static COMMANDS: [CommandInfo; 25] = [
    plain("comments", Format::Comments, Output::Text, "Output all profile comments"),
    CommandInfo {
        name: "disasm",
        format: Format::Disasm,
        output: Output::Text,
        has_argument: true,
        description: "Output assembly listings annotated with samples",
        image: None,
        help: Help::Listing { redirect: true },
    },
    report("dot", Format::Dot, Output::Text, false, "Outputs a graph in DOT format"),
    CommandInfo {
        name: "list",
        format: Format::List,
        output: Output::Text,
        has_argument: true,
        description: "Output annotated source for functions matching regexp",
        image: None,
        help: Help::Listing { redirect: false },
    },
    CommandInfo {
        name: "peek",
        format: Format::Tree,
        output: Output::Text,
        has_argument: true,
        description: "Output callers/callees of functions matching regexp",
        image: None,
        help: Help::Text(
            "peek func_regex\nDisplay callers and callees of functions matching func_regex.",
        ),
    },
    plain("raw", Format::Raw, Output::Text, "Outputs a text representation of the raw profile"),
    CommandInfo {
        name: "tags",
        format: Format::Tags,
        output: Output::Text,
        has_argument: false,
        description: "Outputs all tags in the profile",
        image: None,
        help: Help::Text(
            "tags [tag_regex]* [-ignore_regex]* [>file]\n\
             List tags with key:value matching tag_regex and exclude ignore_regex.",
        ),
    },
    report("text", Format::Text, Output::Text, true, TABLE),
    report("top", Format::Text, Output::Text, true, TABLE),
    plain("traces", Format::Traces, Output::Text, "Outputs all profile samples in text form"),
    report("tree", Format::Tree, Output::Text, true, "Outputs a text rendering of call graph"),
    report(
        "callgrind",
        Format::Callgrind,
        Output::File("callgraph.out"),
        false,
        "Outputs a graph in callgrind format",
    ),
    plain(
        "proto",
        Format::Proto,
        Output::File("pb.gz"),
        "Outputs the profile in compressed protobuf format",
    ),
    plain(
        "topproto",
        Format::TopProto,
        Output::File("pb.gz"),
        "Outputs top entries in compressed protobuf format",
    ),
    CommandInfo {
        name: "weblist",
        format: Format::WebList,
        output: Output::Viewer("html", Viewer::Browser),
        has_argument: true,
        description: "Display annotated source in a web browser",
        image: None,
        help: Help::Listing { redirect: false },
    },
    picture("svg", Image::Svg, Output::File("svg"), "Outputs a graph in SVG format"),
    picture("png", Image::Png, Output::File("png"), "Outputs a graph image in PNG format"),
    picture("gif", Image::Gif, Output::File("gif"), "Outputs a graph image in GIF format"),
    picture("pdf", Image::Pdf, Output::File("pdf"), "Outputs a graph in PDF format"),
    picture("ps", Image::Ps, Output::File("ps"), "Outputs a graph in PS format"),
    picture(
        "web",
        Image::Svg,
        Output::Viewer("svg", Viewer::Browser),
        "Visualize graph through web browser",
    ),
    picture("eog", Image::Svg, viewed("svg", "eog"), "Visualize graph through eog"),
    picture("evince", Image::Pdf, viewed("pdf", "evince"), "Visualize graph through evince"),
    picture("gv", Image::Ps, viewed("ps", "gv"), "Visualize graph through gv"),
    CommandInfo {
        name: "kcachegrind",
        format: Format::Callgrind,
        output: viewed("grind", "kcachegrind"),
        has_argument: false,
        description: "Visualize report in KCachegrind",
        image: None,
        help: Help::Report { cum: false, redirect: false },
    },
];

/// The command called `name`.
pub(super) fn find(name: &str) -> Option<&'static CommandInfo> {
    COMMANDS.iter().find(|command| command.name == name)
}

impl CommandInfo {
    /// The command with its argument.
    pub(super) fn with(&self, argument: Option<String>) -> analyze::pprof::report::Command {
        let name = self.name.to_owned();
        analyze::pprof::report::Command { name, format: self.format, argument }
    }

    /// What `help COMMAND` prints.
    pub(super) fn help(&self) -> String {
        let name = self.name;
        let usage = match self.help {
            Help::None => return format!("{}\n\n", self.description),
            Help::Text(text) => text.to_owned(),
            Help::Report { cum, redirect } => {
                let more = if cum { " [-cum]" } else { "" };
                let file = if redirect { " >f" } else { "" };
                let mut text = format!(
                    "{name} [n] [focus_regex]* [-ignore_regex]*{more}{file}\n\
                     Include up to n samples\n\
                     Include samples matching focus_regex, and exclude ignore_regex."
                );
                if cum {
                    text.push_str("\n-cum sorts the output by cumulative weight");
                }
                text + if redirect { SAVE } else { "" }
            }
            Help::Listing { redirect } => {
                let file = if redirect { " >f" } else { "" };
                let text = format!(
                    "{name}<func_regex|address> [-focus_regex]* [-ignore_regex]*{file}\n\
                     Include functions matching func_regex, or including the address specified.\n\
                     Include samples matching focus_regex, and exclude ignore_regex."
                );
                text + if redirect { SAVE } else { "" }
            }
        };
        let usage = usage.lines().map(|line| format!("    {line}\n")).collect::<String>();
        format!("{}\n  Usage:\n{usage}\n", self.description)
    }
}

const SAVE: &str = "\nOptionally save the report on the file f";

//! Templates beside Go's text/template.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use promql::template::{Context, Dialect, Templates, Value};
use serde_json::{Value as Json, json};

/// Data as Go's side types it: objects of texts are maps, others have fixed fields.
fn value(data: &Json) -> Value {
    match data {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap()),
        },
        Json::String(text) => Value::Str(text.clone()),
        Json::Array(list) => Value::list(list.iter().map(value)),
        Json::Object(fields) => {
            let entries = fields.iter().map(|(key, field)| (key.clone(), value(field)));
            if fields.values().all(Json::is_string) {
                Value::map(entries)
            } else {
                Value::object(entries)
            }
        }
    }
}

fn data() -> Json {
    json!({
        "name": "shop", "n": 3, "zero": 0, "x": 1234567.5, "tiny": 1.5e-7, "half": 0.5, "yes": true,
        "no": false, "nothing": null, "list": ["a", "b", "c"], "none": [], "nested": [[1, 2], [3]],
        "labels": {"job": "shop", "instance": "a:80", "alertname": "Up"}, "html": "<a href='x'>&\"</a>",
        "numbers": [1, -2, 3], "floats": [0.1, 2.5e21, -3.0], "text": "wörld\n\t\"q\"",
    })
}

const WRITTEN: &[&str] = &[
    "plain",
    "{{.name}}",
    "{{ .name }}!",
    "a {{- .name -}} b",
    "a\n {{- /* c */ -}} \n b",
    "{{/* c */}}x",
    "{{.x}} {{.tiny}} {{.half}} {{.n}}",
    "{{.nothing}}",
    "{{.list}} {{.labels}} {{.nested}} {{.floats}}",
    "{{.labels.job}} {{.labels.missing}}|",
    "{{index .labels \"job\"}} {{index .list 1}}",
    "{{index .nested 0 1}}",
    "{{index .list 9}}",
    "{{len .list}} {{len .labels}} {{len .name}}",
    "{{len .n}}",
    "{{if .yes}}a{{else}}b{{end}}",
    "{{if .no}}a{{else if .list}}c{{else}}b{{end}}",
    "{{if .none}}a{{end}}",
    "{{with .name}}{{.}}{{end}}",
    "{{with .none}}a{{else}}b{{end}}",
    "{{with .none}}a{{else with .n}}{{.}}{{end}}",
    "{{range .list}}<{{.}}>{{end}}",
    "{{range $i, $e := .list}}{{$i}}={{$e}} {{end}}",
    "{{range .none}}a{{else}}b{{end}}",
    "{{range $k, $v := .labels}}{{$k}}:{{$v}};{{end}}",
    "{{range .list}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}",
    "{{range .list}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}",
    "{{range .n}}{{.}}{{end}}",
    "{{range .name}}x{{end}}",
    "{{$x := 1}}{{$x = 2}}{{$x}}",
    "{{$x := 1}}{{if true}}{{$x := 5}}{{$x = 6}}{{end}}{{$x}}",
    "{{$x}}",
    "{{$.name}}",
    "{{range .list}}{{$.name}}{{end}}",
    "{{.name | printf \"%s-%s\" \"a\"}}",
    "{{printf \"%d %5d|%-5d|%05d %+d %x %X %#x\" 42 42 42 42 42 42 42 42}}",
    "{{printf \"%s %q %v %10s|%-10s|%.2s\" .name .name .name .name .name .name}}",
    "{{printf \"%q\" .text}}",
    "{{printf \"%f %.2f %8.3f|%-8.1f|%08.2f %e %g %G\" .x .x .x .x .x .x .x .x}}",
    "{{printf \"%g %v %g %v\" .tiny .tiny .half 1e6}}",
    "{{printf \"%d\" .name}}",
    "{{printf \"%s\" .n}}",
    "{{printf \"%d\"}}",
    "{{printf \"%d\" 1 2}}",
    "{{printf \"%!\"}}",
    "{{printf \"%\"}}",
    "{{printf \"%t %v\" .yes .no}}",
    "{{printf \"%v %v\" .nothing .list}}",
    "{{printf \"%d\" .numbers}}",
    "{{printf \"%*d\" 5 42}}",
    "{{printf \"%c%c %U\" 65 233 65}}",
    "{{printf \"%T %T %T\" .n .x .name}}",
    "{{printf \"%x\" .name}}",
    "{{printf \"%5t|\" .yes}}",
    "{{printf \"%6.2f%%\" 12.345}}",
    "{{printf \"% d\" 5}}",
    "{{print 1 2 \"a\" \"b\" 3}}",
    "{{println .name .n}}",
    "{{print .list .n}}",
    "{{eq .n 3}} {{eq .n 1 2 3}} {{ne .n 3}} {{lt 1 2}} {{le 2 2}} {{gt .half 0.25}} {{ge \"b\" \"a\"}}",
    "{{eq .n 3.0}}",
    "{{lt .x 5}}",
    "{{gt .name 1}}",
    "{{eq .list .list}}",
    "{{eq .nothing nil}}",
    "{{eq .name \"shop\"}}",
    "{{and .yes .name}} {{or .no .n}} {{not .no}} {{and .no .x.y}}",
    "{{or .yes (index .list 9)}}",
    "{{and 1 0}} {{or 0 \"\"}}",
    "{{html .html}}",
    "{{urlquery .html}}",
    "{{.html | html | len}}",
    "{{js .html}}",
    "{{(index .nested 0)}}",
    "{{(printf \"%s\" .name) | len}}",
    "{{.name.x}}",
    "{{.labels.job.x}}",
    "{{.n.x}}",
    "{{nosuch .n}}",
    "{{.name",
    "{{if}}a{{end}}",
    "{{end}}",
    "{{if .yes}}",
    "{{else}}",
    "{{range .list}}{{else}}{{else}}{{end}}",
    "{{break}}",
    "{{define \"a\"}}[{{.}}]{{end}}{{template \"a\" .name}}",
    "{{template \"missing\"}}",
    "{{block \"b\" .n}}<{{.}}>{{end}}",
    "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}",
    "{{if .yes}}{{define \"a\"}}{{end}}{{end}}",
    "{{define \"a\"}}x{{end}}{{define \"a\"}}y{{end}}{{template \"a\"}}",
    "{{define \"a\"}}{{$.name}}{{end}}{{template \"a\" .}}",
    "{{slice .name 1 3}} {{slice .list 1}}",
    "{{slice .name 9}}",
    "{{true}} {{false}} {{nil}}",
    "{{1.5}} {{0x10}} {{'a'}} {{-3}} {{1e3}} {{017}}",
    "{{\"a\\tb\"}}{{`raw\\n`}}",
    "{{.list | len | printf \"%03d\"}}",
    "{{1 | 2}}",
    "{{.n 1}}",
    "{{\"x\" \"y\"}}",
    "{{$a, $b := .list}}",
    "{{$.n}}{{$.n }}",
    "{{ .name}}{{- \"x\" }}  {{- 3}}",
    "{{- .name}} ",
    "{{-.name}}",
    "{{ 3 -}} x",
    "{{with $x := .n}}{{$x}}{{end}}",
    "{{if $x := .n}}{{$x}}{{end}}",
    "{{len nil}}",
    "{{with .labels}}{{.job}}{{$.n}}{{end}}",
    "{{not}}",
    "{{not 1 2}}",
    "{{call .name}}",
    "{{printf .name}}",
    "{{printf 3}}",
    "{{.n}}x",
    "{{range $i := .n}}{{$i}}{{end}}",
    "{{.list.x}}",
    "{{index .labels .n}}",
    "{{index .nothing 0}}",
    "{{eq}}",
    "{{eq 1}}",
    "{{lt 1}}",
    "{{.name|print|print}}",
    "{{(.labels).job}}",
    "{{$x := .labels}}{{$x.job}}",
    "{{ printf \"%v\" .labels }}",
    "{{printf \"%s\" .list}}",
    "{{printf \"%q\" .list}}",
    "{{if and .yes (or .no .n)}}ok{{end}}",
    "{{range .list -}} {{.}} {{- end}}",
    "{{.name}}\n{{.n}}\n",
    "{{template \"a\" 1 2}}",
    "{{define a}}{{end}}",
    "{{.a.}}",
    "{{..a}}",
    "{{.name .n}}",
    "{{\"unterminated}}",
    "{{'ab'}}",
    "{{1x}}",
    "{{?}}",
    "{{/* a }}",
    "{{ /* a */ }}",
    "{{range}}{{end}}",
    "{{with}}{{end}}",
    "{{if .yes}}{{else}}{{else if .no}}{{end}}",
    "{{()}}",
    "{{(.n}}",
    "{{.n)}}",
    "{{,}}",
    "{{.n |}}",
    "{{| .n}}",
    "{{.n || .n}}",
    "{{$x = 1}}",
    "{{$x := }}",
];

/// Verbs and flags with values of every kind.
fn generated() -> Vec<String> {
    let mut cases = Vec::new();
    for verb in
        ["v", "s", "d", "f", "F", "e", "E", "g", "G", "q", "x", "X", "t", "o", "b", "c", "z"]
    {
        for flags in ["", "+", "-8", "08", "8.3", ".0", ".1", ".3", " ", "-08.2", "+08.3", "1"] {
            for value in [
                ".name", ".n", ".x", ".tiny", ".half", ".yes", ".nothing", ".numbers", ".floats",
                "-7",
            ] {
                let is_hex_float = matches!(verb, "x" | "X" | "b")
                    && [".x", ".tiny", ".half", ".floats"].contains(&value);
                // Hexadecimal floats and quoted runes with flags are Go's alone.
                if is_hex_float || verb == "q" && flags.contains(['+']) {
                    continue;
                }
                cases.push(format!("{{{{printf \"%{flags}{verb}|\" {value}}}}}"));
            }
        }
    }
    for number in [
        "0.0",
        "1.0",
        "-1.0",
        "100000.0",
        "123456.0",
        "1234567.0",
        "12345678.9",
        "1e20",
        "1e21",
        "1e22",
        "0.0001",
        "0.00001",
        "123456789.125",
        "1e100",
        "1.7976931348623157e308",
        "5e-324",
        "0.1",
        "0.30000000000000004",
        "99999.5",
        "999999.5",
        "1e-7",
    ] {
        for format in ["%v", "%g", "%.4g", "%.0f", "%.10g", "%.1g", "%e", "%.3e", "%f"] {
            cases.push(format!("{{{{printf \"{format}\" {number}}}}}"));
        }
        cases.push(format!("{{{{{number}}}}}"));
    }
    cases
}

#[test]
fn templates_render_as_go_renders_them() {
    let mut texts: Vec<String> = WRITTEN.iter().map(|text| (*text).to_owned()).collect();
    texts.extend(generated());
    let cases: Vec<Json> = texts.iter().map(|text| json!({"Text": text, "Data": data()})).collect();
    let Some(results) = go(&cases) else { return };
    let templates = Templates::new(Dialect::Prometheus);
    let mut differences = Vec::new();
    for (text, go) in texts.iter().zip(results) {
        let ours = match templates.parse(text) {
            Err(error) => format!("parse error ({error})"),
            Ok(template) => match template.render(&templates, &value(&data()), &Context::default())
            {
                Ok(output) => output,
                Err(error) => format!("run error ({error})"),
            },
        };
        let said = |key: &str| go[key].as_str().unwrap_or_default().to_owned();
        let same = if !said("parse_error").is_empty() {
            ours.starts_with("parse error (")
        } else if !said("run_error").is_empty() {
            ours.starts_with("run error (")
        } else {
            ours == said("output")
        };
        if !same {
            differences.push(format!("{text}\n  Go:   {go}\n  ours: {ours}"));
        }
    }
    println!("{} templates beside Go's", texts.len());
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

fn go(cases: &[Json]) -> Option<Vec<Json>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles/gotemplate");
    let mut command = Command::new("go");
    command.arg("run").arg(".").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("skipped: there is no Go toolchain");
        return None;
    };
    let input = serde_json::to_vec(cases).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "go run fails");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

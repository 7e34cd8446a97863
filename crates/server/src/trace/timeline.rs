//! A span of a trace as a page of some width shows it.

use std::collections::HashMap;

use analyze::trace::timeline::{
    Activity, Column, Figure, Slice, Slot, Text, Timeline, Track, View,
};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::trace::{GoId, Time};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer;
use crate::Server;
use crate::error::ApiError;

const PIXELS: usize = 1_200;
const PIXELS_MAX: usize = 4_000;
/// Rows of goroutines that are asked for.
const GOROUTINES_MAX: usize = 50;

const FIGURES: [(&str, Figure); 5] = [
    ("heap", Figure::HeapBytes),
    ("goal", Figure::HeapGoalBytes),
    ("running", Figure::Running),
    ("runnable", Figure::Ready),
    ("blocked", Figure::Blocked),
];

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Span {
    from: Option<i64>,
    to: Option<i64>,
    pixels: Option<usize>,
    /// Numbers of goroutines with rows of their own, with commas between them.
    goroutines: Option<String>,
}

pub(crate) async fn timeline(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(span): Query<Span>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let pixels = span.pixels.unwrap_or(PIXELS).clamp(1, PIXELS_MAX);
    let goroutines = numbers(span.goroutines.as_deref().unwrap_or_default())?;
    let view = format!("timeline {:?} {:?} {pixels} {goroutines:?}", span.from, span.to);
    answer(server, id, request, view, move |server| {
        let overview = server.traces.overview(&server.store, id)?;
        let timeline = &overview.timeline;
        let (start, end) = timeline.span();
        let whole = i64::try_from(end.nanos_since(start)).unwrap_or(i64::MAX);
        let from = span.from.unwrap_or(0).clamp(0, whole);
        let to = span.to.unwrap_or(whole).clamp(from, whole).max(from + 1);
        let at = |nanos: i64| Time(start.0.saturating_add(nanos));
        let mut tracks = timeline.tracks();
        let slots = goroutines.iter().filter_map(|id| timeline.goroutine(GoId(*id)));
        tracks.extend(slots.map(|(slot, _)| Track::Goroutine(slot)));
        let views = timeline.views(&tracks, at(from), at(to), pixels);
        let mut drawing = Drawing { timeline, from, to, names: Names::default() };
        let rows = tracks.iter().zip(&views).map(|(track, view)| drawing.row(*track, view));
        let rows: Vec<Value> = rows.collect();
        let series: Vec<Value> = FIGURES
            .iter()
            .map(|(name, figure)| {
                let points = timeline.series(*figure, at(from), at(to), pixels);
                let means: Vec<Option<f64>> =
                    points.iter().map(|point| point.map(|point| rounded(point.mean))).collect();
                json!({ "name": name, "values": means })
            })
            .collect();
        let names = drawing.names.texts;
        Ok(json!({ "from": from, "to": to, "names": names, "tracks": rows, "series": series }))
    })
    .await
}

fn numbers(text: &str) -> Result<Vec<i64>, ApiError> {
    let parts = text.split(',').filter(|part| !part.is_empty()).take(GOROUTINES_MAX);
    let numbers = parts.map(str::parse).collect::<Result<_, _>>();
    numbers.map_err(|error| ApiError::bad(format!("goroutines={text}: {error}"), "numbers"))
}

/// Enough for a pixel, and short.
fn rounded(value: f64) -> f64 {
    if value < 1000.0 { (value * 100.0).round() / 100.0 } else { value.round() }
}

/// Texts by number.
#[derive(Default)]
struct Names {
    texts: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Names {
    fn number(&mut self, text: &str) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), self.texts.len() - 1);
        self.texts.len() - 1
    }
}

struct Drawing<'a> {
    timeline: &'a Timeline,
    from: i64,
    to: i64,
    names: Names,
}

impl Drawing<'_> {
    fn row(&mut self, track: Track, view: &View) -> Value {
        let slices: Vec<Value> = match view {
            View::Slices(slices) => slices.iter().map(|slice| self.slice(track, slice)).collect(),
            View::Columns(columns) => columns
                .iter()
                .enumerate()
                .filter_map(|(index, column)| self.column(track, index, columns.len(), column))
                .collect(),
        };
        let (name, goroutine) = self.title(track);
        json!({ "name": name, "goroutine": goroutine, "slices": slices })
    }

    fn title(&self, track: Track) -> (String, Option<i64>) {
        match track {
            Track::Marking => ("GC".to_owned(), None),
            Track::Stops => ("stopped".to_owned(), None),
            Track::Proc(at) => {
                let id = self.timeline.procs().get(at as usize).map_or(-1, |id| id.0);
                (format!("P {id}"), None)
            }
            Track::Goroutine(slot) => {
                let found = self.timeline.goroutines().get(slot.0 as usize);
                let id = found.map_or(-1, |goroutine| goroutine.id.0);
                (format!("G {id}"), Some(id))
            }
        }
    }

    /// `[start, length, name, goroutine, share, activity]`.
    fn slice(&mut self, track: Track, slice: &Slice) -> Value {
        let (start, _) = self.timeline.span();
        let from = i64::try_from(slice.start.nanos_since(start)).unwrap_or(i64::MAX);
        let length = slice.end.nanos_since(slice.start);
        let name = self.name(track, slice.activity, slice.slot, slice.reason);
        json!([from, length, name, self.id(slice.slot), 1, slice.activity as u8])
    }

    fn column(&mut self, track: Track, index: usize, of: usize, column: &Column) -> Option<Value> {
        let counts = |activity: &Activity| match track {
            Track::Goroutine(_) => *activity != Activity::Ended,
            _ => activity.has_proc(),
        };
        let share = |activity: Activity| column.shares.get(activity as usize).copied();
        let shares = Activity::ALL.into_iter().filter(counts);
        let shares = shares.filter_map(|activity| Some((activity, share(activity)?)));
        let (activity, most) = shares.clone().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let all: f32 = match track {
            Track::Goroutine(_) => most,
            _ => shares.map(|(_, share)| share).sum(),
        };
        if all <= 0.0 {
            return None;
        }
        let at = |index: usize| {
            let nanos = i128::from(self.to - self.from) * index as i128 / of as i128;
            self.from + nanos as i64
        };
        let (from, to) = (at(index), at(index + 1));
        let name = self.name(track, activity, column.slot, None);
        let share = (f64::from(all) * 1000.0).round() / 1000.0;
        Some(json!([from, to - from, name, self.id(column.slot), share, activity as u8]))
    }

    fn id(&self, slot: Option<Slot>) -> i64 {
        let goroutines = self.timeline.goroutines();
        let found = slot.and_then(|slot| goroutines.get(slot.0 as usize));
        found.map_or(-1, |goroutine| goroutine.id.0)
    }

    /// What a slice is called: on a P the function, of a goroutine what it does.
    fn name(
        &mut self,
        track: Track,
        activity: Activity,
        slot: Option<Slot>,
        reason: Option<Text>,
    ) -> usize {
        let reason = reason.map_or("", |reason| self.timeline.text(reason));
        match track {
            Track::Marking => self.names.number("marking"),
            Track::Stops => self.names.number(reason),
            Track::Goroutine(_) if reason.is_empty() => self.names.number(activity.as_str()),
            Track::Goroutine(_) => self.names.number(&format!("{}: {reason}", activity.as_str())),
            Track::Proc(_) => {
                let goroutines = self.timeline.goroutines();
                let found = slot.and_then(|slot| goroutines.get(slot.0 as usize));
                let function = found.map_or("", |found| self.timeline.text(found.function));
                self.names.number(if function.is_empty() { "(unknown)" } else { function })
            }
        }
    }
}

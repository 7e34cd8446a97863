// Prints every event that Go's own trace reader gives, a line each, for comparison; with
// -summary what its summarizer says of goroutines, by function; with -tasks what it says of
// tasks and regions; with -mmu its functions of mutator utilization, and their curve.
//
//	traceoracle [-summary | -tasks | -mmu FLAGS WINDOW,WINDOW...] FILE
//
// internal/trace cannot be imported from outside Go, so this is built as a command of Go's
// own module: `go build -overlay`, see ../oracle.rs.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"internal/trace"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	mode := ""
	if len(os.Args) > 2 {
		mode = os.Args[1]
	}
	file, err := os.Open(os.Args[len(os.Args)-1])
	if err != nil {
		panic(err)
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	reader, err := trace.NewReader(bufio.NewReaderSize(file, 1<<20))
	if err != nil {
		fmt.Fprintln(out, "ERROR", err)
		return
	}
	switch mode {
	case "-summary":
		summarize(out, reader)
		return
	case "-tasks":
		tasks(out, reader)
		return
	case "-mmu":
		utilization(out, reader)
		return
	}
	for {
		event, err := reader.ReadEvent()
		if err == io.EOF {
			return
		}
		if err != nil {
			fmt.Fprintln(out, "ERROR", strings.ReplaceAll(err.Error(), "\n", " "))
			return
		}
		fmt.Fprintf(out, "%d %d %d %d %d ", event.Kind(), event.Time(), event.Thread(), event.Proc(), event.Goroutine())
		details(out, event)
		stack(out, event.Stack())
		fmt.Fprintln(out)
	}
}

func details(out io.Writer, event trace.Event) {
	switch event.Kind() {
	case trace.EventSync:
		sync := event.Sync()
		fmt.Fprintf(out, "sync %d", sync.N)
		if clock := sync.ClockSnapshot; clock != nil {
			fmt.Fprintf(out, " %d %d %d", clock.Trace, clock.Mono, clock.Wall.UnixNano())
		}
		for _, batch := range sync.ExperimentalBatches["AllocFree"] {
			fmt.Fprintf(out, " %d:%d:%08x", batch.Thread, len(batch.Data), crc32.ChecksumIEEE(batch.Data))
		}
	case trace.EventMetric:
		metric := event.Metric()
		fmt.Fprintf(out, "%s %d", metric.Name, metric.Value.Uint64())
	case trace.EventLabel:
		fmt.Fprintf(out, "%q", event.Label().Label)
	case trace.EventRangeBegin, trace.EventRangeActive, trace.EventRangeEnd:
		of := event.Range()
		fmt.Fprintf(out, "%s %v", of.Name, of.Scope)
		if event.Kind() == trace.EventRangeEnd {
			for _, attribute := range event.RangeAttributes() {
				fmt.Fprintf(out, " %d", attribute.Value.Uint64())
			}
		}
	case trace.EventTaskBegin:
		task := event.Task()
		fmt.Fprintf(out, "%d %d %q", task.ID, task.Parent, task.Type)
	case trace.EventTaskEnd:
		fmt.Fprintf(out, "%d", event.Task().ID)
	case trace.EventRegionBegin, trace.EventRegionEnd:
		region := event.Region()
		fmt.Fprintf(out, "%d %q", region.Task, region.Type)
	case trace.EventLog:
		log := event.Log()
		fmt.Fprintf(out, "%d %q %q", log.Task, log.Category, log.Message)
	case trace.EventStateTransition:
		change := event.StateTransition()
		if change.Resource.Kind == trace.ResourceProc {
			from, to := change.Proc()
			fmt.Fprintf(out, "P%d %v->%v", change.Resource.Proc(), from, to)
			return
		}
		from, to := change.Goroutine()
		fmt.Fprintf(out, "G%d %v->%v %q", change.Resource.Goroutine(), from, to, change.Reason)
		stack(out, change.Stack)
	case trace.EventExperimental:
		experimental := event.Experimental()
		fmt.Fprint(out, experimental.Name)
		for at := range experimental.Args {
			fmt.Fprintf(out, " %d", experimental.ArgValue(at).Uint64())
		}
	}
}

// stack prints how many frames there are, the innermost and the outermost.
func stack(out io.Writer, stack trace.Stack) {
	var first, last trace.StackFrame
	count := 0
	for frame := range stack.Frames() {
		if count == 0 {
			first = frame
		}
		last = frame
		count++
	}
	if count == 0 {
		fmt.Fprint(out, " -")
		return
	}
	fmt.Fprintf(out, " %d %x %s:%d %s:%d", count, first.PC, first.Func, first.Line, last.Func, last.Line)
}

// group is what goroutines that start with one function spent, in nanoseconds.
type group struct {
	Goroutines, Total, Running, Runnable, Syscall, Assist int64
	Blocked                                               map[string]int64
}

// encode prints JSON.
func encode(out io.Writer, value any) {
	if err := json.NewEncoder(out).Encode(value); err != nil {
		panic(err)
	}
}

// all reads the events.
func all(reader *trace.Reader) []trace.Event {
	var events []trace.Event
	for {
		event, err := reader.ReadEvent()
		if err == io.EOF {
			return events
		}
		if err != nil {
			panic(err)
		}
		events = append(events, event)
	}
}

func summary(reader *trace.Reader) ([]trace.Event, *trace.Summary) {
	events, summarizer := all(reader), trace.NewSummarizer()
	for at := range events {
		summarizer.Event(&events[at])
	}
	return events, summarizer.Finalize()
}

func summarize(out io.Writer, reader *trace.Reader) {
	groups := make(map[string]*group)
	_, all := summary(reader)
	for _, goroutine := range all.Goroutines {
		of := groups[goroutine.Name]
		if of == nil {
			of = &group{Blocked: make(map[string]int64)}
			groups[goroutine.Name] = of
		}
		of.Goroutines++
		of.Total += int64(goroutine.TotalTime)
		of.Running += int64(goroutine.ExecTime)
		of.Runnable += int64(goroutine.SchedWaitTime)
		of.Syscall += int64(goroutine.SyscallTime + goroutine.SyscallBlockTime)
		of.Assist += int64(goroutine.RangeTime["GC mark assist"])
		for reason, spent := range goroutine.BlockTimeByReason {
			of.Blocked[reason] += int64(spent)
		}
	}
	encode(out, groups)
}

// task is a task of the program, in nanoseconds from the first event; -1 for what is unknown.
type task struct {
	Name               string
	Parent, Begin, End int64
	Children           []int64
	Goroutines         []int64
	Regions            int
	Logs               []string
}

func tasks(out io.Writer, reader *trace.Reader) {
	events, summary := summary(reader)
	since := func(event *trace.Event) int64 {
		if event == nil {
			return -1
		}
		return int64(event.Time() - events[0].Time())
	}
	tasks := make(map[string]task)
	for id, of := range summary.Tasks {
		one := task{Name: of.Name, Parent: -1, Begin: since(of.Start), End: since(of.End), Regions: len(of.Regions)}
		if of.Parent != nil {
			one.Parent = int64(of.Parent.ID)
		}
		for _, child := range of.Children {
			one.Children = append(one.Children, int64(child.ID))
		}
		for goroutine := range of.Goroutines {
			one.Goroutines = append(one.Goroutines, int64(goroutine))
		}
		for _, log := range of.Logs {
			one.Logs = append(one.Logs, log.Log().Category+": "+log.Log().Message)
		}
		tasks[fmt.Sprint(id)] = one
	}
	// Nanoseconds by type and outermost function; -1 for those that are cut. What a goroutine
	// inherits from its creator has no name.
	regions := make(map[string][]int64)
	for _, goroutine := range summary.Goroutines {
		for _, region := range goroutine.Regions {
			if region.Name == "" {
				continue
			}
			key, took := region.Name+"|", int64(-1)
			if region.Start != nil {
				var outermost trace.StackFrame
				for frame := range region.Start.Stack().Frames() {
					outermost = frame
				}
				key += outermost.Func
				if region.End != nil {
					took = int64(region.End.Time() - region.Start.Time())
				}
			}
			regions[key] = append(regions[key], took)
		}
	}
	encode(out, map[string]any{"Tasks": tasks, "Regions": regions})
}

// window is what the curve says of windows of one length.
type window struct {
	Minimum   float64
	Quantiles []float64
	Worst     []trace.UtilWindow
}

func utilization(out io.Writer, reader *trace.Reader) {
	flags, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	events := all(reader)
	series := trace.MutatorUtilizationV2(events, trace.UtilFlags(flags))
	curve := trace.NewMMUCurve(series)
	windows := make(map[string]window)
	for _, text := range strings.Split(os.Args[3], ",") {
		nanos, err := strconv.Atoi(text)
		if err != nil {
			panic(err)
		}
		length := time.Duration(nanos)
		windows[text] = window{curve.MMU(length), curve.MUD(length, []float64{.001, .01, .05}), curve.Examples(length, 1)}
	}
	encode(out, map[string]any{"Start": int64(events[0].Time()), "Series": series, "Windows": windows})
}

// Prints every event that Go's own trace reader gives, a line each, for comparison; with
// -summary what its summarizer says of goroutines, by function.
//
//	traceoracle [-summary] FILE
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
	"strings"
)

func main() {
	isSummary := len(os.Args) > 2 && os.Args[1] == "-summary"
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
	if isSummary {
		summarize(out, reader)
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

func summarize(out io.Writer, reader *trace.Reader) {
	summarizer := trace.NewSummarizer()
	for {
		event, err := reader.ReadEvent()
		if err == io.EOF {
			break
		}
		if err != nil {
			panic(err)
		}
		summarizer.Event(&event)
	}
	groups := make(map[string]*group)
	for _, goroutine := range summarizer.Finalize().Goroutines {
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
	if err := json.NewEncoder(out).Encode(groups); err != nil {
		panic(err)
	}
}

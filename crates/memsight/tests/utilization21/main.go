// Prints how often a background worker started, and the least mutator utilization of windows as
// Go 1.21 itself has it, a line each.
//
//	utilization21 FLAGS WINDOW,WINDOW... FILE
//
// It is built as a command of Go's own module, see ../cli/trace_mmu.rs.
package main

import (
	"bufio"
	"fmt"
	"internal/trace"
	"os"
	"strconv"
	"strings"
	"time"
)

// procsAgain is when the number of Ps is given for the second time, from which on later
// readers know it.
func procsAgain(events []*trace.Event) int64 {
	count := 0
	for _, event := range events {
		if event.Type == trace.EvGomaxprocs {
			if count++; count == 2 {
				return event.Ts
			}
		}
	}
	panic("the number of Ps is not given twice")
}

// onePerTime puts events that are at one time a nanosecond after each other, as later readers
// do. Of two changes at one time the function keeps the lower share, up to the next change.
func onePerTime(events []*trace.Event) {
	for i := 1; i < len(events); i++ {
		events[i].Ts = max(events[i].Ts, events[i-1].Ts+1)
	}
}

// starts is how often a background worker started.
func starts(events []*trace.Event) int {
	count := 0
	for _, event := range events {
		if event.Type == trace.EvGoStartLabel {
			count++
		}
	}
	return count
}

func from(series []trace.MutatorUtil, time int64) []trace.MutatorUtil {
	for len(series) > 1 && series[1].Time <= time {
		series = series[1:]
	}
	series[0].Time = max(series[0].Time, time)
	return series
}

func main() {
	flags, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	file, err := os.Open(os.Args[3])
	if err != nil {
		panic(err)
	}
	parsed, err := trace.Parse(bufio.NewReader(file), "")
	if err != nil {
		panic(err)
	}
	fmt.Println(starts(parsed.Events))
	onePerTime(parsed.Events)
	series := trace.MutatorUtilization(parsed.Events, trace.UtilFlags(flags))
	series[0] = from(series[0], procsAgain(parsed.Events))
	curve := trace.NewMMUCurve(series)
	for _, text := range strings.Split(os.Args[2], ",") {
		nanos, err := strconv.Atoi(text)
		if err != nil {
			panic(err)
		}
		fmt.Println(curve.MMU(time.Duration(nanos)))
	}
}

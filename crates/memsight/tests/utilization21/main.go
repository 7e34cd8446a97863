// Prints the least mutator utilization of windows as Go 1.21 itself has it, a line each.
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

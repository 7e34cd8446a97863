// Command frozen does everything at once that a snapshot could disturb, checks all its
// own answers, and keeps memory whose contents tell whether they are of one moment.
//
// It reads commands from standard input: "rest" ends the work that opens and closes
// files and starts processes; "report" prints its figures; the end of input ends it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

type node struct {
	next  *node
	value uint64
	pad   [4]uint64
}

type pair struct{ first, second uint64 }

const pairCount = 1 << 18

var (
	list    *node
	pattern []uint64
	pairs   [pairCount]pair
	// Written one after the other by one goroutine: ahead >= behind >= ahead-1.
	ahead, behind *uint64

	resting                                  atomic.Bool
	workers                                  sync.WaitGroup
	ticks, gap, checks, execs, echoes, wrong atomic.Int64
)

func fail(format string, arguments ...any) {
	wrong.Add(1)
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
}

func check(is bool, format string, arguments ...any) {
	checks.Add(1)
	if !is {
		fail(format, arguments...)
	}
}

// mix makes a value that no other index has.
func mix(index uint64) uint64 { return index*0x9e3779b97f4a7c15 + 1 }

func keep(megabytes int) {
	for i := 0; i < megabytes<<20/2/48; i++ {
		list = &node{next: list, value: mix(uint64(i))}
	}
	pattern = make([]uint64, megabytes<<20/2/8)
	for i := range pattern {
		pattern[i] = mix(uint64(i))
	}
}

// mutate writes generation after generation over the pairs, in order.
func mutate() {
	for generation := uint64(1); ; generation++ {
		for i := range pairs {
			pairs[i].first = generation
			pairs[i].second = generation
		}
		time.Sleep(20 * time.Microsecond)
	}
}

func step() {
	for value := uint64(1); ; value++ {
		atomic.StoreUint64(ahead, value)
		atomic.StoreUint64(behind, value)
		if value%4096 == 0 {
			time.Sleep(20 * time.Microsecond)
		}
	}
}

func tick() {
	last := time.Now()
	for {
		time.Sleep(200 * time.Microsecond)
		now := time.Now()
		if late := int64(now.Sub(last)); late > gap.Load() {
			gap.Store(late)
		}
		last = now
		ticks.Add(1)
	}
}

// churn allocates, so that the garbage collector runs, and checks what it allocated.
func churn() {
	var kept [64][]uint64
	for i := uint64(0); ; i++ {
		slot := &kept[i%64]
		for k, value := range *slot {
			if value != mix(uint64(k)) {
				fail("garbage collection lost a value")
			}
		}
		*slot = make([]uint64, 16+i%500)
		for k := range *slot {
			(*slot)[k] = mix(uint64(k))
		}
		if i%256 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

func echo() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail("listen: %v", err)
		return
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(connection, connection)
				connection.Close()
			}()
		}
	}()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		fail("dial: %v", err)
		return
	}
	buffer := make([]byte, 16)
	for i := 0; ; i++ {
		want := fmt.Sprintf("%016d", i)
		_, err := io.WriteString(connection, want)
		check(err == nil, "write: %v", err)
		_, err = io.ReadFull(connection, buffer)
		check(err == nil && string(buffer) == want, "echo: %v %q", err, buffer)
		echoes.Add(1)
		time.Sleep(100 * time.Microsecond)
	}
}

// hangUp closes one end of a pipe: the other must see the end at once, which it does not
// while somebody else holds a copy of the descriptor.
func hangUp() {
	defer workers.Done()
	for !resting.Load() {
		alone(func() {
			var ends [2]int
			err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK)
			check(err == nil, "pipe: %v", err)
			syscall.Close(ends[1])
			count, err := syscall.Read(ends[0], make([]byte, 1))
			check(count == 0 && err == nil, "the end of a pipe: %d %v", count, err)
			syscall.Close(ends[0])
		})
		time.Sleep(time.Millisecond)
	}
}

// alone runs f while this program starts no process, which would inherit descriptors.
func alone(f func()) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f()
}

func lock(path string) {
	defer workers.Done()
	try := func(file *os.File) error {
		return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	for !resting.Load() {
		alone(func() {
			first, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
			check(err == nil, "open: %v", err)
			second, err := os.Open(path)
			check(err == nil, "open: %v", err)
			err = try(first)
			check(err == nil, "a lock nobody holds: %v", err)
			err = try(second)
			check(err == syscall.EWOULDBLOCK, "a lock that is held: %v", err)
			first.Close()
			// Closing gives the lock back, unless a copy of the descriptor is left.
			err = try(second)
			check(err == nil, "a lock given back: %v", err)
			second.Close()
		})
		time.Sleep(time.Millisecond)
	}
}

func run() {
	defer workers.Done()
	for i := 0; !resting.Load(); i++ {
		want := i % 100
		err := exec.Command("/bin/sh", "-c", "exit "+strconv.Itoa(want)).Run()
		code := 0
		if failed, is := err.(*exec.ExitError); is {
			code = failed.ExitCode()
		} else if err != nil {
			code = -1
		}
		check(code == want, "a child ended with %d (%v) instead of %d", code, err, want)
		execs.Add(1)
	}
}

// waitForAny must never see a child that is not the program's own.
func waitForAny() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		check(err == syscall.ECHILD, "wait for any child: %d %v", pid, err)
		time.Sleep(time.Millisecond)
	}
}

func pingPong() {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for value := range ping {
			pong <- value + 1
		}
	}()
	for i := 0; ; i++ {
		ping <- i
		got := <-pong
		check(got == i+1, "channel: %d instead of %d", got, i+1)
		time.Sleep(time.Millisecond)
	}
}

func timers() {
	for {
		started := time.Now()
		<-time.After(2 * time.Millisecond)
		check(time.Since(started) >= 2*time.Millisecond, "a timer was early")
	}
}

func sleepers(count int) {
	for i := 0; i < count; i++ {
		block := make(chan struct{})
		go func() { <-block }()
		go func() {
			for {
				time.Sleep(50 * time.Millisecond)
			}
		}()
	}
}

func report() {
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"ticks": ticks.Load(), "gap": gap.Swap(0), "checks": checks.Load(), "execs": execs.Load(),
		"echoes": echoes.Load(), "wrong": wrong.Load(),
		"pattern":      uintptr(unsafe.Pointer(&pattern[0])),
		"pattern_len":  len(pattern),
		"pairs":        uintptr(unsafe.Pointer(&pairs)),
		"pair_count":   pairCount,
		"ahead":        uintptr(unsafe.Pointer(ahead)),
		"behind":       uintptr(unsafe.Pointer(behind)),
		"list":         uintptr(unsafe.Pointer(list)),
		"list_len":     len(pattern) * 8 / 48,
		"list_pointer": uintptr(unsafe.Pointer(&list)),
	})
}

func main() {
	megabytes, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	// Far from each other: in different pages, of different spans.
	ahead, behind = new(uint64), &make([]uint64, 1<<16)[1<<15]
	keep(megabytes)
	sleepers(1000)
	go step()
	go mutate()
	go tick()
	go churn()
	go echo()
	go pingPong()
	go timers()
	if len(os.Args) > 2 {
		workers.Add(3)
		go hangUp()
		go lock(os.Args[2])
		go run()
	} else {
		go waitForAny()
	}
	fmt.Println("ready")
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		switch commands.Text() {
		case "rest":
			resting.Store(true)
			workers.Wait()
			fmt.Println("resting")
		case "report":
			report()
		}
	}
	if wrong.Load() > 0 {
		os.Exit(1)
	}
}

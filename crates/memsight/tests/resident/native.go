//go:build cgo

package main

/*
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t share;

// As a library's worker would: an arena of its own.
static void *worker(void *unused) {
	for (size_t left = share; left >= 1024; left -= 1024) {
		char *block = malloc(1000);
		memset(block, 1, 1000);
	}
	for (;;) pause();
}

static void start(size_t size, int workers) {
	share = size / workers;
	for (int i = 0; i < workers; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, worker, NULL);
	}
}

static void large(size_t size) {
	for (size_t left = size; left >= 1 << 20; left -= 1 << 20) {
		char *block = malloc((1 << 20) - 100);
		memset(block, 1, (1 << 20) - 100);
	}
}
*/
import "C"

import (
	"os"
	"time"
)

func init() {
	modes["arenas"] = func(size int) {
		C.start(C.size_t(size), 2)
		for last := int64(-1); ; {
			time.Sleep(50 * time.Millisecond)
			now := resident()
			if now == last {
				return
			}
			last = now
		}
	}
	modes["large"] = func(size int) { C.large(C.size_t(size)) }
}

// resident is how many pages the process has.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	check(err)
	pages, field := int64(0), 0
	for _, c := range text {
		switch {
		case c == ' ':
			field++
		case field == 1:
			pages = pages*10 + int64(c-'0')
		}
	}
	return pages
}

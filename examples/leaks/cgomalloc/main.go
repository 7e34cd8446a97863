// C memory that Go never frees: no Go profile shows it.
//
//corpus:verdict native-growth
package main

/*
#include <stdlib.h>
#include <string.h>

static void *keep(size_t n) {
	void *p = malloc(n);
	memset(p, 1, n);
	return p;
}
*/
import "C"

import "leaks/work"

func main() {
	work.Run(50, func(i int) { C.keep(32 << 10) })
}

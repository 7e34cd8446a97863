// Tells what it samples itself, and so does a library (this file, compiled with PLUGIN) that it loads
// later.
#define _SDT_HAS_SEMAPHORES 1
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>

#define COUNT static __attribute__((section(".probes"), used)) volatile unsigned short
COUNT otel_memory_alloc_semaphore;
COUNT otel_memory_free_semaphore;

#ifdef PLUGIN
#define TELL tell_later
#else
#define TELL tell_first
#endif

__attribute__((noipa)) void TELL(size_t size, int blocks)
{
	for (int i = 0; i < blocks; i++) {
		void *block = malloc(size);
		if (otel_memory_alloc_semaphore)
			STAP_PROBE3(otel_memory, alloc, block, size, size * 10);
		if (i % 2)
			continue;
		if (otel_memory_free_semaphore)
			STAP_PROBE1(otel_memory, free, block);
		free(block);
	}
}

#ifndef PLUGIN
static int wait_for_line(void)
{
	int c;
	while ((c = getchar()) != '\n')
		if (c == EOF)
			return 0;
	return 1;
}

int main(int count, char **arguments)
{
	setvbuf(stdout, 0, _IOLBF, 0);
	puts("ready");
	if (!wait_for_line() || count < 2)
		return 1;
	void *library = dlopen(arguments[1], RTLD_NOW);
	void (*later)(size_t, int) = library ? dlsym(library, "tell_later") : 0;
	if (!later)
		return 2;
	puts("done");
	if (!wait_for_line())
		return 1;
	tell_first(100, 20);
	later(3000, 50);
	puts("tell_first 10000 10");
	puts("tell_later 750000 25");
	puts("done");
	wait_for_line();
	return 0;
}
#endif

// Asks for memory in every way that C has, frees some of it, and says what is left by the function
// that asked. It waits for a line before it begins and before it ends.
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SITE __attribute__((noinline, noclone))

static void *volatile kept;
static void *held[4096];
static unsigned long factor = 1;

// A compiler that sees nobody read a block leaves it out.
static void *keep(void *block)
{
	kept = block;
	if (block)
		*(volatile char *)block = 1;
	return block;
}

static void truth(const char *site, unsigned long bytes, unsigned long blocks)
{
	printf("%s %lu %lu\n", site, bytes, blocks);
}

SITE static void leak_malloc(void)
{
	for (unsigned i = 0; i < 1000 * factor; i++)
		keep(malloc(100));
	for (unsigned i = 0; i < 50 * factor; i++)
		keep(malloc(5000));
	truth("leak_malloc", 350000 * factor, 1050 * factor);
}

SITE static void leak_calloc(void)
{
	for (unsigned i = 0; i < 200 * factor; i++)
		keep(calloc(4, 250));
	truth("leak_calloc", 200000 * factor, 200 * factor);
}

SITE static void leak_realloc(void)
{
	for (unsigned i = 0; i < 20; i++) {
		char *grown = NULL;
		for (size_t size = 16; size <= 65536; size *= 2)
			grown = keep(realloc(grown, size));
		grown = keep(realloc(grown, 40000));
	}
	truth("leak_realloc", 800000, 20);
}

SITE static void leak_failed_realloc(void)
{
	char *block = keep(malloc(12345));
	volatile size_t huge = PTRDIFF_MAX;
	if (realloc(block, huge))
		abort();
	// Freed by it; what it returns then is the allocator's choice.
	char *other = keep(malloc(777));
	volatile size_t nothing = 0;
	free(realloc(other, nothing));
	truth("leak_failed_realloc", 12345, 1);
}

SITE static void leak_reallocarray(void)
{
	for (unsigned i = 0; i < 10; i++)
		keep(reallocarray(keep(malloc(10)), 30, 70));
	truth("leak_reallocarray", 21000, 10);
}

SITE static void leak_aligned(void)
{
	void *block;
	for (unsigned i = 0; i < 100; i++) {
		if (posix_memalign(&block, 64, 256))
			abort();
		keep(block);
		keep(aligned_alloc(128, 1024));
		keep(memalign(256, 300));
	}
	keep(valloc(5000));
	if (posix_memalign(&block, 3, 100) == 0)
		abort();
	truth("leak_aligned", 25600 + 102400 + 30000 + 5000, 301);
}

SITE static void leak_in_library(void)
{
	for (unsigned i = 0; i < 100; i++)
		keep(strdup("a text of twenty-six bytes"));
	truth("leak_in_library", 2700, 100);
}

SITE static int leak_deep(int depth)
{
	if (depth == 0) {
		keep(malloc(4321));
		return 1;
	}
	// Large frames, and work behind the call, so that it stays one.
	volatile char room[300];
	room[depth] = (char)depth;
	return leak_deep(depth - 1) + room[depth];
}

SITE static void no_leak(void)
{
	for (unsigned i = 0; i < 3000; i++)
		held[i] = keep(malloc(i + 1));
	for (unsigned i = 0; i < 3000; i++)
		free(held[i]);
	free(NULL);
}

SITE static void *leak_thread(void *number)
{
	for (unsigned i = 0; i < 250; i++) {
		keep(malloc(640));
		held[(uintptr_t)number * 250 + i] = keep(malloc(64));
	}
	return NULL;
}

SITE static void start_threads(void)
{
	pthread_t threads[4];
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, leak_thread, (void *)i);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	// In another thread than the one that asked for them.
	for (int i = 0; i < 1000; i++)
		free(held[i]);
	truth("leak_thread", 640000, 1000);
}

SITE static void leak_in_child(void)
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		for (unsigned i = 0; i < 100; i++)
			keep(malloc(99999));
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

static void wait_for_line(void)
{
	fflush(stdout);
	char letter;
	while (read(0, &letter, 1) == 1 && letter != '\n')
		;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		factor = strtoul(argv[1], NULL, 10);
	printf("ready\n");
	wait_for_line();
	leak_malloc();
	leak_calloc();
	leak_realloc();
	leak_failed_realloc();
	leak_reallocarray();
	leak_aligned();
	leak_in_library();
	leak_deep(40);
	truth("leak_deep", 4321, 1);
	no_leak();
	start_threads();
	leak_in_child();
	printf("done\n");
	wait_for_line();
	return 0;
}

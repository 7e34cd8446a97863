// Samples what it allocates itself, and tells it: static probes of OpenTelemetry's contract, made by
// SystemTap's header. Each site has its arguments elsewhere.
#define _SDT_HAS_SEMAPHORES 1
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>

// The linker's section for them is written to by the kernel.
#define COUNT __attribute__((section(".probes"))) volatile unsigned short
COUNT otel_memory_alloc_semaphore;
COUNT otel_memory_free_semaphore;

// Not changed by what its callers are known to give it, its name neither.
#define NOINLINE __attribute__((noipa))

static void *kept[4096];
static unsigned n;

static NOINLINE void untell(void *block)
{
	if (otel_memory_free_semaphore)
		STAP_PROBE1(otel_memory, free, block);
	free(block);
}

// All in registers or in memory, as the compiler likes.
static NOINLINE void tell_variable(size_t size, uint64_t weight)
{
	void *block = malloc(size);
	if (otel_memory_alloc_semaphore)
		STAP_PROBE3(otel_memory, alloc, block, size, weight);
	kept[n++] = block;
}

static NOINLINE void tell_constant(void)
{
	void *block = malloc(1000);
	if (otel_memory_alloc_semaphore)
		STAP_PROBE3(otel_memory, alloc, block, 1000UL, 524288UL);
	kept[n++] = block;
}

// Less than eight bytes of each, and memory of a structure.
struct request {
	uint32_t sizes[4];
	uint16_t weight;
};

static NOINLINE void tell_small(struct request *request, unsigned index)
{
	void *block = malloc(request->sizes[index]);
	if (otel_memory_alloc_semaphore)
		STAP_PROBE3(otel_memory, alloc, block, request->sizes[index], request->weight);
	kept[n++] = block;
}

static NOINLINE void tell_and_free(size_t size)
{
	void *block = malloc(size);
	if (otel_memory_alloc_semaphore)
		STAP_PROBE3(otel_memory, alloc, block, size, size);
	untell(block);
}

static NOINLINE int wait_for_line(void)
{
	int c;
	while ((c = getchar()) != '\n')
		if (c == EOF)
			return 0;
	return 1;
}

int main(void)
{
	struct request request = { { 16, 300, 70000, 5 }, 60000 };
	setvbuf(stdout, 0, _IOLBF, 0);
	puts("ready");
	if (!wait_for_line())
		return 1;
	for (int i = 0; i < 100; i++) {
		tell_variable(100 + i, 3000 + i);
		tell_constant();
		tell_small(&request, i % 4);
		tell_and_free(50 + i);
	}
	// What stands for what: weights, and how many blocks told of it.
	printf("tell_variable %d %d\n", 100 * 3000 + 99 * 100 / 2, 100);
	printf("tell_constant %d %d\n", 100 * 524288, 100);
	printf("tell_small %d %d\n", 100 * 60000, 100);
	puts("done");
	if (!wait_for_line())
		return 1;
	printf("lookers %d %d\n", otel_memory_alloc_semaphore, otel_memory_free_semaphore);
	puts("done");
	wait_for_line();
	return 0;
}

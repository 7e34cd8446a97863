// Asks malloc for blocks and frees them, a thousand of them held at a time, and says how much CPU a
// block took. `loop BLOCKS WORK`: with each block some arithmetic is done, WORK rounds of it. It
// waits for a line before it begins.
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void *held[1000];
static volatile unsigned long sink;

static double cpu_nanos(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return 1e9 * (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       1e3 * (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// Some calls, so that there is a stack.
__attribute__((noinline)) static void *ask(int depth, size_t bytes)
{
	volatile char room[32];
	room[0] = (char)depth;
	void *block = depth ? ask(depth - 1, bytes) : malloc(bytes);
	room[1] = 1;
	return block;
}

int main(int argc, char **argv)
{
	unsigned long blocks = strtoul(argv[1], NULL, 10), work = strtoul(argv[2], NULL, 10);
	unsigned long random = 88172645463325252;
	if (argc != 3 || getchar() == EOF)
		return 1;
	double before = cpu_nanos();
	for (unsigned long i = 0; i < blocks; i++) {
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		void **place = &held[random % 1000];
		free(*place);
		*place = ask(8, 16 + (random >> 20) % 1000);
		for (unsigned long round = 0; round < work; round++)
			sink += round;
	}
	printf("%.1f\n", (cpu_nanos() - before) / blocks);
	return 0;
}

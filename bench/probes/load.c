// Nothing but what a probe sees: page faults, mappings, or system calls that it does not look at.
// One round for each line of input; answers with the CPU time that the round took, in nanoseconds.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096 };

static long cpu(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static volatile char *map(long pages)
{
	char *at = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		abort();
	madvise(at, pages * PAGE, MADV_NOHUGEPAGE);
	return at;
}

int main(int count, char **arguments)
{
	const char *what = count > 1 ? arguments[1] : "";
	char line[16];
	while (fgets(line, sizeof(line), stdin)) {
		long begun = cpu();
		if (!strcmp(what, "faults")) {
			enum { PAGES = 50000 };
			volatile char *at = map(PAGES);
			for (long page = 0; page < PAGES; page++)
				at[page * PAGE] = 1;
			munmap((void *)at, PAGES * PAGE);
		} else if (!strcmp(what, "mappings")) {
			for (int round = 0; round < 20000; round++)
				munmap((void *)map(16), 16 * PAGE);
		} else {
			for (int round = 0; round < 1000000; round++)
				syscall(SYS_getppid);
		}
		printf("%ld\n", cpu() - begun);
		fflush(stdout);
	}
	return 0;
}

// Keeps what it asks malloc for and writes to it, for ever. A line has it answer, or become another
// program; it ends when no more can come.
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTES = 64 << 10 };

static void *volatile kept;

__attribute__((noipa)) static void hold(void)
{
	char *at = malloc(BYTES);
	memset(at, 1, BYTES);
	kept = at;
}

static void *keep(void *unused)
{
	for (;;) {
		hold();
		usleep(1000);
	}
	return unused;
}

int main(void)
{
	char line[16];
	pthread_t thread;
	// Threads' own heaps are mapped as a whole; the first one grows by the piece.
	mallopt(M_ARENA_MAX, 1);
	if (pthread_create(&thread, 0, keep, 0))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "exec\n"))
			execl("/bin/sleep", "sleep", "60", (char *)0);
		puts("here");
		fflush(stdout);
	}
	return 0;
}

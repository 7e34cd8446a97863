// Asks for memory and frees it after times of its own, and says by function what it asked for and
// what it freed. It waits for a line before it begins and before it ends.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SITE __attribute__((noinline, noclone))

static void *volatile kept;
static void *held[500];

static void *keep(void *block)
{
	kept = block;
	*(volatile char *)block = 1;
	return block;
}

static void truth(const char *what, const char *site, unsigned long bytes, unsigned long blocks)
{
	printf("%s_%s %lu %lu\n", what, site, bytes, blocks);
}

static void pause_for(long milliseconds)
{
	struct timespec rest = { 0, milliseconds * 1000000 };
	while (nanosleep(&rest, &rest))
		;
}

// Freed at once.
SITE static void lives_brief(void)
{
	for (int i = 0; i < 3000; i++)
		free(keep(malloc(100 + i % 7)));
	truth("asked", "lives_brief", 308994, 3000);
	truth("freed", "lives_brief", 308994, 3000);
}

// Most of it after 200 ms.
SITE static void lives_while(void)
{
	for (int i = 0; i < 500; i++)
		held[i] = keep(malloc(5000));
	pause_for(200);
	for (int i = 0; i < 400; i++)
		free(held[i]);
	truth("asked", "lives_while", 2500000, 500);
	truth("freed", "lives_while", 2000000, 400);
}

// Each enlarged block is another; what cannot be enlarged lives on.
SITE static void lives_grown(void)
{
	for (int i = 0; i < 10; i++) {
		char *block = keep(malloc(1000));
		pause_for(20);
		block = keep(realloc(block, 3000));
		volatile size_t huge = (size_t)-1 / 2;
		if (realloc(block, huge))
			abort();
	}
	truth("asked", "lives_grown", 40000, 20);
	truth("freed", "lives_grown", 10000, 10);
}

int main(void)
{
	char line[16];
	setvbuf(stdout, NULL, _IOLBF, 1 << 12);
	puts("ready");
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	lives_brief();
	lives_while();
	lives_grown();
	puts("done");
	return fgets(line, sizeof(line), stdin) != NULL;
}

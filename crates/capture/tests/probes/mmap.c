// A program that maps and unmaps as it is told, with the functions below as the sites. Lengths are
// pages. It answers with what must be mapped by each of them.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096 };

static char *checked(void *at)
{
	if (at == MAP_FAILED)
		abort();
	return at;
}

static char *map(long pages, int protection, int flags)
{
	return checked(mmap(0, pages * PAGE, protection, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

__attribute__((noinline)) static char *map_first(long pages)
{
	char *at = map(pages, PROT_READ | PROT_WRITE, 0);
	asm volatile("" : "+r"(at));
	return at;
}

__attribute__((noinline)) static char *map_second(long pages)
{
	char *at = map(pages, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	asm volatile("" : "+r"(at));
	return at;
}

__attribute__((noinline)) static char *reserve(long pages)
{
	char *at = map(pages, PROT_NONE, MAP_NORESERVE);
	asm volatile("" : "+r"(at));
	return at;
}

__attribute__((noinline)) static char *map_over(char *at, long pages)
{
	at = checked(mmap(at, pages * PAGE, PROT_READ | PROT_WRITE,
		MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	asm volatile("" : "+r"(at));
	return at;
}

__attribute__((noinline)) static char *make_larger(char *at, long from, long to)
{
	at = checked(mremap(at, from * PAGE, to * PAGE, MREMAP_MAYMOVE));
	asm volatile("" : "+r"(at));
	return at;
}

__attribute__((noinline)) static void grow_break(long pages)
{
	if (sbrk(pages * PAGE) == (void *)-1)
		abort();
	asm volatile("");
}

// Bytes that are mapped by each site, known by what is done below.
static long first, second, reserved, over, larger, grown;

static void change(void)
{
	// A hole in the middle, and the rest of a page counts as one.
	char *a = map_first(100);
	first += 100;
	munmap(a + 10 * PAGE, 20 * PAGE - 1);
	first -= 20;
	// Two that lie together, unmapped over the border; which of them is below does not matter.
	char *b = map_second(50), *c = map_second(50);
	second += 100;
	munmap(b, 30 * PAGE);
	munmap(c + 25 * PAGE, 25 * PAGE);
	second -= 55;
	// It fails: nothing changes.
	if (munmap(a + 1, PAGE) == 0 || mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		abort();
	// Address space that is kept free, and used in part.
	char *d = reserve(1000);
	reserved += 1000;
	map_over(d + 100 * PAGE, 64);
	reserved -= 64;
	over += 64;
	madvise(d + 100 * PAGE, 16 * PAGE, MADV_DONTNEED);
	madvise(d + 120 * PAGE, 4 * PAGE, MADV_FREE);
	if (mprotect(d + 500 * PAGE, 10 * PAGE, PROT_READ))
		abort();
	// This gives nothing back.
	madvise(d + 130 * PAGE, 4 * PAGE, MADV_NOHUGEPAGE);
	// Larger, which moves it: behind it lies something.
	char *e = map_first(8);
	first += 8;
	e = make_larger(e, 8, 3000);
	larger += 2992;
	e = make_larger(e, 3000, 4);
	larger -= 2992;
	first -= 4;
	munmap(e, PAGE);
	first -= 1;
	// The heap of brk.
	grow_break(33);
	grow_break(-13);
	grown += 20;
}

__attribute__((noinline)) static void *storm(void *unused)
{
	for (long round = 0; round < 5000; round++) {
		long pages = 1 + round * 7 % 13;
		munmap(map(pages, PROT_READ, 0), pages * PAGE);
	}
	return 0;
}

// Four at once, so that one is given what another just gave up.
static void all_at_once(void)
{
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], 0, storm, 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], 0);
}

int main(int count, char **arguments)
{
	char line[64], answer[256];
	if (count > 1 && write(1, "again\n", 6) != 6)
		abort();
	for (ssize_t got; (got = read(0, line, sizeof(line))) > 0;) {
		if (line[0] == 'c')
			change();
		if (line[0] == 's')
			all_at_once();
		if (line[0] == 'e')
			execl("/proc/self/exe", "mmap", "again", NULL);
		int size = snprintf(answer, sizeof(answer), "%ld %ld %ld %ld %ld %ld\n", first * PAGE,
			second * PAGE, reserved * PAGE, over * PAGE, larger * PAGE, grown * PAGE);
		if (write(1, answer, size) != size)
			abort();
	}
	return 0;
}

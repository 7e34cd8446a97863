// A program that touches memory as it is told, one line each: WHAT PAGES. It answers with a line
// when it has done so, and does nothing between the two.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };
static volatile char sink;

__attribute__((noinline)) static void touch_pages(volatile char *at, long pages)
{
	for (long page = 0; page < pages; page++)
		at[page * PAGE] = 1;
}

__attribute__((noinline)) static void look_at_pages(volatile char *at, long pages)
{
	for (long page = 0; page < pages; page++)
		sink = at[page * PAGE];
}

// One frame for each page.
__attribute__((noinline)) static void go_deep(long pages)
{
	volatile char page[PAGE];
	page[0] = 1;
	if (pages > 1)
		go_deep(pages - 1);
	page[1] = 2;
}

static char *map(long pages, int flags, int file)
{
	char *at = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, flags, file, 0);
	if (at == MAP_FAILED)
		abort();
	madvise(at, pages * PAGE, MADV_NOHUGEPAGE);
	return at;
}

static long pages;

static void *in_thread(void *at)
{
	touch_pages(at, pages);
	return 0;
}

static volatile int is_over;

static void *map_and_unmap(void *unused)
{
	while (!is_over)
		munmap(map(4, MAP_PRIVATE | MAP_ANONYMOUS, -1), 4 * PAGE);
	return 0;
}

int main(void)
{
	char line[64], what[32];
	char *kept = 0;
	static char name[] = "/var/tmp/memsight-faults-XXXXXX";
	int file = mkstemp(name), zeros = open("/dev/zero", O_RDONLY), memory = memfd_create("planted", 0);
	unlink(name);
	for (ssize_t read_bytes; (read_bytes = read(0, line, sizeof(line) - 1)) > 0;) {
		line[read_bytes] = 0;
		if (sscanf(line, "%31s %ld", what, &pages) != 2)
			abort();
		if (!strcmp(what, "fresh")) {
			touch_pages(kept = map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1), pages);
		} else if (!strcmp(what, "huge")) {
			char *at = map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
			if (madvise(at, pages * PAGE, MADV_HUGEPAGE))
				abort();
			touch_pages(at, pages);
		} else if (!strcmp(what, "read")) {
			look_at_pages(map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1), pages);
		} else if (!strcmp(what, "again")) {
			touch_pages(kept, pages);
		} else if (!strcmp(what, "copy")) {
			// The child has the same pages, so that ours are copied; its own faults are not ours. It
			// rests when we begin: two that copy one page at once may fault twice.
			int ends[2];
			if (pipe(ends))
				abort();
			pid_t child = fork();
			if (!child) {
				touch_pages(map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1), pages);
				close(ends[1]);
				pause();
			}
			close(ends[1]);
			if (read(ends[0], line, 1))
				abort();
			close(ends[0]);
			touch_pages(kept, pages);
			kill(child, 9);
			waitpid(child, 0, 0);
		} else if (!strcmp(what, "shared")) {
			if (ftruncate(memory, pages * PAGE))
				abort();
			touch_pages(map(pages, MAP_SHARED, memory), pages);
		} else if (!strcmp(what, "file")) {
			if (ftruncate(file, pages * PAGE))
				abort();
			touch_pages(map(pages, MAP_PRIVATE, file), pages);
		} else if (!strcmp(what, "brk")) {
			char *at = sbrk(pages * PAGE);
			touch_pages((char *)(((long)at + PAGE - 1) & -PAGE), pages);
		} else if (!strcmp(what, "stack")) {
			go_deep(pages);
		} else if (!strcmp(what, "kernel")) {
			if (read(zeros, map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1), pages * PAGE) != pages * PAGE)
				abort();
		} else if (!strcmp(what, "futex")) {
			// The kernel looks first whether the page is there, which is no page fault, then has it.
			char *at = map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
			for (long page = 0; page < pages; page++)
				syscall(SYS_futex, at + page * PAGE, FUTEX_WAIT_PRIVATE, 1, 0, 0, 0);
		} else if (!strcmp(what, "thread")) {
			pthread_t thread;
			pthread_create(&thread, 0, in_thread, map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1));
			pthread_join(thread, 0);
		} else if (!strcmp(what, "busy")) {
			// While another thread changes mappings all the time.
			pthread_t thread;
			is_over = 0;
			pthread_create(&thread, 0, map_and_unmap, 0);
			touch_pages(kept = map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1), pages);
			is_over = 1;
			pthread_join(thread, 0);
		} else if (!strcmp(what, "back")) {
			munmap(kept, pages * PAGE);
		} else if (strcmp(what, "nothing")) {
			abort();
		}
		if (write(1, "done\n", 5) != 5)
			abort();
	}
	return 0;
}

// Eight threads ask for blocks, change their size and free them, each also those of the others, and
// what is left in the end is said. It waits for a line before it begins and before it ends.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 8, PLACES = 2000, STEPS = 20000 };

static struct place {
	pthread_mutex_t lock;
	void *block;
	size_t bytes;
} places[PLACES];

__attribute__((noinline)) static void change(struct place *place, unsigned way, size_t bytes)
{
	if (way == 0) {
		place->block = realloc(place->block, bytes);
		place->bytes = bytes;
		return;
	}
	free(place->block);
	place->block = way == 1 ? malloc(bytes) : way == 2 ? calloc(1, bytes) : NULL;
	place->bytes = place->block ? bytes : 0;
}

static void *work(void *seed)
{
	uint64_t random = (uintptr_t)seed * 7919 + 88172645463325252;
	for (int i = 0; i < STEPS; i++) {
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		struct place *place = &places[random % PLACES];
		pthread_mutex_lock(&place->lock);
		change(place, random >> 50 & 3, 1 + (random >> 24) % 3000);
		pthread_mutex_unlock(&place->lock);
	}
	return NULL;
}

static void wait_for_line(void)
{
	fflush(stdout);
	char letter;
	while (read(0, &letter, 1) == 1 && letter != '\n')
		;
}

int main(void)
{
	pthread_t threads[THREADS];
	size_t bytes = 0, blocks = 0;
	for (int i = 0; i < PLACES; i++)
		pthread_mutex_init(&places[i].lock, NULL);
	printf("ready\n");
	wait_for_line();
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < PLACES; i++) {
		bytes += places[i].bytes;
		blocks += places[i].block != NULL;
	}
	printf("change %zu %zu\n", bytes, blocks);
	printf("done\n");
	wait_for_line();
	return 0;
}

// Asks for memory in the ways of C++, frees some of it, and says what is left by the function that
// asked. It waits for a line before it begins and before it ends.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#define SITE extern "C" __attribute__((noinline, noclone))

namespace {

void *volatile kept;

// A compiler that sees nobody use an object leaves it out.
template <typename T> T *keep(T *object)
{
	kept = object;
	return object;
}

void truth(const char *site, unsigned long bytes, unsigned long blocks)
{
	std::printf("%s %lu %lu\n", site, bytes, blocks);
}

struct Base {
	virtual ~Base() = default;
	virtual void ask() = 0;
};

struct alignas(64) Wide {
	char room[192];
};

void wait_for_line()
{
	std::fflush(stdout);
	char letter;
	while (read(0, &letter, 1) == 1 && letter != '\n')
		;
}

} // namespace

SITE void leak_new()
{
	for (int i = 0; i < 500; i++)
		keep(new char[48]);
	for (int i = 0; i < 100; i++)
		keep(new (std::nothrow) char[1000]);
	for (int i = 0; i < 10; i++)
		keep(new Wide);
	truth("leak_new", 500 * 48 + 100 * 1000 + 10 * sizeof(Wide), 610);
}

SITE void leak_vector()
{
	auto *grown = keep(new std::vector<long>);
	for (long i = 0; i < 10000; i++)
		grown->push_back(i);
	truth("leak_vector", sizeof(*grown) + grown->capacity() * sizeof(long), 2);
}

SITE void leak_containers()
{
	auto *ages = keep(new std::map<int, int>);
	for (int i = 0; i < 100; i++)
		(*ages)[i] = i;
	auto *names = keep(new std::list<std::string>);
	for (int i = 0; i < 50; i++)
		names->emplace_back(99, 'x');
	unsigned long node = sizeof(std::_Rb_tree_node<std::pair<const int, int>>);
	unsigned long item = sizeof(std::_List_node<std::string>);
	truth("leak_containers", sizeof(*ages) + 100 * node + sizeof(*names) + 50 * (item + 100), 202);
}

struct Derived : Base {
	// Called through a table that the compiler cannot see through.
	__attribute__((noinline)) void ask() override
	{
		for (int i = 0; i < 30; i++)
			keep(new int[250]);
	}
};

SITE void leak_virtual(Base *base)
{
	base->ask();
	truth("leak_virtual", 30000, 30);
}

SITE void leak_lambda()
{
	std::function<void(int)> ask = [](int number) { keep(new char[number]); };
	for (int i = 0; i < 20; i++)
		ask(321);
	truth("leak_lambda", 6420, 20);
}

// A call that ends by an exception, and is not the last of its thread.
SITE void leak_exceptions()
{
	volatile size_t huge = PTRDIFF_MAX;
	for (int i = 0; i < 5; i++) {
		try {
			keep(new char[huge]);
			std::abort();
		} catch (const std::bad_alloc &) {
			keep(new char[77]);
		}
		try {
			auto held = std::make_unique<char[]>(5000);
			throw std::runtime_error("a text that is too long to be kept in the string itself");
		} catch (const std::runtime_error &) {
			keep(new char[77]);
		}
	}
	truth("leak_exceptions", 770, 10);
}

SITE void leak_in_thread()
{
	for (int i = 0; i < 100; i++)
		keep(new double[32]);
}

SITE void no_leak()
{
	for (int i = 0; i < 1000; i++) {
		std::vector<std::string> words(10, std::string(100, 'w'));
		std::shared_ptr<Wide> wide = std::make_shared<Wide>();
		keep(wide.get());
	}
}

int main(int argc, char **)
{
	std::printf("ready\n");
	wait_for_line();
	leak_new();
	leak_vector();
	leak_containers();
	std::unique_ptr<Base> base(new Derived);
	leak_virtual(base.get());
	leak_lambda();
	// Not every allocator throws.
	if (argc == 1)
		leak_exceptions();
	std::thread first(leak_in_thread), second(leak_in_thread);
	first.join();
	second.join();
	truth("leak_in_thread", 2 * 100 * 32 * sizeof(double), 200);
	no_leak();
	std::printf("done\n");
	wait_for_line();
	return 0;
}

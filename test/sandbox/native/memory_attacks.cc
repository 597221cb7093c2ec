// More memory than there may be, by each kind of mapping that a limit may count or forget.

#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include <cstdlib>

#include "attack.h"

namespace hostile {
namespace {

constexpr long kChunk = 16l << 20;
constexpr long kEnough = 2l << 30;  // far beyond what any test allows

long anonymous(int protection, int flags, long size = kChunk) {
  return call(__NR_mmap, 0, size, protection, MAP_ANONYMOUS | flags, -1, 0);
}

void touch(long address, long size = kChunk) {
  for (long offset = 0; offset < size; offset += 4096)
    reinterpret_cast<volatile char*>(address)[offset] = 1;
}

// Maps and touches until it is refused or has had enough.
long take(int flags) {
  for (long taken = 0; taken < kEnough; taken += kChunk) {
    const long address = anonymous(PROT_READ | PROT_WRITE, flags);
    if (address < 0 && address > -4096) return address;
    touch(address);
  }
  return kEnough;
}

const Attack kAttacks[] = {
    {"memory-private", [](const Loot&) { return take(MAP_PRIVATE); }},
    // Shared memory is no data to RLIMIT_DATA.
    {"memory-shared", [](const Loot&) { return take(MAP_SHARED); }},
    // Nor is what may grow downwards: it counts as stack.
    {"memory-grows-down", [](const Loot&) { return take(MAP_PRIVATE | MAP_GROWSDOWN); }},
    {"memory-locked", [](const Loot&) { return take(MAP_PRIVATE | MAP_LOCKED); }},
    {"memory-huge-pages", [](const Loot&) { return take(MAP_PRIVATE | MAP_HUGETLB); }},
    // Mapped as nothing, and made writable afterwards.
    {"memory-protect", [](const Loot&) {
       for (long taken = 0; taken < kEnough; taken += kChunk) {
         const long address = anonymous(PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
         if (address < 0 && address > -4096) return address;
         const long result = call(__NR_mprotect, address, kChunk, PROT_READ | PROT_WRITE);
         if (result < 0) return result;
         touch(address);
       }
       return kEnough;
     }},
    {"memory-brk", [](const Loot&) {
       const long start = call(__NR_brk, 0);
       for (long taken = kChunk; taken < kEnough; taken += kChunk) {
         if (call(__NR_brk, start + taken) != start + taken) return static_cast<long>(-ENOMEM);
         touch(start + taken - kChunk);
       }
       return kEnough;
     }},
    {"memory-remap", [](const Loot&) {
       long address = anonymous(PROT_READ | PROT_WRITE, MAP_PRIVATE);
       for (long size = kChunk; size < kEnough; size += kChunk) {
         const long next = call(__NR_mremap, address, size, size + kChunk, MREMAP_MAYMOVE);
         if (next < 0 && next > -4096) return next;
         address = next;
         touch(address + size);
       }
       return kEnough;
     }},
    // Reads of the zero page over and over: no memory of its own but the page tables.
    {"memory-page-tables", [](const Loot&) {
       constexpr long kSpan = 1l << 40;
       const long address = anonymous(PROT_READ, MAP_PRIVATE | MAP_NORESERVE, kSpan);
       if (address < 0 && address > -4096) return address;
       for (long offset = 0; offset < kSpan; offset += 2l << 20)
         (void)reinterpret_cast<volatile char*>(address)[offset];
       return kEnough;
     }},
    // Takes some, under a name that reads like the line by which it is measured, and waits.
    {"memory-under-a-false-name", [](const Loot&) {
       call(__NR_prctl, 15 /* PR_SET_NAME */, reinterpret_cast<long>("VmRSS:\t1 kB"));
       for (int i = 0; i < 3; ++i) touch(anonymous(PROT_READ | PROT_WRITE, MAP_PRIVATE));
       const timespec hour{3600, 0};
       return call(__NR_nanosleep, reinterpret_cast<long>(&hour), 0);
     }},
    {"memory-lock-all", [](const Loot&) { return call(__NR_mlockall, MCL_CURRENT | MCL_FUTURE); }},
    {"memory-numa", [](const Loot&) { return call(__NR_move_pages, 1, 0, 0, 0, 0, 0); }},
    {"threads", [](const Loot&) {
       // Each is a stack of the kernel's and a place in its scheduler.
       pthread_attr_t attributes;
       pthread_attr_init(&attributes);
       pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
       for (long count = 0; count < 20'000; ++count) {
         pthread_t thread;
         const auto sleep = [](void*) -> void* {
           const timespec hour{3600, 0};
           for (;;) nanosleep(&hour, nullptr);
         };
         if (const int error = pthread_create(&thread, &attributes, sleep, nullptr))
           return static_cast<long>(-error);
       }
       return 20'000l;
     }},
};

}  // namespace

std::span<const Attack> memory_attacks() { return kAttacks; }

}  // namespace hostile

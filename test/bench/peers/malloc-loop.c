/*
 * Peers (b) and (c): malloc and free of the C library, or of what LD_PRELOAD put in its place, called from a C loop.
 *   malloc-loop <events> <symbol>   symbol: one that only the wanted library has, "glibc" for the C library itself
 *   malloc-loop version             prints the version of what LD_PRELOAD put in its place, if that is mimalloc or jemalloc
 */
#define _GNU_SOURCE
#include "events.h"

#include <dlfcn.h>

static Events events;
static void **live;
static int is_glibc;

static void replay(uint64_t from, uint64_t to) {
  for (uint64_t i = from; i < to; i++) {
    int32_t slot = events.slots[i];
    if (slot >= 0) {
      live[slot] = malloc(events.bytes[i]);
    } else {
      free(live[~slot]);
      live[~slot] = NULL;
    }
  }
}

static void drain(void) {
  for (uint64_t slot = 0; slot < events.slot_count; slot++) {
    free(live[slot]);
    live[slot] = NULL;
  }
}

/* glibc keeps the size of a block and a mark for a mapping of its own in the word before it. */
static uint64_t mapped_bytes(void *block) {
  uint64_t size = *(const uint64_t *)((uintptr_t)block - sizeof(uint64_t));
  return size & 2 ? size & ~7ull : 0;
}

/* What glibc got from the system: steps of the break, and a mapping for each large block. Other libraries do not show it. */
static void cold(void) {
  if (!is_glibc) {
    replay(0, events.length);
    drain();
    printf("{}\n");
    return;
  }
  uint64_t calls = 0, mapped = 0, peak = 0;
  char *start = (char *)sbrk(0), *end = start;
  for (uint64_t i = 0; i < events.length; i++) {
    int32_t slot = events.slots[i];
    if (slot >= 0) {
      live[slot] = malloc(events.bytes[i]);
      uint64_t own = live[slot] ? mapped_bytes(live[slot]) : 0;
      mapped += own;
      calls += own != 0;
    } else {
      uint64_t own = live[~slot] ? mapped_bytes(live[~slot]) : 0;
      free(live[~slot]);
      live[~slot] = NULL;
      mapped -= own;
      calls += own != 0;
    }
    char *now = (char *)sbrk(0);
    calls += now != end;
    end = now;
    uint64_t held = (uint64_t)(end - start) + mapped;
    if (held > peak) peak = held;
  }
  drain();
  printf("{\"nativeCalls\":%llu,\"peakReservedBytes\":%llu}\n", (unsigned long long)calls, (unsigned long long)peak);
}

static void print_version(void) {
  int (*mi_version)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "mi_version");
  int (*mallctl)(const char *, void *, size_t *, void *, size_t) = dlsym(RTLD_DEFAULT, "mallctl");
  const char *text = "";
  size_t size = sizeof text;
  if (mi_version) {
    /* 209 is 2.0.9; later versions say 3.1.5 by 30105, or by 315. */
    int version = mi_version();
    int base = version < 1000 ? 10 : 100;
    printf("%d.%d.%d\n", version / base / base, version / base % base, version % base);
  } else if (mallctl && mallctl("version", &text, &size, NULL, 0) == 0) {
    printf("%.*s\n", (int)strcspn(text, "-"), text);
  }
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "version") == 0) {
    print_version();
    return 0;
  }
  if (argc != 3) return 2;
  is_glibc = strcmp(argv[2], "glibc") == 0;
  if (!is_glibc && !dlsym(RTLD_DEFAULT, argv[2])) {
    fprintf(stderr, "LD_PRELOAD brought no %s\n", argv[2]);
    return 3;
  }
  events = load_events(argv[1]);
  /* Not from malloc: nothing but the trace's blocks lies in the measured heap. */
  live = (void **)mmap(NULL, events.slot_count * sizeof *live + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (live == MAP_FAILED) return 2;
  Peer peer = {replay, drain, cold, NULL};
  serve(&peer, &events);
}

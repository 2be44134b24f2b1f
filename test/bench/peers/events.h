/* What every native peer shares: the events of a trace, mapped from a file, and the commands it answers on stdin. */
#ifndef STOWAGE_BENCH_EVENTS_H
#define STOWAGE_BENCH_EVENTS_H

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* As test/bench/event-file.ts writes them. slots: the slot that an allocation fills, or ~slot for a free. */
typedef struct {
  uint64_t length, slot_count, peak_live_bytes;
  const uint64_t *bytes;
  const int32_t *slots;
} Events;

static Events load_events(const char *path) {
  struct stat status;
  int file = open(path, O_RDONLY);
  if (file < 0 || fstat(file, &status) != 0) {
    perror(path);
    exit(2);
  }
  const uint64_t *words = (const uint64_t *)mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
  close(file);
  if (words == (const uint64_t *)MAP_FAILED) {
    perror("mmap");
    exit(2);
  }
  Events events = {words[0], words[1], words[2], words + 4, (const int32_t *)(words + 4 + words[0])};
  return events;
}

/* The thread's processor time: what other programs take meanwhile is not in it. */
static double now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* What a peer does on each command; a command that it has nothing for is NULL. */
typedef struct {
  void (*replay)(uint64_t from, uint64_t to); /* those events, timed */
  void (*drain)(void);                        /* frees what the trace left live, untimed */
  void (*cold)(void);                         /* prints one line of JSON about a first replay */
  int (*fits)(uint64_t bytes);                /* whether the trace completes on a device of that capacity */
} Peer;

enum { MAX_TIMES = 4096 };
static double times[MAX_TIMES];

static double timed_replay(const Peer *peer, uint64_t from, uint64_t to) {
  double start = now_ns();
  peer->replay(from, to);
  return (now_ns() - start) / (double)(to > from ? to - from : 1);
}

static void print_median(int count) {
  qsort(times, (size_t)count, sizeof *times, by_value);
  printf("{\"nsPerEvent\":%.4f}\n", times[count / 2]);
}

/* One round: replays the trace as often as told and prints the median time of an event. */
static void serve_round(const Peer *peer, const Events *events, int repeats) {
  if (repeats > MAX_TIMES) repeats = MAX_TIMES;
  for (int i = 0; i < repeats; i++) {
    times[i] = timed_replay(peer, 0, events->length);
    peer->drain();
  }
  print_median(repeats);
}

/* One replay, of which the events from `first` on are timed in parts of equal length: prints the median time of an event. */
static void serve_parts(const Peer *peer, const Events *events, uint64_t first, int count) {
  if (first > events->length || count < 1 || count > MAX_TIMES || (events->length - first) % (uint64_t)count != 0) {
    printf("{\"error\":\"no such parts\"}\n");
    return;
  }
  uint64_t length = (events->length - first) / (uint64_t)count;
  peer->replay(0, first);
  for (int i = 0; i < count; i++, first += length) times[i] = timed_replay(peer, first, first + length);
  print_median(count);
  fflush(stdout); /* a peer may take minutes to free a million blocks */
  peer->drain();
}

/* Answers one command a line until stdin ends, each with one line of JSON. */
static void serve(const Peer *peer, const Events *events) {
  char line[128];
  uint64_t first;
  int count;
  while (fgets(line, sizeof line, stdin)) {
    if (strncmp(line, "cold", 4) == 0) {
      peer->cold();
    } else if (strncmp(line, "warm", 4) == 0) {
      peer->replay(0, events->length);
      peer->drain();
      printf("{}\n");
    } else if (strncmp(line, "round ", 6) == 0) {
      serve_round(peer, events, atoi(line + 6) > 0 ? atoi(line + 6) : 1);
    } else if (sscanf(line, "parts %" SCNu64 " %d", &first, &count) == 2) {
      serve_parts(peer, events, first, count);
    } else if (strncmp(line, "fits ", 5) == 0 && peer->fits) {
      printf("{\"fits\":%s}\n", peer->fits(strtoull(line + 5, NULL, 10)) ? "true" : "false");
    } else {
      printf("{\"error\":\"no such command\"}\n");
    }
    fflush(stdout);
  }
}

#endif

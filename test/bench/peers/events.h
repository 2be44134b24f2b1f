/* What every native peer shares: the events of a trace, mapped from a file, and the commands it answers on stdin. */
#ifndef STOWAGE_BENCH_EVENTS_H
#define STOWAGE_BENCH_EVENTS_H

#include <fcntl.h>
#include <stdint.h>
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
  void (*replay)(void);        /* all events, timed */
  void (*drain)(void);         /* frees what the trace left live, untimed */
  void (*cold)(void);          /* prints one line of JSON about a first replay */
  int (*fits)(uint64_t bytes); /* whether the trace completes on a device of that capacity */
} Peer;

enum { MAX_REPEATS = 4096 };

/* One round: replays the trace as often as told and prints the median time of an event. */
static void serve_round(const Peer *peer, const Events *events, int repeats) {
  static double times[MAX_REPEATS];
  if (repeats > MAX_REPEATS) repeats = MAX_REPEATS;
  for (int i = 0; i < repeats; i++) {
    double start = now_ns();
    peer->replay();
    times[i] = (now_ns() - start) / (double)(events->length ? events->length : 1);
    peer->drain();
  }
  qsort(times, (size_t)repeats, sizeof *times, by_value);
  printf("{\"nsPerEvent\":%.4f}\n", times[repeats / 2]);
}

/* Answers one command a line until stdin ends, each with one line of JSON. */
static void serve(const Peer *peer, const Events *events) {
  char line[128];
  while (fgets(line, sizeof line, stdin)) {
    if (strncmp(line, "cold", 4) == 0) {
      peer->cold();
    } else if (strncmp(line, "warm", 4) == 0) {
      peer->replay();
      peer->drain();
      printf("{}\n");
    } else if (strncmp(line, "round ", 6) == 0) {
      serve_round(peer, events, atoi(line + 6) > 0 ? atoi(line + 6) : 1);
    } else if (strncmp(line, "fits ", 5) == 0 && peer->fits) {
      printf("{\"fits\":%s}\n", peer->fits(strtoull(line + 5, NULL, 10)) ? "true" : "false");
    } else {
      printf("{\"error\":\"no such command\"}\n");
    }
    fflush(stdout);
  }
}

#endif

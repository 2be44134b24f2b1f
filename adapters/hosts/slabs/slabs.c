// Small blocks for C libraries, without a call into JavaScript. `npm run build:slabs` compiles this file
// to bytes that need no loader: slab-code.ts, part of the repository. native-slabs.ts maps them, and makes the slabs.
//
// A slab is a block of a manager, cut into cells of one size. A cell is a header of 16 bytes and what C may use. Cells
// that were freed are a list in the slab. Slabs that have room are a list for each size class: the first one serves.
// A block above MAX_CELL_BYTES is a matter of JavaScript, which writes headers of its own (c-heap.ts): the size comes first there, too.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define MAX_CELL_BYTES 8192
#define STEP_BYTES 16
#define CLASSES 128
#define SLABS 16384
/** The header's last word. What c-heap.ts writes there is another. */
#define LIVE 0x5ce11a11u
#define FREE 0x5ce11f0eu
/** A cell that shrinks is moved when three quarters of it, and more than this, would lie idle. */
#define WORTH_MOVING_BYTES 256

struct header {
  u32 bytes;
  u32 unused;
  u32 slab;
  u32 mark;
};

struct cell {
  struct cell *next;
};

/** The number of a slab is its place in the array; 0 is none. */
struct slab {
  struct cell *free;
  /** Cells from here to the end have never been used. */
  u8 *fresh;
  u8 *end;
  u32 cell_bytes;
  u32 size_class;
  u32 live;
  u32 next;
  /** It is in the list of its class, or must never be. */
  u32 listed;
  /** Nobody wants to know when its last cell is freed. */
  u32 kept;
  u64 unused[2];
};

/** What lies in the page behind the code. */
struct heap {
  u32 lock;
  u32 live;
  /** Functions of JavaScript. */
  int (*refill)(u32 size_class);
  void *(*malloc)(u64 bytes);
  void (*free)(void *ptr);
  void *(*realloc)(void *ptr, u64 bytes);
  /** The last cell of a slab is free; 0: of all slabs. */
  void (*emptied)(u32 slab);
  u64 unused[2];
  u32 lists[CLASSES];
  u8 class_of[MAX_CELL_BYTES / STEP_BYTES + 1];
  struct slab slabs[SLABS] __attribute__((aligned(2048)));
};

// native-slabs.ts counts on these.
_Static_assert(__builtin_offsetof(struct heap, refill) == 8 && __builtin_offsetof(struct heap, lists) == 64, "heap");
_Static_assert(__builtin_offsetof(struct heap, class_of) == 576 && __builtin_offsetof(struct heap, slabs) == 2048, "heap");
_Static_assert(sizeof(struct slab) == 64 && __builtin_offsetof(struct slab, cell_bytes) == 24, "slab");

extern struct heap heap __attribute__((visibility("hidden")));

/** Held for some ten instructions, and never while JavaScript runs: whoever waits may spin. */
static inline void lock(void) {
  while (__atomic_exchange_n(&heap.lock, 1, __ATOMIC_ACQUIRE)) {
    while (__atomic_load_n(&heap.lock, __ATOMIC_RELAXED)) {
#ifdef __x86_64__
      __builtin_ia32_pause();
#endif
    }
  }
}

static inline void unlock(void) { __atomic_store_n(&heap.lock, 0, __ATOMIC_RELEASE); }

static inline struct header *header_of(void *ptr) { return (struct header *)ptr - 1; }

/** A cell of a slab; null when it has no room. */
static inline struct cell *take(struct slab *slab, u32 number) {
  struct cell *cell = slab->free;
  if (cell) {
    slab->free = cell->next;
    return cell;
  }
  if (slab->fresh == slab->end) return 0;
  struct header *header = (struct header *)slab->fresh;
  slab->fresh += sizeof(struct header) + slab->cell_bytes;
  header->bytes = slab->cell_bytes;
  header->slab = number;
  return (struct cell *)(header + 1);
}

void *slabs_malloc(u64 bytes) {
  if (__builtin_expect(bytes > MAX_CELL_BYTES, 0)) return heap.malloc(bytes);
  u32 *list = &heap.lists[heap.class_of[(bytes + STEP_BYTES - 1) / STEP_BYTES]];
  do {
    lock();
    for (u32 number; (number = *list);) {
      struct slab *slab = &heap.slabs[number];
      struct cell *cell = take(slab, number);
      if (__builtin_expect(cell != 0, 1)) {
        header_of(cell)->mark = LIVE;
        slab->live++;
        heap.live++;
        unlock();
        return cell;
      }
      *list = slab->next;
      slab->listed = 0;
    }
    unlock();
  } while (heap.refill(list - heap.lists));
  return 0;
}

void slabs_free(void *ptr) {
  if (!ptr) return;
  struct header *header = header_of(ptr);
  if (__builtin_expect(header->mark != LIVE, 0)) {
    heap.free(ptr);
    return;
  }
  u32 number = header->slab;
  struct slab *slab = &heap.slabs[number];
  struct cell *cell = ptr;
  lock();
  header->mark = FREE;
  cell->next = slab->free;
  slab->free = cell;
  if (!slab->listed) {
    slab->listed = 1;
    slab->next = heap.lists[slab->size_class];
    heap.lists[slab->size_class] = number;
  }
  u32 is_emptied = --slab->live == 0 && !slab->kept;
  u32 are_all = --heap.live == 0;
  unlock();
  if (__builtin_expect(is_emptied | are_all, 0)) heap.emptied(are_all ? 0 : number);
}

/** What `ptr` has room for. */
u32 slabs_size(void *ptr) { return ptr ? header_of(ptr)->bytes : 0; }

void *slabs_realloc(void *ptr, u64 bytes) {
  if (!ptr) return slabs_malloc(bytes);
  if (header_of(ptr)->mark != LIVE) return heap.realloc(ptr, bytes);
  u64 held = header_of(ptr)->bytes;
  if (bytes <= held && (held <= WORTH_MOVING_BYTES || bytes > held / 4)) return ptr;
  u64 *moved = slabs_malloc(bytes);
  if (!moved) return bytes <= held ? ptr : 0;
  u64 words = ((bytes < held ? bytes : held) + 7) / 8;
  for (u64 i = 0; i < words; i++) moved[i] = ((u64 *)ptr)[i];
  slabs_free(ptr);
  return moved;
}

// SQLite's sizes are ints. It asks for none below 1.
void *sqlite_malloc(int bytes) { return slabs_malloc((u32)bytes); }
void *sqlite_realloc(void *ptr, int bytes) { return slabs_realloc(ptr, (u32)bytes); }
int sqlite_roundup(int bytes) { return (bytes + 7) & ~7; }

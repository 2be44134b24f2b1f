// Peer (a): CachingMemoryManager's policy in lean C++, over a device of addresses without memory.
// Blocks are reached by pointer, without a lookup by address; nothing is counted but what the device holds.
//   caching <events>   then commands on stdin, see events.h
// Source of the policy: Flashlight, fl::CachingMemoryManager (512 B steps, 2 MiB and 20 MiB segments, best fit, coalescing).
#include <algorithm>
#include <cinttypes>
#include <unordered_map>
#include <vector>

extern "C" {
#include "events.h"
}

namespace {

constexpr uint64_t kStep = 512;
constexpr uint64_t kLargestSmall = 1 << 20;
constexpr uint64_t kSmallSegment = 2 << 20;
constexpr uint64_t kLargeSegment = 20 << 20;
constexpr uint64_t kOwnSegment = 10 << 20;
constexpr uint64_t kOwnSegmentStep = 2 << 20;

// Addresses are never used twice: the next segment begins where the one before ended.
class Device {
 public:
  explicit Device(uint64_t capacity) : capacity_(capacity) {}

  uint64_t allocate(uint64_t bytes) {
    calls_++;
    if (bytes > capacity_ - held_) return 0;
    uint64_t address = next_;
    next_ += bytes;
    held_ += bytes;
    peak_ = std::max(peak_, held_);
    return address;
  }

  void release(uint64_t bytes) {
    calls_++;
    held_ -= bytes;
  }

  uint64_t calls() const { return calls_; }
  uint64_t peak() const { return peak_; }

 private:
  uint64_t capacity_, next_ = 1ull << 32, held_ = 0, peak_ = 0, calls_ = 0;
};

struct Block {
  uint64_t address, bytes;
  Block *before, *after;  // neighbours in the segment
  bool free, small;
};

// Free blocks in the order of best fit: by size, then by address. Both stand in one word, in steps of 512 B.
class FreeBlocks {
 public:
  // The smallest block of at least `bytes`, of these the one at the lowest address; nullptr when there is none.
  Block *bestFit(uint64_t bytes) const {
    size_t at = find(bytes / kStep << kAddressBits);
    return at < entries_.size() ? entries_[at].block : nullptr;
  }

  void insert(Block *block) {
    Entry entry{keyOf(block), block};
    entries_.insert(entries_.begin() + find(entry.key), entry);
  }

  void remove(const Block *block) { entries_.erase(entries_.begin() + find(keyOf(block))); }

  // Puts a block that shrank where it belongs now; `oldKey` is from before. Moves no more than the entries in between.
  void shrunk(Block *block, uint64_t oldKey) {
    size_t from = find(oldKey), to = find(keyOf(block));
    std::move_backward(entries_.begin() + to, entries_.begin() + from, entries_.begin() + from + 1);
    entries_[to] = {keyOf(block), block};
  }

  static uint64_t keyOf(const Block *block) { return block->bytes / kStep << kAddressBits | block->address / kStep; }

  template <typename Wanted>
  std::vector<Block *> takeAll(Wanted wanted) {
    std::vector<Block *> taken;
    auto kept = std::stable_partition(entries_.begin(), entries_.end(), [&](const Entry &e) { return !wanted(e.block); });
    for (auto it = kept; it != entries_.end(); ++it) taken.push_back(it->block);
    entries_.erase(kept, entries_.end());
    return taken;
  }

 private:
  struct Entry {
    uint64_t key;
    Block *block;
  };
  static constexpr int kAddressBits = 36;

  // The first entry with a key of at least `key`.
  size_t find(uint64_t key) const {
    const Entry *base = entries_.data();
    for (size_t count = entries_.size(); count > 0;) {
      size_t half = count / 2;
      bool below = base[half].key < key;
      base = below ? base + half + 1 : base;
      count = below ? count - half - 1 : half;
    }
    return static_cast<size_t>(base - entries_.data());
  }

  std::vector<Entry> entries_;
};

class Manager {
 public:
  explicit Manager(Device &device) : device_(device) {}
  Manager(const Manager &) = delete;
  ~Manager() {
    for (Block *chunk : chunks_) delete[] chunk;
  }

  // nullptr when the device has no room, also after cached segments were given back.
  Block *allocate(uint64_t requested) {
    uint64_t bytes = std::max(kStep, (requested + kStep - 1) & ~(kStep - 1));
    bool small = bytes <= kLargestSmall;
    FreeBlocks &pool = free_[small];
    if (Block *found = pool.bestFit(bytes)) {
      uint64_t rest = found->bytes - bytes;
      if (!splits(small, rest)) {
        pool.remove(found);
        found->free = false;
        return found;
      }
      // The block goes on as the rest: its neighbour after it need not be told.
      uint64_t oldKey = FreeBlocks::keyOf(found);
      Block *front = makeBlock({found->address, bytes, found->before, found, false, small});
      if (front->before) front->before->after = front;
      found->before = front;
      found->address += bytes;
      found->bytes = rest;
      pool.shrunk(found, oldKey);
      return front;
    }
    return allocateSegment(bytes, small);
  }

  void free(Block *block) {
    FreeBlocks &pool = free_[block->small];
    Block *before = block->before, *after = block->after;
    block->free = true;
    if (before && before->free) {
      pool.remove(before);
      block->address = before->address;
      block->bytes += before->bytes;
      block->before = before->before;
      if (block->before) block->before->after = block;
      spare_.push_back(before);
    }
    if (after && after->free) {
      pool.remove(after);
      block->bytes += after->bytes;
      block->after = after->after;
      if (block->after) block->after->before = block;
      spare_.push_back(after);
    }
    pool.insert(block);
  }

 private:
  static bool splits(bool small, uint64_t rest) { return small ? rest >= kStep : rest >= kLargestSmall; }

  Block *allocateSegment(uint64_t bytes, bool small) {
    uint64_t size = small                 ? kSmallSegment
                    : bytes < kOwnSegment ? kLargeSegment
                                          : (bytes + kOwnSegmentStep - 1) / kOwnSegmentStep * kOwnSegmentStep;
    uint64_t address = device_.allocate(size);
    if (!address) {
      releaseCached();
      address = device_.allocate(size);
      if (!address) return nullptr;
    }
    uint64_t rest = size - bytes;
    if (!splits(small, rest)) return makeBlock({address, size, nullptr, nullptr, false, small});
    Block *block = makeBlock({address, bytes, nullptr, nullptr, false, small});
    block->after = makeBlock({address + bytes, rest, block, nullptr, true, small});
    free_[small].insert(block->after);
    return block;
  }

  void releaseCached() {
    for (FreeBlocks &pool : free_) {
      for (Block *block : pool.takeAll([](const Block *b) { return !b->before && !b->after; })) {
        device_.release(block->bytes);
        spare_.push_back(block);
      }
    }
  }

  Block *makeBlock(const Block &value) {
    if (spare_.empty()) {
      chunks_.push_back(new Block[256]);
      for (int i = 255; i >= 0; i--) spare_.push_back(chunks_.back() + i);
    }
    Block *block = spare_.back();
    spare_.pop_back();
    *block = value;
    return block;
  }

  Device &device_;
  FreeBlocks free_[2];
  std::vector<Block *> spare_, chunks_;
};

Events events;
std::vector<Block *> live;
Device warmDevice(~0ull);
Manager warmManager(warmDevice);

void drain(Manager &manager) {
  for (Block *&block : live) {
    if (block) manager.free(block);
    block = nullptr;
  }
}

// Replays those events. `made` sees each allocation's block; false stops the replay.
template <typename Made>
bool replay(Manager &manager, uint64_t from, uint64_t to, Made made) {
  for (uint64_t i = from; i < to; i++) {
    int32_t slot = events.slots[i];
    if (slot >= 0) {
      uint64_t bytes = events.bytes[i];
      live[slot] = bytes ? manager.allocate(bytes) : nullptr;
      if (!made(live[slot], bytes)) return false;
    } else {
      Block *block = live[~slot];
      live[~slot] = nullptr;
      if (block) manager.free(block);
    }
  }
  return true;
}

void replayWarm(uint64_t from, uint64_t to) {
  replay(warmManager, from, to, [](Block *, uint64_t) { return true; });
}

void drainWarm() { drain(warmManager); }

void cold() {
  Device device(~0ull);
  Manager manager(device);
  uint64_t digest = 1469598103934665603ull;  // FNV-1a over the addresses, 8 bytes each, lowest first
  replay(manager, 0, events.length, [&](Block *block, uint64_t) {
    uint64_t address = block ? block->address : 0;
    for (int i = 0; i < 64; i += 8) digest = (digest ^ (address >> i & 255)) * 1099511628211ull;
    return true;
  });
  uint64_t calls = device.calls();
  drain(manager);
  printf("{\"nativeCalls\":%" PRIu64 ",\"peakReservedBytes\":%" PRIu64 ",\"digest\":\"%016" PRIx64 "\"}\n", calls, device.peak(),
         digest);
}

int fits(uint64_t capacity) {
  Device device(capacity);
  Manager manager(device);
  bool completed = replay(manager, 0, events.length, [](Block *block, uint64_t bytes) { return block || !bytes; });
  drain(manager);
  return completed;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  events = load_events(argv[1]);
  live.assign(events.slot_count, nullptr);
  Peer peer = {replayWarm, drainWarm, cold, fits};
  serve(&peer, &events);
}

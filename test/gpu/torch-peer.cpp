// torch-peer <events> <rounds>
// Replays a file of test/bench/event-file.ts through PyTorch's caching allocator, and prints the nanoseconds that each
// replay took, the first one on an empty cache. A replay ends when what it left live is freed and the card is idle.
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace allocator = c10::cuda::CUDACachingAllocator;

namespace {

struct Events {
  uint64_t slot_count;
  std::vector<uint64_t> bytes;
  std::vector<int32_t> slots;
};

template <typename T>
bool read_all(std::FILE *file, std::vector<T> &target) {
  return std::fread(target.data(), sizeof(T), target.size(), file) == target.size();
}

bool read_events(const char *path, Events &events) {
  std::FILE *file = std::fopen(path, "rb");
  if (file == nullptr) return false;
  std::vector<uint64_t> header(4);
  bool is_read = read_all(file, header);
  if (is_read) {
    events.slot_count = header[1];
    events.bytes.resize(header[0]);
    events.slots.resize(header[0]);
    is_read = read_all(file, events.bytes) && read_all(file, events.slots);
  }
  std::fclose(file);
  return is_read;
}

void release(void *&pointer) {
  if (pointer != nullptr) allocator::raw_delete(pointer);
  pointer = nullptr;
}

void replay(const Events &events, std::vector<void *> &pointers) {
  for (size_t i = 0; i < events.slots.size(); i++) {
    int32_t slot = events.slots[i];
    if (slot < 0) release(pointers[~slot]);
    else pointers[slot] = events.bytes[i] == 0 ? nullptr : allocator::raw_alloc(events.bytes[i]);
  }
  for (void *&pointer : pointers) release(pointer);
  cudaDeviceSynchronize();
}

}  // namespace

int main(int count, char **arguments) {
  Events events;
  if (count != 3 || !read_events(arguments[1], events)) {
    std::fprintf(stderr, "usage: torch-peer <events> <rounds>\n");
    return 2;
  }
  c10::cuda::set_device(0);
  allocator::init(1);
  // Makes the context, which is no allocator's work.
  cudaFree(nullptr);
  std::vector<void *> pointers(events.slot_count, nullptr);
  for (int round = 0; round <= std::atoi(arguments[2]); round++) {
    auto start = std::chrono::steady_clock::now();
    replay(events, pointers);
    auto took = std::chrono::steady_clock::now() - start;
    std::printf("%lld\n", (long long)std::chrono::duration_cast<std::chrono::nanoseconds>(took).count());
  }
  return 0;
}

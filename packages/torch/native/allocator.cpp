// Where tensors on the CPU lie: blocks of malloc, aligned by hand.
//
// libtorch's own allocator asks posix_memalign, and glibc's (before 2.38) looks for a block that is longer by the alignment and cuts off
// what it does not need: what a freed tensor leaves is too short for the next of its size. Where many come and go, as the activations
// and gradients of a training step, memory grew from step to step (docs/LOG.md).
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <cstdint>
#include <cstdlib>

namespace dunwu {
namespace {

/// A cache line: what vector instructions and matrix units want at most.
constexpr uintptr_t kAlignment = 64;

/// The block that malloc gave stands in front of what was made of it.
void*& block_of(void* data) { return static_cast<void**>(data)[-1]; }

void release(void* data) {
  if (data == nullptr) return;
  c10::profiledCPUMemoryReporter().Delete(data);
  std::free(block_of(data));
}

struct CpuAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &release, cpu};
    // malloc aligns to 16, so that at least 16 bytes are left in front.
    void* block = bytes > SIZE_MAX - kAlignment ? nullptr : std::malloc(bytes + kAlignment);
    if (block == nullptr) {
      c10::profiledCPUMemoryReporter().OutOfMemory(bytes);
      TORCH_CHECK_WITH(OutOfMemoryError, false, "out of memory: the CPU has no ", bytes, " bytes for a tensor");
    }
    void* data = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(block) / kAlignment + 1) * kAlignment);
    block_of(data) = block;
    c10::profiledCPUMemoryReporter().New(data, bytes);
    return {data, data, &release, cpu};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

const bool registered = [] {
  c10::SetCPUAllocator(new CpuAllocator(), 1);
  return true;
}();

}  // namespace
}  // namespace dunwu

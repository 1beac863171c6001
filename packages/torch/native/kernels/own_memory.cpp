#include "own_memory.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace dunwu {

#if defined(__linux__)

namespace {

/// What is smaller comes from the heap.
constexpr size_t kLarge = size_t{1} << 20;
/// What is larger is not kept.
constexpr size_t kMostKept = size_t{1} << 27;

/// Memory from the system; given back at its end.
class Mapping {
 public:
  Mapping() = default;
  /// Empty where the system has no room.
  explicit Mapping(size_t bytes) : bytes_(bytes) {
    memory_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED)
      memory_ = nullptr;
    else
      madvise(memory_, bytes, MADV_HUGEPAGE);
  }
  Mapping(Mapping&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping() {
    if (memory_ != nullptr) munmap(memory_, bytes_);
  }
  /// Whether a tensor of so many bytes may have it: it is not much larger.
  bool fits(size_t bytes) const { return memory_ != nullptr && bytes <= bytes_ && bytes_ - bytes <= bytes / 4; }
  size_t bytes() const { return bytes_; }
  void* data() const { return memory_; }

 private:
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

/// The last memory that was left to be kept.
class Kept {
 public:
  /// Empty where it does not fit; then it goes, so that there are never two for one.
  Mapping take(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Mapping found = std::move(last_);
    return found.fits(bytes) ? std::move(found) : Mapping();
  }
  void put(Mapping mapping) {
    if (mapping.bytes() > kMostKept) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    last_ = std::move(mapping);
  }

 private:
  std::mutex mutex_;
  Mapping last_;
};

Kept& kept() {
  // Never destroyed: tensors may go after it would.
  static auto* kept = new Kept();
  return *kept;
}

}  // namespace

at::Tensor own_memory(at::IntArrayRef sizes, at::ScalarType type, bool keep) {
  for (const int64_t size : sizes) TORCH_CHECK(size >= 0, "own_memory: sizes must not be negative, got ", sizes);
  const size_t bytes = c10::multiply_integers(sizes) * c10::elementSize(type);
  if (bytes < kLarge) return at::empty(sizes, type);
  Mapping mapping = keep ? kept().take(bytes) : Mapping();
  // The next may be a little larger: what is reserved and not written costs nothing.
  if (!mapping.fits(bytes)) mapping = Mapping(keep ? bytes + bytes / 8 : bytes);
  TORCH_CHECK_WITH(OutOfMemoryError, mapping.fits(bytes), "own_memory: out of memory: ", bytes, " bytes cannot be reserved");
  const auto owner = std::make_shared<Mapping>(std::move(mapping));
  const auto release = [owner, keep](void*) {
    if (keep) kept().put(std::move(*owner));
  };
  return at::from_blob(owner->data(), sizes, release, type);
}

#else

at::Tensor own_memory(at::IntArrayRef sizes, at::ScalarType type, bool) { return at::empty(sizes, type); }

#endif

TORCH_LIBRARY_FRAGMENT(dunwu, m) { m.def("own_memory(int[] sizes, ScalarType dtype, bool keep=False) -> Tensor", own_memory); }

}  // namespace dunwu

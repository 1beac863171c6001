// Vectors that begin at a cache line: what crosses lines is read at half the speed by the widest loads and by the matrix units.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace dunwu {

template <typename T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(operator new(count * sizeof(T), std::align_val_t(64))); }
  void deallocate(T* memory, std::size_t) { operator delete(memory, std::align_val_t(64)); }
  template <typename U>
  bool operator==(const LineAllocator<U>&) const { return true; }
  template <typename U>
  bool operator!=(const LineAllocator<U>&) const { return false; }
};

template <typename T>
using LineVector = std::vector<T, LineAllocator<T>>;

}  // namespace dunwu

// Tensors and generators live in tables; JavaScript holds numbers. A number carries a generation, so that a handle kept
// after its tensor was freed is an error and never somebody else's tensor.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <stdexcept>
#include <vector>

namespace dunwu {

template <typename T>
class HandleTable {
 public:
  /// @param tag 0 or 1, part of every handle: a generator's handle is never taken for a tensor's.
  HandleTable(const char* noun, uint32_t tag) : noun_(noun), tag_(tag) {}

  double insert(T value) {
    uint32_t index;
    if (free_.empty()) {
      index = static_cast<uint32_t>(slots_.size());
      if (index >= kIndexLimit) throw std::runtime_error("too many live tensors (16 million): is a scope missing?");
      slots_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    Slot& slot = slots_[index];
    slot.value = std::move(value);
    slot.live = true;
    ++live_;
    return static_cast<double>(slot.generation * 2 + tag_) * kIndexLimit + index;
  }

  T& get(double handle) { return find(handle).value; }

  void erase(double handle) {
    Slot& slot = find(handle);
    // Destroy after the table is consistent again: a destructor may run arbitrary code.
    T dying = std::move(slot.value);
    slot.value = T();
    slot.live = false;
    slot.generation = (slot.generation + 1) & kGenerationMask;
    free_.push_back(index_of(handle));
    --live_;
  }

  size_t live() const { return live_; }

 private:
  static constexpr uint32_t kIndexLimit = 1u << 24;
  static constexpr uint32_t kGenerationMask = (1u << 27) - 1;
  struct Slot {
    T value;
    uint32_t generation = 1;
    bool live = false;
  };

  static uint32_t index_of(double handle) {
    return static_cast<uint32_t>(static_cast<uint64_t>(handle) % kIndexLimit);
  }

  Slot& find(double handle) {
    if (!(handle >= 0 && handle < 4503599627370496.0)) throw std::runtime_error(std::string(noun_) + " used after it was freed");
    const uint64_t bits = static_cast<uint64_t>(handle);
    const uint32_t index = static_cast<uint32_t>(bits % kIndexLimit);
    const uint32_t upper = static_cast<uint32_t>(bits / kIndexLimit);
    if ((upper & 1u) != tag_) throw std::runtime_error(std::string("expected a ") + noun_ + ", got another kind of object");
    const uint32_t generation = upper >> 1;
    if (index >= slots_.size() || !slots_[index].live || slots_[index].generation != generation) {
      throw std::runtime_error(std::string(noun_) + " used after it was freed");
    }
    return slots_[index];
  }

  const char* noun_;
  uint32_t tag_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  size_t live_ = 0;
};

HandleTable<at::Tensor>& tensors();
HandleTable<at::Generator>& generators();

}  // namespace dunwu

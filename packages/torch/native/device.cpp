// A device's queue of work and its memory, of any device that has them: libtorch's own seams, so that nothing here is CUDA's.
#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/library.h>

#include <map>

namespace dunwu {
namespace {

std::map<int64_t, c10::Event>& events() {
  static auto* all = new std::map<int64_t, c10::Event>();
  return *all;
}

/// Reached when all that was launched before on the tensor's device, on its current stream, is done.
int64_t event_record(const at::Tensor& tensor) {
  static int64_t last = 0;
  const c10::Device device = tensor.device();
  c10::Event event(device.type());
  event.record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  events().emplace(++last, std::move(event));
  return last;
}

/// Waits for the event, and forgets it.
void event_wait(int64_t number) {
  const auto found = events().find(number);
  TORCH_CHECK(found != events().end(), "event: there is no event ", number);
  const c10::Event event = std::move(found->second);
  events().erase(found);
  event.synchronize();
}

/// The most bytes that tensors have had on the device at one time.
int64_t peak_memory(c10::Device device) {
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.has_index() ? device.index() : 0);
  return stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) {
  // Sums of products of bfloat16 are float32 everywhere: cuBLAS may not add up parts of one in bfloat16. Nothing elsewhere.
  at::globalContext().setAllowBF16ReductionCuBLAS(false);
  m.def("event_record(Tensor on) -> int", event_record);
  m.def("event_wait(int event) -> ()", event_wait);
  m.def("peak_memory(Device device) -> int", peak_memory);
}

}  // namespace dunwu

// CUDA graphs: what is launched between begin and end is recorded, and then launched again as one. Compiled only where
// libtorch is a CUDA build and CUDA's headers are there (scripts/setup/addon.mjs); elsewhere these operators do not exist.
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <torch/library.h>

#include <map>
#include <memory>
#include <optional>

namespace dunwu {
namespace {

struct Recorded {
  at::cuda::CUDAGraph graph;
  /// The stream before capture; null when nothing is being captured.
  std::optional<c10::cuda::CUDAStream> before;
};

std::map<int64_t, std::unique_ptr<Recorded>>& graphs() {
  static auto* all = new std::map<int64_t, std::unique_ptr<Recorded>>();
  return *all;
}

Recorded& graph(int64_t number) {
  const auto found = graphs().find(number);
  TORCH_CHECK(found != graphs().end(), "graph: there is no graph ", number, "; it was freed, or never made");
  return *found->second;
}

/// Graphs share the memory of what they compute on the way: each leaves its results in tensors that were there before, and they run
/// one after another. A pool is gone with its last graph.
c10::MempoolId_t pool() {
  static c10::MempoolId_t shared;
  if (graphs().empty()) shared = at::cuda::graph_pool_handle();
  return shared;
}

/// Where CUDA gives a capture up, libtorch throws before it tells its allocators: they would go on asking a graph that is gone
/// whether a stream is its own, and refuse the pool to the next capture. Called while the graph is there, on its device.
void forget_capture(c10::MempoolId_t used) {
  const auto device = c10::cuda::current_device();
  auto* host = at::getHostAllocator(at::kCUDA);
  const auto attempt = [](const auto& forget) {
    try {
      forget();
    } catch (const c10::Error&) {
      // It has been told: it was later that something failed.
    }
  };
  attempt([&] {
    c10::cuda::CUDACachingAllocator::endAllocateToPool(device, used);
    c10::cuda::CUDACachingAllocator::releasePool(device, used);
  });
  attempt([&] {
    host->end_allocate_to_pool(used);
    host->release_pool(used);
  });
}

/// What is launched on the device from here on is recorded, not done. The default stream cannot be captured; it is always the same
/// other one, since libraries keep memory for each stream that they see.
int64_t graph_begin(c10::Device device) {
  static int64_t last = 0;
  static std::map<c10::DeviceIndex, c10::cuda::CUDAStream> sides;
  const c10::cuda::CUDAGuard guard(device.has_index() ? device.index() : c10::cuda::current_device());
  const auto side = sides.try_emplace(c10::cuda::current_device(), c10::cuda::getStreamFromPool()).first->second;
  auto made = std::make_unique<Recorded>();
  c10::cuda::device_synchronize();
  made->before = c10::cuda::getCurrentCUDAStream();
  c10::cuda::setCurrentCUDAStream(side);
  const c10::MempoolId_t used = pool();
  try {
    // Calls of other threads (the allocator's, say) are not the capture's business.
    made->graph.capture_begin(used, cudaStreamCaptureModeThreadLocal);
  } catch (...) {
    forget_capture(used);
    c10::cuda::setCurrentCUDAStream(*made->before);
    throw;
  }
  graphs()[++last] = std::move(made);
  return last;
}

void graph_end(int64_t number) {
  Recorded& one = graph(number);
  TORCH_CHECK(one.before.has_value(), "graph ", number, " is not being captured");
  const auto before = *one.before;
  one.before.reset();
  const c10::cuda::CUDAGuard guard(before.device_index());
  try {
    one.graph.capture_end();
  } catch (...) {
    forget_capture(pool());
    c10::cuda::setCurrentCUDAStream(before);
    throw;
  }
  c10::cuda::setCurrentCUDAStream(before);
}

void graph_replay(int64_t number) { graph(number).graph.replay(); }

void graph_free(int64_t number) { graphs().erase(number); }

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) {
  m.def("graph_begin(Device device) -> int", graph_begin);
  m.def("graph_end(int graph) -> ()", graph_end);
  m.def("graph_replay(int graph) -> ()", graph_replay);
  m.def("graph_free(int graph) -> ()", graph_free);
}

}  // namespace dunwu

// Times every operator that runs through the dispatcher, by observers that libtorch itself offers (RecordFunction).
#include "profile.h"

#include <ATen/Context.h>
#include <ATen/record_function.h>

#include <chrono>
#include <map>
#include <mutex>

namespace dunwu {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// An operator that runs, and the time of those that it called.
struct Running : at::ObserverContext {
  double began = 0;
  double inner = 0;
  double flops = 0;
  Running* caller = nullptr;
};

thread_local Running* running = nullptr;

std::mutex& guard() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

std::map<std::string, OperatorTime>& found() {
  static auto* times = new std::map<std::string, OperatorTime>();
  return *times;
}

at::CallbackHandle callback = 0;

/// Where the work is done.
c10::Device place(c10::kCPU);

/// Multiplications and additions of a matrix product, from its operands; 0 for every other operator.
double product_flops(const at::RecordFunction& function) {
  const std::string_view name = function.name();
  const bool added = name == "aten::addmm" || name == "aten::addmm_" || name == "aten::baddbmm";
  if (!added && name != "aten::mm" && name != "aten::bmm") return 0;
  const auto inputs = function.inputs();
  const size_t first = added ? 1 : 0;
  if (inputs.size() < first + 2 || !inputs[first].isTensor() || !inputs[first + 1].isTensor()) return 0;
  const at::Tensor a = inputs[first].toTensor(), b = inputs[first + 1].toTensor();
  return 2.0 * static_cast<double>(a.numel()) * static_cast<double>(b.size(-1));
}

std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction& function) {
  auto context = std::make_unique<Running>();
  context->caller = running;
  context->flops = product_flops(function);
  running = context.get();
  context->began = seconds_now();
  return context;
}

void leave(const at::RecordFunction& function, at::ObserverContext* observed) {
  auto* context = static_cast<Running*>(observed);
  if (place.is_cuda()) at::detail::getCUDAHooks().deviceSynchronize(place.has_index() ? place.index() : 0);
  const double total = seconds_now() - context->began;
  running = context->caller;
  if (running != nullptr) running->inner += total;
  const std::lock_guard<std::mutex> lock(guard());
  OperatorTime& time = found()[function.name()];
  time.calls += 1;
  time.seconds += total - context->inner;
  time.flops += context->flops;
}

}  // namespace

void start_profile(c10::Device device) {
  stop_profile();
  place = device;
  callback = at::addGlobalCallback(at::RecordFunctionCallback(enter, leave)
                                       .needsInputs(true)
                                       .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
}

std::map<std::string, OperatorTime> stop_profile() {
  if (callback != 0) at::removeCallback(callback);
  callback = 0;
  const std::lock_guard<std::mutex> lock(guard());
  return std::exchange(found(), {});
}

}  // namespace dunwu

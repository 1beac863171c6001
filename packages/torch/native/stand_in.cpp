// A device that stands for any that is not the CPU: 'standin'. What it holds lies in ordinary memory and every operator is computed
// on the CPU, but to libtorch it is a device of its own. So on a machine without an accelerator tests can see, with numbers, what the
// code does on one: which of its ways it takes, that no tensor of the CPU gets among the device's, how often the host waits.
// It is there once it is asked for, `dunwu::stand_in`, before the first backward pass: for libtorch it is then the accelerator.
#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <set>

namespace dunwu {
namespace {

constexpr auto kStandIn = c10::DeviceType::PrivateUse1;
const c10::Device kOnly(kStandIn, 0);
const c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

/// Copies to the CPU, and operators whose result another device would have to tell the host first.
std::atomic<int64_t> waits{0};

/// Set while an operator is computed: copies then are the stand-in's own.
thread_local bool computing = false;

struct Guard final : c10::impl::NoOpDeviceGuardImpl<kStandIn> {
  c10::Device exchangeDevice(c10::Device) const override { return kOnly; }
  c10::Device getDevice() const override { return kOnly; }
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kOnly); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kOnly); }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void synchronizeEvent(void*) const override {}
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(c10::DeviceType::CPU); }
};

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = c10::alloc_cpu(bytes);
    return {data, data, &c10::free_cpu, kOnly};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

c10::Allocator* memory() {
  static Memory allocator;
  return &allocator;
}

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, memory(), kKeys, c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype, std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, memory(), kKeys, c10::dtype_or_default(dtype));
}

/// The same numbers as a tensor of the CPU, not copied.
at::Tensor seen(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  return at::from_blob(tensor.numel() == 0 ? nullptr : tensor.data_ptr(), tensor.sizes(), tensor.strides(), tensor.options().device(at::kCPU));
}

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& to, bool) {
  if (!computing && to.is_cpu()) ++waits;
  seen(to).copy_(seen(self));
  return to;
}

const at::Tensor& resize_to(const at::Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat>) {
  if (self.sizes() == size) return self;
  const at::Tensor fresh = at::empty(size, self.options());
  self.unsafeGetTensorImpl()->set_storage_keep_dtype(fresh.storage());
  self.unsafeGetTensorImpl()->set_storage_offset(0);
  self.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return self;
}

at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& to) {
  resize_to(to, self.sizes(), std::nullopt);
  return copy_from(self, to, false);
}

/// Operators whose result, or whose result's shape, the host waits for.
bool waits_for(const std::string& name) {
  static const std::set<std::string> names = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select",    "aten::bincount", "aten::_unique2",
                                              "aten::unique_consecutive",  "aten::equal",   "aten::repeat_interleave"};
  return names.count(name) > 0;
}

void compute(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto check = [&](const at::Tensor& tensor) {
    TORCH_CHECK(!tensor.defined() || !tensor.is_cpu() || tensor.dim() == 0, op.schema().name(), ": a tensor ", tensor.sizes(),
                " of the CPU among tensors of another device; arguments as in ", op.schema());
  };
  for (const auto& value : torch::jit::last(*stack, op.schema().arguments().size())) {
    if (value.isTensor()) check(value.toTensor());
    if (value.isTensorList())
      for (const at::Tensor& tensor : value.toTensorVector()) check(tensor);
    if (value.isOptionalTensorList())
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector())
        if (tensor.has_value()) check(*tensor);
  }
  if (!computing && waits_for(op.schema().name())) ++waits;
  const bool outer = std::exchange(computing, true);
  try {
    at::native::cpu_fallback(op, stack, /*error_on_views=*/true);
  } catch (...) {
    computing = outer;
    throw;
  }
  computing = outer;
}

/// libtorch's flash attention as its schema has it, by the plain one, a sequence at a time: tensors [rows, heads or groups, width].
at::Tensor by_sequence(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& bounds, std::optional<double> scale) {
  const int32_t* bound = bounds.const_data_ptr<int32_t>();
  std::vector<at::Tensor> parts;
  for (int64_t i = 0; i + 1 < bounds.size(0); ++i) {
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, bound[i], bound[i + 1] - bound[i]).transpose(0, 1).unsqueeze(0); };
    parts.push_back(at::scaled_dot_product_attention(part(query), part(key), part(value), {}, 0.0, true, scale, true).squeeze(0).transpose(0, 1));
  }
  return at::cat(parts);
}

/// The kernels' demands on widths, and on where rows begin.
void check_flash(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const int64_t width = query.size(2);
  TORCH_CHECK(query.element_size() == 2 && width % 8 == 0 && width <= 256 && key.size(2) == width && value.size(2) == width, "flash attention: ", query.scalar_type(), query.sizes(), key.sizes(), value.sizes());
  for (const at::Tensor& x : {query, key, value})
    TORCH_CHECK(x.storage_offset() % 8 == 0 && x.stride(0) % 8 == 0 && x.stride(1) % 8 == 0 && x.stride(2) == 1, "flash attention: rows that do not begin at 16 bytes");
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> flash_forward(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& bounds, const std::optional<at::Tensor>&, int64_t, int64_t, double, bool, bool,
    std::optional<double> scale, std::optional<int64_t>, std::optional<int64_t>, const std::optional<at::Tensor>&, const std::optional<at::Tensor>&, const std::optional<at::Tensor>&, std::optional<int64_t>) {
  check_flash(query, key, value);
  const at::Tensor output = at::empty(query.sizes(), query.options());
  seen(output).copy_(by_sequence(seen(query), seen(key), seen(value), seen(*bounds), scale));
  const at::Tensor none = at::empty({0}, query.options());
  return {output, none, none, none, none};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> flash_backward(const at::Tensor& gradient, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor&, const at::Tensor&,
                                                              const at::Tensor& bounds, const at::Tensor&, int64_t, int64_t, double, bool, const at::Tensor&, const at::Tensor&,
                                                              std::optional<double> scale, std::optional<int64_t>, std::optional<int64_t>) {
  // A kernel runs below autograd: here it is wanted once more.
  const c10::impl::ForceDispatchKeyGuard all(c10::default_included_set, c10::default_excluded_set);
  const at::AutoGradMode on(true);
  std::vector<at::Tensor> inputs;
  for (const at::Tensor& x : {query, key, value}) inputs.push_back(seen(x).detach().requires_grad_());
  const auto found = torch::autograd::grad({by_sequence(inputs[0], inputs[1], inputs[2], seen(bounds), scale)}, inputs, {seen(gradient)});
  const auto placed = [](const at::Tensor& x) { return x.to(kOnly); };
  return {placed(found[0]), placed(found[1]), placed(found[2])};
}

/// As the kernels have it, which leave some of the result as it was: rows of no group, and what is summed over a group without
/// rows. Here that is not a number, so that whoever reads it is found.
at::Tensor grouped_mm(const at::Tensor& self, const at::Tensor& other, const std::optional<at::Tensor>& ends, const std::optional<at::Tensor>&, std::optional<at::ScalarType>) {
  const at::Tensor product = at::_grouped_mm(seen(self), seen(other), seen(*ends));
  const int32_t* end = ends->const_data_ptr<int32_t>();
  const int64_t groups = ends->size(0);
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (other.dim() == 3) product.slice(0, end[groups - 1]).fill_(kNone);
  else
    for (int64_t i = 0; i < groups; ++i)
      if (end[i] == (i == 0 ? 0 : end[i - 1])) product[i].fill_(kNone);
  return product.to(kOnly);
}

at::Tensor view(const at::Tensor& self, at::IntArrayRef size) { return at::native::view(self, size); }

at::Tensor as_strided(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride, std::optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(self, size, stride, offset);
}

at::Tensor reshape_alias(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride) { return at::native::as_strided_tensorimpl(self, size, stride, self.storage_offset()); }

/// How often the host has waited for the stand-in since it was last asked.
int64_t take_waits() { return waits.exchange(0); }

/// Makes the device known to libtorch, once. @returns its name
std::string stand_in() {
  static const std::string name = "standin";
  static const bool once = [] {
    c10::register_privateuse1_backend(name);
    static const c10::impl::DeviceGuardImplRegistrar guard(kStandIn, new Guard());
    at::RegisterPrivateUse1HooksInterface(new Hooks());
    static torch::Library operators(torch::Library::IMPL, "aten", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
    operators.impl("empty.memory_format", empty);
    operators.impl("empty_strided", empty_strided);
    operators.impl("_copy_from", copy_from);
    operators.impl("_copy_from_and_resize", copy_from_and_resize);
    operators.impl("resize_", resize_to);
    operators.impl("view", view);
    operators.impl("as_strided", as_strided);
    operators.impl("_reshape_alias", reshape_alias);
    operators.impl("_flash_attention_forward", flash_forward);
    operators.impl("_flash_attention_backward", flash_backward);
    // Not as libtorch composes it, which reads the groups' ends.
    operators.impl("_grouped_mm", grouped_mm);
    static torch::Library others(torch::Library::IMPL, "_", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
    others.fallback(torch::CppFunction::makeFromBoxedFunction<&compute>());
    return true;
  }();
  (void)once;
  return name;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dunwu, m) {
  m.def("stand_in() -> str", stand_in);
  m.def("stand_in_waits() -> int", take_waits);
}

}  // namespace dunwu

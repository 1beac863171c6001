// The whole binding between JavaScript and libtorch: operators by name through the dispatcher, autograd, data in and
// out, random state, threads. It knows nothing of language models; fused operators are registered in kernels/.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/cpu/Utils.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/version.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <sstream>
#include <unordered_map>

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "handles.h"
#include "napi_util.h"
#include "profile.h"

namespace dunwu {

HandleTable<at::Tensor>& tensors() {
  static auto* table = new HandleTable<at::Tensor>("tensor", 0);  // never destroyed: outlives static destructors
  return *table;
}

HandleTable<at::Generator>& generators() {
  static auto* table = new HandleTable<at::Generator>("generator", 1);
  return *table;
}

void throw_to_javascript(napi_env env, const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string message = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  napi_throw_error(env, "DUNWU_TORCH", message.c_str());
}

namespace {

// ---------------------------------------------------------------------------------------------------------- dtypes

struct DtypeName {
  const char* name;
  at::ScalarType type;
};

constexpr DtypeName kDtypes[] = {
    {"float32", at::kFloat},   {"float64", at::kDouble},   {"bfloat16", at::kBFloat16}, {"float16", at::kHalf},
    {"int64", at::kLong},      {"int32", at::kInt},        {"int16", at::kShort},       {"int8", at::kChar},
    {"uint8", at::kByte},      {"bool", at::kBool},        {"uint16", at::kUInt16},     {"uint32", at::kUInt32},
    {"uint64", at::kUInt64},
};

at::ScalarType dtype_from(const std::string& name) {
  for (const auto& entry : kDtypes) {
    if (name == entry.name) return entry.type;
  }
  throw std::runtime_error("unknown dtype '" + name + "'; known: float32, float64, bfloat16, float16, int64, int32, int16, int8, uint8, bool, uint16, uint32, uint64");
}

std::string dtype_name(at::ScalarType type) {
  for (const auto& entry : kDtypes) {
    if (type == entry.type) return entry.name;
  }
  return c10::toString(type);
}

std::string describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined tensor";
  std::ostringstream out;
  out << dtype_name(tensor.scalar_type()) << "[";
  for (int64_t i = 0; i < tensor.dim(); ++i) out << (i > 0 ? ", " : "") << tensor.size(i);
  out << "]";
  if (!tensor.device().is_cpu()) out << " on " << tensor.device().str();
  return out.str();
}

// ------------------------------------------------------------------------------------------- JavaScript to IValue

napi_ref handle_key_ref = nullptr;  // the symbol under which a Tensor or Generator object keeps its handle

/// Handle of a Tensor or Generator object, or NaN when the value is neither.
double handle_of(napi_env env, napi_value value) {
  if (type_of(env, value) != napi_object) return std::nan("");
  napi_value key;
  check(env, napi_get_reference_value(env, handle_key_ref, &key));
  napi_value handle;
  check(env, napi_get_property(env, value, key, &handle));
  double number = 0;
  if (napi_get_value_double(env, handle, &number) != napi_ok) return std::nan("");
  return number;
}

at::Tensor& tensor_of(napi_env env, napi_value value) {
  const double handle = handle_of(env, value);
  if (std::isnan(handle)) throw std::runtime_error("expected a Tensor");
  return tensors().get(handle);
}

at::Scalar scalar_of(napi_env env, napi_value value) {
  switch (type_of(env, value)) {
    case napi_boolean:
      return at::Scalar(to_bool(env, value));
    case napi_bigint: {
      int64_t integer = 0;
      bool lossless = false;
      check(env, napi_get_value_bigint_int64(env, value, &integer, &lossless));
      if (!lossless) throw std::runtime_error("the bigint does not fit 64 bits");
      return at::Scalar(integer);
    }
    case napi_number: {
      const double number = to_double(env, value);
      if (std::nearbyint(number) == number && std::abs(number) <= 9007199254740992.0 && !(number == 0 && std::signbit(number))) {
        return at::Scalar(static_cast<int64_t>(number));
      }
      return at::Scalar(number);
    }
    default:
      throw std::runtime_error("expected a number, a boolean or a bigint");
  }
}

int64_t integer_of(napi_env env, napi_value value) {
  const auto type = type_of(env, value);
  if (type == napi_number) {
    const double number = to_double(env, value);
    if (!(std::abs(number) < 9.2e18) || std::nearbyint(number) != number) throw std::runtime_error("expected an integer, got " + std::to_string(number));
    return static_cast<int64_t>(number);
  }
  if (type == napi_bigint) return scalar_of(env, value).toLong();
  if (type == napi_boolean) return to_bool(env, value) ? 1 : 0;
  throw std::runtime_error("expected an integer");
}

/// Names that stand for integers in schemas: dtypes, layouts, memory formats.
int64_t enum_of(const std::string& name, const c10::Type& real_type) {
  const std::string kind = real_type.str();
  if (kind == "Layout") {
    if (name == "strided") return static_cast<int64_t>(c10::Layout::Strided);
    if (name == "sparse_coo") return static_cast<int64_t>(c10::Layout::Sparse);
    if (name == "mkldnn") return static_cast<int64_t>(c10::Layout::Mkldnn);
    throw std::runtime_error("unknown layout '" + name + "'; known: strided, sparse_coo, mkldnn");
  }
  if (kind == "MemoryFormat") {
    if (name == "contiguous_format") return static_cast<int64_t>(c10::MemoryFormat::Contiguous);
    if (name == "preserve_format") return static_cast<int64_t>(c10::MemoryFormat::Preserve);
    if (name == "channels_last") return static_cast<int64_t>(c10::MemoryFormat::ChannelsLast);
    throw std::runtime_error("unknown memory format '" + name + "'; known: contiguous_format, preserve_format, channels_last");
  }
  return static_cast<int64_t>(dtype_from(name));
}

c10::IValue ivalue_of(napi_env env, napi_value value, const c10::Type& type, const c10::Type& real_type);

c10::IValue list_of(napi_env env, napi_value value, const c10::Type& element, const c10::Type& real_element) {
  // A single integer where a list of integers is expected means a list of one, as in PyTorch (int[1], int[2]).
  const bool array = is_array(env, value);
  const uint32_t length = array ? array_length(env, value) : 1;
  auto item = [&](uint32_t i) { return array ? dunwu::element(env, value, i) : value; };
  switch (element.kind()) {
    case c10::TypeKind::TensorType: {
      if (!array) throw std::runtime_error("expected an array of Tensors");
      c10::List<at::Tensor> list;
      list.reserve(length);
      for (uint32_t i = 0; i < length; ++i) list.push_back(tensor_of(env, item(i)));
      return list;
    }
    case c10::TypeKind::OptionalType: {
      if (!array) throw std::runtime_error("expected an array of Tensors or nulls");
      c10::List<std::optional<at::Tensor>> list;
      for (uint32_t i = 0; i < length; ++i) {
        napi_value entry = item(i);
        list.push_back(is_nullish(env, entry) ? std::optional<at::Tensor>() : tensor_of(env, entry));
      }
      return list;
    }
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType: {
      c10::List<int64_t> list;
      list.reserve(length);
      for (uint32_t i = 0; i < length; ++i) list.push_back(integer_of(env, item(i)));
      return list;
    }
    case c10::TypeKind::FloatType: {
      c10::List<double> list;
      for (uint32_t i = 0; i < length; ++i) list.push_back(to_double(env, item(i)));
      return list;
    }
    case c10::TypeKind::BoolType: {
      c10::List<bool> list;
      for (uint32_t i = 0; i < length; ++i) list.push_back(to_bool(env, item(i)));
      return list;
    }
    case c10::TypeKind::NumberType: {
      c10::List<at::Scalar> list;
      for (uint32_t i = 0; i < length; ++i) list.push_back(scalar_of(env, item(i)));
      return list;
    }
    case c10::TypeKind::StringType: {
      c10::List<std::string> list;
      for (uint32_t i = 0; i < length; ++i) list.push_back(to_string(env, item(i)));
      return list;
    }
    default:
      throw std::runtime_error("lists of " + real_element.str() + " are not supported");
  }
}

c10::IValue ivalue_of(napi_env env, napi_value value, const c10::Type& type, const c10::Type& real_type) {
  switch (type.kind()) {
    case c10::TypeKind::TensorType: {
      const auto js = type_of(env, value);
      if (js == napi_number || js == napi_boolean || js == napi_bigint) {
        // As in Python: a bare number takes part in type promotion as a number, not as a tensor.
        at::Tensor wrapped = at::scalar_to_tensor(scalar_of(env, value));
        wrapped.unsafeGetTensorImpl()->set_wrapped_number(true);
        return wrapped;
      }
      return tensor_of(env, value);
    }
    case c10::TypeKind::OptionalType: {
      if (is_nullish(env, value)) return c10::IValue();
      const auto& inner = *type.expectRef<c10::OptionalType>().getElementType();
      const auto* real = real_type.castRaw<c10::OptionalType>();
      return ivalue_of(env, value, inner, real != nullptr ? *real->getElementType() : inner);
    }
    case c10::TypeKind::ListType: {
      const auto& inner = *type.expectRef<c10::ListType>().getElementType();
      const auto* real = real_type.castRaw<c10::ListType>();
      return list_of(env, value, inner, real != nullptr ? *real->getElementType() : inner);
    }
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      if (type_of(env, value) == napi_string) return enum_of(to_string(env, value), real_type);
      return integer_of(env, value);
    case c10::TypeKind::FloatType:
      return to_double(env, value);
    case c10::TypeKind::BoolType:
      return to_bool(env, value);
    case c10::TypeKind::NumberType:
      return scalar_of(env, value);
    case c10::TypeKind::StringType:
      if (type_of(env, value) != napi_string) throw std::runtime_error("expected a string");
      return to_string(env, value);
    case c10::TypeKind::DeviceObjType:
      if (type_of(env, value) != napi_string) throw std::runtime_error("expected a device such as 'cpu' or 'cuda:0'");
      return c10::Device(to_string(env, value));
    case c10::TypeKind::GeneratorType: {
      const double handle = handle_of(env, value);
      if (std::isnan(handle)) throw std::runtime_error("expected a Generator");
      return generators().get(handle);
    }
    default:
      throw std::runtime_error("arguments of type " + type.str() + " are not supported");
  }
}

// ------------------------------------------------------------------------------------------- IValue to JavaScript

napi_value scalar_value(napi_env env, const at::Scalar& scalar) {
  if (scalar.isBoolean()) return from_bool(env, scalar.toBool());
  if (scalar.isIntegral(false)) return from_double(env, static_cast<double>(scalar.toLong()));
  return from_double(env, scalar.toDouble());
}

/// A tensor becomes { [handleKey]: handle } so that the TypeScript side can tell it from a number.
napi_value tensor_value(napi_env env, at::Tensor tensor) {
  if (!tensor.defined()) return null_value(env);
  napi_value object;
  check(env, napi_create_object(env, &object));
  napi_value key;
  check(env, napi_get_reference_value(env, handle_key_ref, &key));
  check(env, napi_set_property(env, object, key, from_double(env, tensors().insert(std::move(tensor)))));
  return object;
}

napi_value javascript_of(napi_env env, const c10::IValue& value) {
  if (value.isTensor()) return tensor_value(env, value.toTensor());
  if (value.isNone()) return null_value(env);
  if (value.isBool()) return from_bool(env, value.toBool());
  if (value.isInt()) return from_double(env, static_cast<double>(value.toInt()));
  if (value.isDouble()) return from_double(env, value.toDouble());
  if (value.isScalar()) return scalar_value(env, value.toScalar());
  if (value.isString()) return from_string(env, value.toStringRef());
  if (value.isDevice()) return from_string(env, value.toDevice().str());
  if (value.isList()) {
    const auto list = value.toList();
    napi_value array;
    check(env, napi_create_array_with_length(env, list.size(), &array));
    for (size_t i = 0; i < list.size(); ++i) {
      check(env, napi_set_element(env, array, static_cast<uint32_t>(i), javascript_of(env, list.get(i))));
    }
    return array;
  }
  throw std::runtime_error("results of type " + value.tagKind() + " are not supported");
}

// ------------------------------------------------------------------------------------------------------- operators

struct Operator {
  c10::OperatorHandle handle;
  size_t arity;
  bool single_tensor;  // the common case: exactly one Tensor comes back
  bool writes_first;   // in place: what comes back is the first argument
};

std::vector<Operator>& operators() {
  static auto* list = new std::vector<Operator>();
  return *list;
}

std::string overloads_of(const std::string& name) {
  std::string found;
  for (const auto& op : c10::Dispatcher::singleton().getAllOpNames()) {
    if (op.name == name) found += (found.empty() ? "" : ", ") + (op.overload_name.empty() ? std::string("(default)") : op.overload_name);
  }
  return found;
}

/// resolve('aten::add.Tensor') → index of the operator, for call().
napi_value resolve(napi_env env, const Arguments& args) {
  const std::string full = to_string(env, args[0]);
  const auto scope = full.find("::");
  if (scope == std::string::npos) throw std::runtime_error("operator '" + full + "': expected namespace::name or namespace::name.overload");
  const auto dot = full.find('.', scope);
  const std::string name = full.substr(0, dot);
  const std::string overload = dot == std::string::npos ? "" : full.substr(dot + 1);
  const auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
  if (!handle.has_value()) {
    const std::string others = overloads_of(name);
    throw std::runtime_error("operator '" + full + "' does not exist" + (others.empty() ? "" : "; overloads of " + name + ": " + others));
  }
  const auto& schema = handle->schema();
  const auto& returns = schema.returns();
  const bool single = returns.size() == 1 && returns[0].type()->kind() == c10::TypeKind::TensorType;
  const auto* alias = schema.arguments().empty() ? nullptr : schema.arguments()[0].alias_info();
  const bool in_place = alias != nullptr && alias->isWrite();
  operators().push_back({*handle, schema.arguments().size(), single, in_place});
  return from_double(env, static_cast<double>(operators().size() - 1));
}

[[noreturn]] void rethrow_with_context(napi_env env, const Operator& op, const Arguments& args, const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  std::ostringstream message;
  message << op.handle.schema().name();
  if (!op.handle.schema().overload_name().empty()) message << "." << op.handle.schema().overload_name();
  message << ": " << (torch_error != nullptr ? torch_error->what_without_backtrace() : error.what());
  message << "\n  arguments: ";
  for (size_t i = 1; i < args.count; ++i) {
    if (i > 1) message << ", ";
    try {
      napi_value value = args[i];
      switch (type_of(env, value)) {
        case napi_undefined: message << "default"; break;
        case napi_null: message << "null"; break;
        case napi_number: message << to_double(env, value); break;
        case napi_boolean: message << (to_bool(env, value) ? "true" : "false"); break;
        case napi_string: message << "'" << to_string(env, value) << "'"; break;
        default: {
          if (is_array(env, value)) {
            message << "[";
            const uint32_t length = std::min<uint32_t>(array_length(env, value), 8);
            for (uint32_t k = 0; k < length; ++k) {
              napi_value entry = element(env, value, k);
              const double handle = handle_of(env, entry);
              if (k > 0) message << ", ";
              if (!std::isnan(handle)) message << describe(tensors().get(handle));
              else if (type_of(env, entry) == napi_number) message << to_double(env, entry);
              else message << "?";
            }
            message << "]";
          } else {
            message << describe(tensor_of(env, value));
          }
        }
      }
    } catch (const std::exception& inner) {
      message << "(" << inner.what() << ")";
    }
  }
  message << "\n  schema: " << op.handle.schema();
  throw std::runtime_error(message.str());
}

/// call(operator, ...arguments): undefined takes the schema's default, null is None. A single Tensor comes back as its
/// bare handle; in-place operators return undefined (the caller has the tensor already); everything else is converted.
napi_value call(napi_env env, const Arguments& args) {
  const auto index = static_cast<size_t>(to_double(env, args[0]));
  if (index >= operators().size()) throw std::runtime_error("unknown operator index");
  const Operator op = operators()[index];
  const auto& schema = op.handle.schema();
  try {
    if (args.count - 1 > op.arity) {
      throw std::runtime_error("takes " + std::to_string(op.arity) + " arguments, got " + std::to_string(args.count - 1));
    }
    torch::jit::Stack stack;
    stack.reserve(op.arity);
    for (size_t i = 0; i < op.arity; ++i) {
      const auto& argument = schema.arguments()[i];
      const bool given = i + 1 < args.count && type_of(env, args.values[i + 1]) != napi_undefined;
      if (given) {
        try {
          stack.push_back(ivalue_of(env, args.values[i + 1], *argument.type(), *argument.real_type()));
        } catch (const PendingException&) {
          throw;
        } catch (const std::exception& error) {
          const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
          throw std::runtime_error("argument '" + argument.name() + "' (" + argument.type()->str() + "): " +
                                   (torch_error != nullptr ? torch_error->what_without_backtrace() : error.what()));
        }
      } else if (argument.default_value().has_value()) {
        stack.push_back(*argument.default_value());
      } else if (argument.type()->kind() == c10::TypeKind::OptionalType) {
        stack.emplace_back();
      } else {
        throw std::runtime_error("argument '" + argument.name() + "' (" + argument.type()->str() + ") is missing");
      }
    }
    op.handle.callBoxed(stack);
    if (op.writes_first) return undefined(env);
    if (op.single_tensor) {
      at::Tensor result = std::move(stack[0]).toTensor();
      if (!result.defined()) return null_value(env);
      return from_double(env, tensors().insert(std::move(result)));
    }
    if (stack.size() == 1) return javascript_of(env, stack[0]);
    napi_value results;
    check(env, napi_create_array_with_length(env, stack.size(), &results));
    for (size_t i = 0; i < stack.size(); ++i) {
      check(env, napi_set_element(env, results, static_cast<uint32_t>(i), javascript_of(env, stack[i])));
    }
    return results;
  } catch (const PendingException&) {
    throw;
  } catch (const std::exception& error) {
    rethrow_with_context(env, op, args, error);
  }
}

/// schema('aten::add') → one description per overload, for the generator of typed functions and for people.
napi_value schema(napi_env env, const Arguments& args) {
  const std::string name = to_string(env, args[0]);
  napi_value list;
  check(env, napi_create_array(env, &list));
  uint32_t count = 0;
  for (const auto& op_name : c10::Dispatcher::singleton().getAllOpNames()) {
    if (op_name.name != name) continue;
    const auto handle = c10::Dispatcher::singleton().findSchema(op_name);
    if (!handle.has_value()) continue;
    const auto& schema = handle->schema();
    napi_value object;
    check(env, napi_create_object(env, &object));
    set_property(env, object, "name", from_string(env, schema.name()));
    set_property(env, object, "overload", from_string(env, schema.overload_name()));
    std::ostringstream text;
    text << schema;
    set_property(env, object, "text", from_string(env, text.str()));
    auto describe_argument = [&](const c10::Argument& argument) {
      napi_value entry;
      check(env, napi_create_object(env, &entry));
      set_property(env, entry, "name", from_string(env, argument.name()));
      set_property(env, entry, "type", from_string(env, argument.real_type()->str()));
      set_property(env, entry, "kwarg", from_bool(env, argument.kwarg_only()));
      const auto* alias = argument.alias_info();
      set_property(env, entry, "write", from_bool(env, alias != nullptr && alias->isWrite()));
      if (argument.default_value().has_value()) {
        std::ostringstream shown;
        shown << *argument.default_value();
        set_property(env, entry, "default", from_string(env, shown.str()));
      }
      return entry;
    };
    napi_value arguments;
    check(env, napi_create_array(env, &arguments));
    for (size_t i = 0; i < schema.arguments().size(); ++i) {
      check(env, napi_set_element(env, arguments, static_cast<uint32_t>(i), describe_argument(schema.arguments()[i])));
    }
    set_property(env, object, "arguments", arguments);
    napi_value returns;
    check(env, napi_create_array(env, &returns));
    for (size_t i = 0; i < schema.returns().size(); ++i) {
      check(env, napi_set_element(env, returns, static_cast<uint32_t>(i), describe_argument(schema.returns()[i])));
    }
    set_property(env, object, "returns", returns);
    check(env, napi_set_element(env, list, count++, object));
  }
  return list;
}

// ------------------------------------------------------------------------------------------------------- ownership

// Buffers lent to tensors are given back here: a tensor may die on another thread, a reference may not.
std::mutex returned_mutex;
std::atomic<bool> any_returned{false};
std::vector<napi_ref>& returned_buffers() {
  static auto* list = new std::vector<napi_ref>();
  return *list;
}

void drop_returned_buffers(napi_env env) {
  std::vector<napi_ref> dropped;
  {
    const std::lock_guard<std::mutex> lock(returned_mutex);
    dropped.swap(returned_buffers());
    any_returned = false;
  }
  for (napi_ref reference : dropped) napi_delete_reference(env, reference);
}

napi_value release(napi_env env, const Arguments& args) {
  tensors().erase(to_double(env, args[0]));
  if (any_returned.load(std::memory_order_relaxed)) drop_returned_buffers(env);
  return undefined(env);
}

napi_value alias(napi_env env, const Arguments& args) {
  return from_double(env, tensors().insert(tensor_of(env, args[0])));
}

napi_value live_tensors(napi_env env, const Arguments&) { return from_double(env, static_cast<double>(tensors().live())); }

/// Tells V8 how much memory hangs on objects that only the collector will free.
napi_value adjust_external_memory(napi_env env, const Arguments& args) {
  int64_t total = 0;
  check(env, napi_adjust_external_memory(env, static_cast<int64_t>(to_double(env, args[0])), &total));
  return from_double(env, static_cast<double>(total));
}

// ------------------------------------------------------------------------------------------------------- metadata

napi_value shape(napi_env env, const Arguments& args) {
  const auto& tensor = tensor_of(env, args[0]);
  napi_value array;
  check(env, napi_create_array_with_length(env, tensor.dim(), &array));
  for (int64_t i = 0; i < tensor.dim(); ++i) {
    check(env, napi_set_element(env, array, static_cast<uint32_t>(i), from_double(env, static_cast<double>(tensor.size(i)))));
  }
  return array;
}

napi_value strides(napi_env env, const Arguments& args) {
  const auto& tensor = tensor_of(env, args[0]);
  napi_value array;
  check(env, napi_create_array_with_length(env, tensor.dim(), &array));
  for (int64_t i = 0; i < tensor.dim(); ++i) {
    check(env, napi_set_element(env, array, static_cast<uint32_t>(i), from_double(env, static_cast<double>(tensor.stride(i)))));
  }
  return array;
}

napi_value dtype(napi_env env, const Arguments& args) { return from_string(env, dtype_name(tensor_of(env, args[0]).scalar_type())); }
napi_value device(napi_env env, const Arguments& args) { return from_string(env, tensor_of(env, args[0]).device().str()); }
napi_value numel(napi_env env, const Arguments& args) { return from_double(env, static_cast<double>(tensor_of(env, args[0]).numel())); }
napi_value is_contiguous(napi_env env, const Arguments& args) { return from_bool(env, tensor_of(env, args[0]).is_contiguous()); }

napi_value storage_bytes(napi_env env, const Arguments& args) {
  const auto& tensor = tensor_of(env, args[0]);
  if (!tensor.has_storage()) return from_double(env, 0);
  // A view keeps somebody else's storage alive; only the first owner is charged for it.
  return from_double(env, tensor.storage().use_count() > 1 ? 0 : static_cast<double>(tensor.storage().nbytes()));
}

napi_value same_storage(napi_env env, const Arguments& args) {
  return from_bool(env, tensor_of(env, args[0]).is_alias_of(tensor_of(env, args[1])));
}

napi_value describe_tensor(napi_env env, const Arguments& args) { return from_string(env, describe(tensor_of(env, args[0]))); }

// ------------------------------------------------------------------------------------------------------------ data

std::vector<int64_t> sizes_of(napi_env env, napi_value array) {
  std::vector<int64_t> sizes(array_length(env, array));
  for (uint32_t i = 0; i < sizes.size(); ++i) {
    sizes[i] = integer_of(env, element(env, array, i));
    if (sizes[i] < 0) throw std::runtime_error("a shape may not have the negative size " + std::to_string(sizes[i]));
  }
  return sizes;
}

/// from_buffer(view, dtype, shape, share): bytes of a typed array as a CPU tensor, copied or lent.
napi_value from_buffer(napi_env env, const Arguments& args) {
  drop_returned_buffers(env);
  void* data = nullptr;
  size_t bytes = 0;
  napi_typedarray_type array_type;
  size_t length = 0;
  napi_value array_buffer;
  size_t offset = 0;
  check(env, napi_get_typedarray_info(env, args[0], &array_type, &length, &data, &array_buffer, &offset));
  static constexpr size_t kElementSize[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  if (static_cast<size_t>(array_type) >= std::size(kElementSize)) throw std::runtime_error("typed arrays of this kind are not supported");
  bytes = length * kElementSize[array_type];
  const auto type = dtype_from(to_string(env, args[1]));
  const auto sizes = sizes_of(env, args[2]);
  size_t needed = c10::elementSize(type);
  for (const auto size : sizes) {
    if (size > 0 && needed > std::numeric_limits<size_t>::max() / static_cast<size_t>(size)) throw std::runtime_error("the shape is too large");
    needed *= static_cast<size_t>(size);
  }
  if (needed != bytes) {
    throw std::runtime_error("the data holds " + std::to_string(bytes) + " bytes, the shape and dtype need " + std::to_string(needed));
  }
  const auto options = at::TensorOptions().dtype(type);
  if (!to_bool(env, args[3])) {
    at::Tensor tensor = at::empty(sizes, options);
    if (bytes > 0) std::memcpy(tensor.data_ptr(), data, bytes);
    return from_double(env, tensors().insert(std::move(tensor)));
  }
  napi_ref reference;
  check(env, napi_create_reference(env, array_buffer, 1, &reference));
  at::Tensor tensor = at::from_blob(
      data, sizes,
      [reference](void*) {
        const std::lock_guard<std::mutex> lock(returned_mutex);
        returned_buffers().push_back(reference);
        any_returned = true;
      },
      options);
  return from_double(env, tensors().insert(std::move(tensor)));
}

/// to_buffer(tensor): the values, copied into a fresh typed array of the matching type. bfloat16 and float16 come out
/// as float32, bool as Uint8Array, int64 as BigInt64Array.
napi_value to_buffer(napi_env env, const Arguments& args) {
  at::NoGradGuard no_grad;
  at::Tensor tensor = tensor_of(env, args[0]).detach();
  napi_typedarray_type array_type;
  switch (tensor.scalar_type()) {
    case at::kBFloat16:
    case at::kHalf:
      tensor = tensor.to(at::kFloat);
      array_type = napi_float32_array;
      break;
    case at::kFloat: array_type = napi_float32_array; break;
    case at::kDouble: array_type = napi_float64_array; break;
    case at::kLong: array_type = napi_bigint64_array; break;
    case at::kUInt64: array_type = napi_biguint64_array; break;
    case at::kInt: array_type = napi_int32_array; break;
    case at::kUInt32: array_type = napi_uint32_array; break;
    case at::kShort: array_type = napi_int16_array; break;
    case at::kUInt16: array_type = napi_uint16_array; break;
    case at::kChar: array_type = napi_int8_array; break;
    case at::kByte:
    case at::kBool: array_type = napi_uint8_array; break;
    default: throw std::runtime_error("values of dtype " + dtype_name(tensor.scalar_type()) + " cannot be read");
  }
  tensor = tensor.to(at::kCPU).contiguous();
  void* out = nullptr;
  napi_value buffer;
  check(env, napi_create_arraybuffer(env, tensor.nbytes(), &out, &buffer));
  if (tensor.nbytes() > 0) std::memcpy(out, tensor.data_ptr(), tensor.nbytes());
  napi_value array;
  check(env, napi_create_typedarray(env, array_type, tensor.numel(), buffer, 0, &array));
  return array;
}

/// to_bytes(tensor): the raw little-endian bytes in the tensor's own dtype, for writing files.
napi_value to_bytes(napi_env env, const Arguments& args) {
  at::NoGradGuard no_grad;
  at::Tensor tensor = tensor_of(env, args[0]).detach().to(at::kCPU).contiguous();
  void* out = nullptr;
  napi_value buffer;
  check(env, napi_create_arraybuffer(env, tensor.nbytes(), &out, &buffer));
  if (tensor.nbytes() > 0) std::memcpy(out, tensor.data_ptr(), tensor.nbytes());
  napi_value array;
  check(env, napi_create_typedarray(env, napi_uint8_array, tensor.nbytes(), buffer, 0, &array));
  return array;
}

napi_value item(napi_env env, const Arguments& args) { return scalar_value(env, tensor_of(env, args[0]).item()); }

// -------------------------------------------------------------------------------------------------------- autograd

napi_value set_requires_grad(napi_env env, const Arguments& args) {
  tensor_of(env, args[0]).set_requires_grad(to_bool(env, args[1]));
  return undefined(env);
}

napi_value requires_grad(napi_env env, const Arguments& args) { return from_bool(env, tensor_of(env, args[0]).requires_grad()); }
napi_value is_leaf(napi_env env, const Arguments& args) { return from_bool(env, tensor_of(env, args[0]).is_leaf()); }

napi_value gradient(napi_env env, const Arguments& args) {
  const at::Tensor& grad = tensor_of(env, args[0]).grad();
  if (!grad.defined()) return null_value(env);
  return from_double(env, tensors().insert(grad));
}

napi_value set_gradient(napi_env env, const Arguments& args) {
  tensor_of(env, args[0]).mutable_grad() = is_nullish(env, args[1]) ? at::Tensor() : tensor_of(env, args[1]);
  return undefined(env);
}

torch::autograd::variable_list tensor_list(napi_env env, napi_value array) {
  torch::autograd::variable_list list;
  const uint32_t length = array_length(env, array);
  list.reserve(length);
  for (uint32_t i = 0; i < length; ++i) {
    napi_value entry = element(env, array, i);
    list.push_back(is_nullish(env, entry) ? at::Tensor() : tensor_of(env, entry));
  }
  return list;
}

/// backward(outputs, gradients, retain_graph)
napi_value backward(napi_env env, const Arguments& args) {
  const at::AutoGradMode enabled(true);
  torch::autograd::backward(tensor_list(env, args[0]), tensor_list(env, args[1]), to_bool(env, args[2]), false);
  return undefined(env);
}

/// grad(outputs, inputs, gradients, retain_graph, create_graph, allow_unused) → handles or nulls
napi_value grad(napi_env env, const Arguments& args) {
  const at::AutoGradMode enabled(true);
  auto grads = torch::autograd::grad(tensor_list(env, args[0]), tensor_list(env, args[1]), tensor_list(env, args[2]),
                                     to_bool(env, args[3]), to_bool(env, args[4]), to_bool(env, args[5]));
  napi_value array;
  check(env, napi_create_array_with_length(env, grads.size(), &array));
  for (size_t i = 0; i < grads.size(); ++i) {
    napi_value entry = grads[i].defined() ? from_double(env, tensors().insert(grads[i])) : null_value(env);
    check(env, napi_set_element(env, array, static_cast<uint32_t>(i), entry));
  }
  return array;
}

napi_value set_grad_enabled(napi_env env, const Arguments& args) {
  const bool before = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(to_bool(env, args[0]));
  return from_bool(env, before);
}

/// set_autocast(device type, dtype or null) → the dtype before, or null when it was off
napi_value set_autocast(napi_env env, const Arguments& args) {
  const auto type = c10::Device(to_string(env, args[0])).type();
  const bool was_on = at::autocast::is_autocast_enabled(type);
  napi_value before = was_on ? from_string(env, dtype_name(at::autocast::get_autocast_dtype(type))) : null_value(env);
  if (is_nullish(env, args[1])) {
    at::autocast::set_autocast_enabled(type, false);
    at::autocast::clear_cache();
  } else {
    at::autocast::set_autocast_dtype(type, dtype_from(to_string(env, args[1])));
    at::autocast::set_autocast_enabled(type, true);
  }
  return before;
}

// ---------------------------------------------------------------------------------------------------------- random

/// generator(device) → handle of a fresh generator
napi_value create_generator(napi_env env, const Arguments& args) {
  const c10::Device device(to_string(env, args[0]));
  at::Generator generator = at::globalContext().defaultGenerator(device).clone();
  return from_double(env, generators().insert(std::move(generator)));
}

at::Generator generator_of(napi_env env, napi_value value) {
  if (type_of(env, value) == napi_string) return at::globalContext().defaultGenerator(c10::Device(to_string(env, value)));
  const double handle = handle_of(env, value);
  if (std::isnan(handle)) throw std::runtime_error("expected a Generator or a device name");
  return generators().get(handle);
}

napi_value release_generator(napi_env env, const Arguments& args) {
  generators().erase(to_double(env, args[0]));
  return undefined(env);
}

napi_value manual_seed(napi_env env, const Arguments& args) {
  auto generator = generator_of(env, args[0]);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_current_seed(static_cast<uint64_t>(integer_of(env, args[1])));
  return undefined(env);
}

napi_value random_state(napi_env env, const Arguments& args) {
  auto generator = generator_of(env, args[0]);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return from_double(env, tensors().insert(generator.get_state()));
}

napi_value set_random_state(napi_env env, const Arguments& args) {
  auto generator = generator_of(env, args[0]);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(tensor_of(env, args[1]));
  return undefined(env);
}

// --------------------------------------------------------------------------------------------------------- runtime

napi_value set_threads(napi_env env, const Arguments& args) {
  const auto count = integer_of(env, args[0]);
  if (count < 1) throw std::runtime_error("threads must be at least 1");
  at::set_num_threads(static_cast<int>(count));
  return undefined(env);
}

napi_value threads(napi_env env, const Arguments&) { return from_double(env, at::get_num_threads()); }

napi_value set_float32_matmul_precision(napi_env env, const Arguments& args) {
  at::globalContext().setFloat32MatmulPrecision(to_string(env, args[0]));
  return undefined(env);
}

napi_value float32_matmul_precision(napi_env env, const Arguments&) {
  switch (at::globalContext().float32MatmulPrecision()) {
    case at::Float32MatmulPrecision::HIGHEST: return from_string(env, "highest");
    case at::Float32MatmulPrecision::HIGH: return from_string(env, "high");
    default: return from_string(env, "medium");
  }
}

napi_value set_deterministic(napi_env env, const Arguments& args) {
  at::globalContext().setDeterministicAlgorithms(to_bool(env, args[0]), false);
  return undefined(env);
}

napi_value set_flush_denormal(napi_env env, const Arguments& args) {
  return from_bool(env, at::globalContext().setFlushDenormal(to_bool(env, args[0])));
}

napi_value runtime_info(napi_env env, const Arguments&) {
  napi_value info;
  check(env, napi_create_object(env, &info));
  set_property(env, info, "version", from_string(env, TORCH_VERSION));
  set_property(env, info, "cpuCapability", from_string(env, at::get_cpu_capability()));
  set_property(env, info, "threads", from_double(env, at::get_num_threads()));
  set_property(env, info, "hasMkl", from_bool(env, at::hasMKL()));
  set_property(env, info, "hasOneDnn", from_bool(env, at::globalContext().hasMKLDNN()));
  set_property(env, info, "hasCuda", from_bool(env, at::globalContext().hasCUDA()));
  set_property(env, info, "cudaDevices", from_double(env, at::globalContext().hasCUDA() ? static_cast<double>(at::detail::getCUDAHooks().deviceCount()) : 0));
  return info;
}

napi_value synchronize(napi_env env, const Arguments& args) {
  const c10::Device device(to_string(env, args[0]));
  if (device.is_cuda()) at::detail::getCUDAHooks().deviceSynchronize(device.has_index() ? device.index() : 0);
  return undefined(env);
}

/// Keeps freed blocks in the process instead of returning them to the system after each step: glibc's default
/// thresholds cost about a third of a small model's training step.
napi_value keep_freed_memory(napi_env env, const Arguments& args) {
#if defined(__GLIBC__)
  const bool keep = to_bool(env, args[0]);
  mallopt(M_MMAP_THRESHOLD, keep ? 32 << 20 : 128 << 10);
  mallopt(M_TRIM_THRESHOLD, keep ? 2147483647 : 128 << 10);
  mallopt(M_TOP_PAD, keep ? 64 << 20 : 128 << 10);
  return from_bool(env, keep);
#else
  (void)args;
  return from_bool(env, false);
#endif
}

/// Takes the pages that lie wholly within a mapped tensor out of this process; they are read again from the file when touched.
napi_value forget_pages(napi_env env, const Arguments& args) {
#if defined(__linux__)
  const at::Tensor& tensor = tensor_of(env, args[0]);
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(tensor.const_data_ptr()), end = begin + tensor.nbytes();
  const uintptr_t first = (begin + page - 1) / page * page, last = end / page * page;
  if (tensor.is_contiguous() && last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
#else
  (void)args;
#endif
  return undefined(env);
}

napi_value profile_start(napi_env env, const Arguments& args) {
  start_profile(c10::Device(to_string(env, args[0])));
  return undefined(env);
}

/// [{ name, calls, seconds, flops }]
napi_value profile_stop(napi_env env, const Arguments&) {
  napi_value list;
  check(env, napi_create_array(env, &list));
  uint32_t i = 0;
  for (const auto& [name, time] : stop_profile()) {
    napi_value entry;
    check(env, napi_create_object(env, &entry));
    set_property(env, entry, "name", from_string(env, name));
    set_property(env, entry, "calls", from_double(env, time.calls));
    set_property(env, entry, "seconds", from_double(env, time.seconds));
    set_property(env, entry, "flops", from_double(env, time.flops));
    check(env, napi_set_element(env, list, i++, entry));
  }
  return list;
}

napi_value initialize(napi_env env, napi_value exports) {
  try {
    if (handle_key_ref != nullptr) {
      throw std::runtime_error("@dunwu/torch is loaded once per process, on one thread: use worker processes, not worker threads");
    }
    napi_value key;
    check(env, napi_create_symbol(env, from_string(env, "dunwu.handle"), &key));
    check(env, napi_create_reference(env, key, 1, &handle_key_ref));
    set_property(env, exports, "handleKey", key);
    export_function<resolve>(env, exports, "resolve");
    export_function<call>(env, exports, "call");
    export_function<schema>(env, exports, "schema");
    export_function<release>(env, exports, "release");
    export_function<alias>(env, exports, "alias");
    export_function<live_tensors>(env, exports, "liveTensors");
    export_function<adjust_external_memory>(env, exports, "adjustExternalMemory");
    export_function<shape>(env, exports, "shape");
    export_function<strides>(env, exports, "strides");
    export_function<dtype>(env, exports, "dtype");
    export_function<device>(env, exports, "device");
    export_function<numel>(env, exports, "numel");
    export_function<is_contiguous>(env, exports, "isContiguous");
    export_function<storage_bytes>(env, exports, "storageBytes");
    export_function<same_storage>(env, exports, "sameStorage");
    export_function<describe_tensor>(env, exports, "describe");
    export_function<from_buffer>(env, exports, "fromBuffer");
    export_function<to_buffer>(env, exports, "toBuffer");
    export_function<to_bytes>(env, exports, "toBytes");
    export_function<item>(env, exports, "item");
    export_function<set_requires_grad>(env, exports, "setRequiresGrad");
    export_function<requires_grad>(env, exports, "requiresGrad");
    export_function<is_leaf>(env, exports, "isLeaf");
    export_function<gradient>(env, exports, "gradient");
    export_function<set_gradient>(env, exports, "setGradient");
    export_function<backward>(env, exports, "backward");
    export_function<grad>(env, exports, "grad");
    export_function<set_grad_enabled>(env, exports, "setGradEnabled");
    export_function<set_autocast>(env, exports, "setAutocast");
    export_function<create_generator>(env, exports, "createGenerator");
    export_function<release_generator>(env, exports, "releaseGenerator");
    export_function<manual_seed>(env, exports, "manualSeed");
    export_function<random_state>(env, exports, "randomState");
    export_function<set_random_state>(env, exports, "setRandomState");
    export_function<set_threads>(env, exports, "setThreads");
    export_function<threads>(env, exports, "threads");
    export_function<set_float32_matmul_precision>(env, exports, "setFloat32MatmulPrecision");
    export_function<float32_matmul_precision>(env, exports, "float32MatmulPrecision");
    export_function<set_deterministic>(env, exports, "setDeterministic");
    export_function<set_flush_denormal>(env, exports, "setFlushDenormal");
    export_function<runtime_info>(env, exports, "runtimeInfo");
    export_function<synchronize>(env, exports, "synchronize");
    export_function<keep_freed_memory>(env, exports, "keepFreedMemory");
    export_function<forget_pages>(env, exports, "forgetPages");
    export_function<profile_start>(env, exports, "profileStart");
    export_function<profile_stop>(env, exports, "profileStop");
    return exports;
  } catch (const std::exception& error) {
    throw_to_javascript(env, error);
    return nullptr;
  }
}

}  // namespace
}  // namespace dunwu

NAPI_MODULE(NODE_GYP_MODULE_NAME, dunwu::initialize)

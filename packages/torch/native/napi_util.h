// Small conveniences over Node-API: every call is checked, every C++ exception becomes a JavaScript error.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace dunwu {

/// Thrown when a JavaScript exception is already pending: unwinds to the entry point, which then just returns.
struct PendingException : std::exception {};

inline void check(napi_env env, napi_status status) {
  if (status == napi_ok) return;
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) throw PendingException();
  const napi_extended_error_info* info = nullptr;
  napi_get_last_error_info(env, &info);
  throw std::runtime_error(info != nullptr && info->error_message != nullptr ? info->error_message : "Node-API call failed");
}

inline napi_valuetype type_of(napi_env env, napi_value value) {
  napi_valuetype type;
  check(env, napi_typeof(env, value, &type));
  return type;
}

inline std::string to_string(napi_env env, napi_value value) {
  size_t length = 0;
  check(env, napi_get_value_string_utf8(env, value, nullptr, 0, &length));
  std::string text(length, '\0');
  check(env, napi_get_value_string_utf8(env, value, text.data(), length + 1, &length));
  return text;
}

inline double to_double(napi_env env, napi_value value) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok) throw std::runtime_error("expected a number");
  return number;
}

inline bool to_bool(napi_env env, napi_value value) {
  bool flag = false;
  if (napi_get_value_bool(env, value, &flag) != napi_ok) throw std::runtime_error("expected a boolean");
  return flag;
}

inline bool is_nullish(napi_env env, napi_value value) {
  const auto type = type_of(env, value);
  return type == napi_undefined || type == napi_null;
}

inline napi_value from_string(napi_env env, const std::string& text) {
  napi_value value;
  check(env, napi_create_string_utf8(env, text.data(), text.size(), &value));
  return value;
}

inline napi_value from_double(napi_env env, double number) {
  napi_value value;
  check(env, napi_create_double(env, number, &value));
  return value;
}

inline napi_value from_bool(napi_env env, bool flag) {
  napi_value value;
  check(env, napi_get_boolean(env, flag, &value));
  return value;
}

inline napi_value undefined(napi_env env) {
  napi_value value;
  check(env, napi_get_undefined(env, &value));
  return value;
}

inline napi_value null_value(napi_env env) {
  napi_value value;
  check(env, napi_get_null(env, &value));
  return value;
}

inline uint32_t array_length(napi_env env, napi_value array) {
  uint32_t length = 0;
  check(env, napi_get_array_length(env, array, &length));
  return length;
}

inline napi_value element(napi_env env, napi_value array, uint32_t index) {
  napi_value value;
  check(env, napi_get_element(env, array, index, &value));
  return value;
}

inline bool is_array(napi_env env, napi_value value) {
  bool yes = false;
  check(env, napi_is_array(env, value, &yes));
  return yes;
}

inline napi_value property(napi_env env, napi_value object, const char* name) {
  napi_value value;
  check(env, napi_get_named_property(env, object, name, &value));
  return value;
}

inline void set_property(napi_env env, napi_value object, const char* name, napi_value value) {
  check(env, napi_set_named_property(env, object, name, value));
}

/// The arguments of one native call.
struct Arguments {
  static constexpr size_t kMax = 40;
  napi_value values[kMax];
  size_t count = kMax;

  Arguments(napi_env env, napi_callback_info info) {
    check(env, napi_get_cb_info(env, info, &count, values, nullptr, nullptr));
    if (count > kMax) throw std::runtime_error("too many arguments");
  }
  napi_value operator[](size_t index) const {
    if (index >= count) throw std::runtime_error("missing argument " + std::to_string(index));
    return values[index];
  }
};

using Body = napi_value (*)(napi_env, const Arguments&);

/// Message of any exception that libtorch throws, without its C++ backtrace. Defined in binding.cpp.
void throw_to_javascript(napi_env env, const std::exception& error);

template <Body body>
napi_value entry(napi_env env, napi_callback_info info) {
  try {
    const Arguments arguments(env, info);
    return body(env, arguments);
  } catch (const PendingException&) {
    return nullptr;
  } catch (const std::exception& error) {
    throw_to_javascript(env, error);
    return nullptr;
  } catch (...) {
    napi_throw_error(env, "DUNWU_TORCH", "unknown native error");
    return nullptr;
  }
}

template <Body body>
void export_function(napi_env env, napi_value exports, const char* name) {
  napi_value function;
  check(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, entry<body>, nullptr, &function));
  set_property(env, exports, name, function);
}

}  // namespace dunwu

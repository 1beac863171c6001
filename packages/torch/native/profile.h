// Time per operator.
#pragma once

#include <c10/core/Device.h>

#include <map>
#include <string>

namespace dunwu {

struct OperatorTime {
  double calls = 0;
  /// Without the time of operators that it called.
  double seconds = 0;
  /// Of matrix products; 0 for everything else.
  double flops = 0;
};

/// Begins anew; what an earlier profile had found and nobody asked for is gone. On a CUDA device each operator is waited for when it
/// ends, so that its time is its own.
void start_profile(c10::Device device);

/// @returns what was found since start_profile, by operator; nothing when none was started.
std::map<std::string, OperatorTime> stop_profile();

}  // namespace dunwu

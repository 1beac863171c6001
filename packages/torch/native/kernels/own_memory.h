// Memory for tensors that are read again and again, as weights and caches are: apart from the heap, and in huge pages where the system has them.
#pragma once

#include <ATen/core/Tensor.h>

namespace dunwu {

/// A tensor in memory of its own, not filled, where it is large: the system gives memory to what is written, and takes it back as soon as the
/// tensor goes. The heap would do neither, and may not find it again in one piece. Huge pages: what is read once a step is found without a
/// walk through tables for every four kilobytes.
///
/// Of those that are to be kept (`keep`), the last one's memory stays for the next of about its size, if it is no larger than 128 MiB. So do
/// caches: one is made for every batch that is generated, and to be given memory again costs more than to write to it, since the system clears
/// it first. What stands in it is then whatever the last one left.
///
/// Throws at::OutOfMemoryError where the system has no room to reserve.
at::Tensor own_memory(at::IntArrayRef sizes, at::ScalarType type, bool keep = false);

}  // namespace dunwu

// One parallel region for a whole computation: its threads share out each step and meet at barriers, which costs a
// microsecond, where a region of its own for every small step would cost more than the step.
#pragma once

#include <cstdint>
#include <utility>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace dunwu {

/// A thread of the region, and how many there are.
struct Team {
  int64_t member = 0;
  int64_t size = 1;

  /// Waits for all members: what they wrote before is seen by all after.
  void meet() const {
#ifdef _OPENMP
#pragma omp barrier
#endif
  }

  /// This member's part of [0, total): whole blocks of `block`, as even as they allow.
  std::pair<int64_t, int64_t> share(int64_t total, int64_t block = 1) const {
    const int64_t blocks = (total + block - 1) / block;
    const int64_t begin = blocks * member / size * block, end = blocks * (member + 1) / size * block;
    return {begin < total ? begin : total, end < total ? end : total};
  }
};

/// Runs `body(team)` once on each of `threads` threads. It must not throw.
template <typename Body>
void together(int64_t threads, const Body& body) {
#ifdef _OPENMP
#pragma omp parallel num_threads(static_cast<int>(threads))
  body(Team{omp_get_thread_num(), omp_get_num_threads()});
#else
  (void)threads;
  body(Team{});
#endif
}

}  // namespace dunwu

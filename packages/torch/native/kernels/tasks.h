// Tasks of unlike length, shared out among threads while they run.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace dunwu {

/// Runs `prepare()(task)` for every task, on whichever thread is free; `prepare` is called once on each thread. A task writes places of its own.
template <typename Prepare>
void run_tasks(int64_t tasks, const Prepare& prepare) {
  const int64_t workers = std::min<int64_t>(tasks, at::get_num_threads());
  std::atomic<int64_t> next{0};
  at::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      auto work = prepare();
      for (int64_t task = next++; task < tasks; task = next++) work(task);
    }
  });
}

}  // namespace dunwu

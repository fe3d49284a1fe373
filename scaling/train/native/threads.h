// Work shared out among the threads that XLA lends a call.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

// one(0), ..., one(n - 1) by the threads of a pool and the caller, who waits only for what others have begun: a pool
// whose threads all wait cannot lock up. A helper that comes too late finds nothing to do.
template <class One>
void share_out(ffi::ThreadPool& pool, int64_t n, const One& one) {
  struct Count {
    std::atomic<int64_t> next{0}, done{0};
  };
  auto count = std::make_shared<Count>();
  const auto help = [count, n, work = &one] {
    for (int64_t i; (i = count->next++) < n; count->done++) (*work)(i);
  };
  for (int64_t helpers = std::min(pool.num_threads(), n) - 1; helpers > 0; --helpers) pool.Schedule([help] { help(); });
  help();
  while (count->done < n) std::this_thread::yield();
}

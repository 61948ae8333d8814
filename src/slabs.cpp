// Slab sizes and the workers' loop.
#include "slabs.h"

#include <unistd.h>

#include <algorithm>

#include "dispatch.h"

namespace epsball {
namespace {

Index l2_bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  static const long size = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (size > 0) return size;
#endif
  return 1 << 20;
}

// On a device all rows, as long as they fit into its memory. On the host: a quarter of L2 holds the slab, so that
// weights on their way through do not push it out; a whole number of slabs per thread.
Index rows_per_slab(const Job& job, int threads) {
  if (job.slab_rows > 0) return std::min(job.slab_rows, job.rows);
  if (const int forced = requested_slab_rows()) return forced;
  if (job.kernels.device) return job.rows;
  const Index tile = job.tile;
  const Index fitting = l2_bytes() / 4 / (std::max<Index>(job.floats_per_row, 1) * 4);
  const Index most = std::clamp<Index>(fitting / tile * tile, tile, 16 * tile);
  const Index rounds = (job.rows + most * threads - 1) / (most * threads);
  return (job.rows + rounds * threads - 1) / (rounds * threads);
}

}  // namespace

bool Worker::next(Index& first, Index& rows) {
  interruption.check();
  const Index task = tasks_.next();
  if (task < 0) return false;
  first = task * slab_rows;
  rows = std::min(slab_rows, rows_ - first);
  return true;
}

namespace {

// One thread fills the queue. Where memory does not hold a slab of all rows, slabs of a quarter are tried.
void for_slabs_on_device(const Job& job, const std::function<void(Worker&)>& work) {
  Borrowed arena(job.arenas, job.kernels);
  const auto run = [&](Index slab_rows) {
    Tasks tasks((job.rows + slab_rows - 1) / slab_rows);
    Worker self(job, *arena, nullptr, tasks, slab_rows);
    work(self);
    (*arena).check();
  };
  const Index most = rows_per_slab(job, 1);
  try {
    run(most);
  } catch (const std::bad_alloc&) {  // before a slab was begun: buffers are taken first
    (*arena).clear();
    run((most + 3) / 4);
  }
}

}  // namespace

void for_slabs(const Job& job, const std::function<void(Worker&)>& work) {
  if (job.rows == 0) return;
  if (job.kernels.device) return for_slabs_on_device(job, work);
  int threads = job.slab_rows > 0 ? 1 : threads_worth(job.multiply_adds);
  const bool share = job.rows < threads && worth_sharing(job.largest_product);
  if (!share) threads = static_cast<int>(std::min<Index>(threads, job.rows));
  const Index slab_rows = rows_per_slab(job, share ? 1 : threads);
  const Index slabs = (job.rows + slab_rows - 1) / slab_rows;
  if (!share) threads = static_cast<int>(std::min<Index>(threads, slabs));
  Tasks tasks(slabs);
  if (share) threads = std::min(threads, Team::kMost);
  Team team(share ? threads : 1);
  run_workers(threads, job.interruption, [&](int worker) {
    if (share && worker > 0) return team.serve(worker);
    struct Dismiss {
      Team& team;
      ~Dismiss() { team.dismiss(); }
    } dismiss{team};
    Borrowed arena(job.arenas, job.kernels);
    Worker self(job, *arena, share ? &team : nullptr, tasks, slab_rows);
    work(self);
    (*arena).check();
  });
}

}  // namespace epsball

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

Index up(Index count, Index each) { return (count + each - 1) / each; }

constexpr Index kMostBytes = 32 << 20;  // of a slab, as long as one block is no larger

// What suits the caches: a quarter of L2 holds the slab, so that weights on their way through do not push it out.
Index most_rows(const Job& job) {
  const Index bytes = std::max<Index>(job.floats_per_row, 1) * static_cast<Index>(sizeof(float));
  const Index least = std::clamp(kMostBytes / bytes / job.block * job.block, job.block, job.tile);
  return std::clamp(l2_bytes() / 4 / bytes / job.tile * job.tile, least, 16 * job.tile);
}

// What the call, or the setting, wants all slabs to have; on a device all rows, as long as they fit into its memory.
Index fixed_rows(const Job& job) {
  if (job.slab_rows > 0) return std::min(job.slab_rows, job.rows);
  if (const int forced = requested_slab_rows()) return forced;
  return job.kernels.device ? job.rows : 0;
}

}  // namespace

Job job_on(const Target& target, ArenaPool& arenas, Interruption& interruption, Index rows, Index floats_per_row,
           double passes) {
  return {.kernels = target.kernels(),
          .arenas = arenas,
          .interruption = interruption,
          .rows = rows,
          .floats_per_row = floats_per_row,
          .multiply_adds = passes * static_cast<double>(rows) * static_cast<double>(target.multiply_adds()),
          .largest_product = target.largest_product(),
          .tile = target.slab_tile(),
          .slab_rows = target.slab_rows(),
          .block = target.block()};
}

Cut::Cut(Index rows, Index slab_rows)
    : rows_(rows), block_(slab_rows), blocks_(up(rows, slab_rows)), runs_(blocks_), most_(slab_rows) {}

// A whole number of slabs per thread. Blocks that do not go round are no use: then rows are shared out.
Cut::Cut(const Job& job, int threads) : Cut(job.rows, std::max<Index>(fixed_rows(job), 1)) {
  if (fixed_rows(job) > 0) return;
  const Index rest = job.rows % job.block;
  const bool whole = 2 * rest > job.block;  // the last block is worth computing
  if (job.rows / job.block + whole >= threads) {
    block_ = job.block;
    blocks_ = job.rows / block_ + whole;
    if (!whole && rest > 0) {
      apart_ = up(rest, threads);
      alone_ = up(rest, apart_);
    }
  }
  runs_ = std::min(blocks_, up(blocks_ * block_, most_rows(job) * threads) * threads);
  most_ = std::max(std::min(up(blocks_, runs_) * block_, rows_), apart_);
}

// The longer runs come first: whoever is through with one early takes a shorter one.
void Cut::slab(Index number, Index& first, Index& rows) const {
  const auto begin = [&](Index i) {
    if (i > runs_) return blocks_ * block_ + (i - runs_) * apart_;
    return (i * (blocks_ / runs_) + std::min(i, blocks_ % runs_)) * block_;
  };
  first = begin(number);
  rows = std::min(begin(number + 1), rows_) - first;
}

bool Worker::next(Index& first, Index& rows) {
  interruption.check();
  const Index task = tasks_.next();
  if (task < 0) return false;
  cut_.slab(task, first, rows);
  return true;
}

namespace {

// One thread fills the queue. Where memory does not hold a slab of all rows, slabs of a quarter are tried.
void for_slabs_on_device(const Job& job, const std::function<void(Worker&)>& work) {
  Borrowed arena(job.arenas, job.kernels);
  const auto run = [&](Index slab_rows) {
    const Cut cut(job.rows, slab_rows);
    Tasks tasks(cut.slabs());
    Worker self(job, *arena, nullptr, tasks, cut);
    work(self);
    (*arena).check();
  };
  const Index most = fixed_rows(job);
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
  const Cut cut(job, share ? 1 : threads);
  if (!share) threads = static_cast<int>(std::min<Index>(threads, cut.slabs()));
  Tasks tasks(cut.slabs());
  if (share) threads = std::min(threads, Team::kMost);
  Team team(share ? threads : 1);
  run_workers(threads, job.interruption, [&](int worker) {
    if (share && worker > 0) return team.serve(worker);
    struct Dismiss {
      Team& team;
      ~Dismiss() { team.dismiss(); }
    } dismiss{team};
    Borrowed arena(job.arenas, job.kernels);
    Worker self(job, *arena, share ? &team : nullptr, tasks, cut);
    work(self);
    (*arena).check();
  });
}

}  // namespace epsball

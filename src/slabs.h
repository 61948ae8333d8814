// Cuts a call's rows into slabs and runs them on the threads there are.
#pragma once

#include <functional>

#include "slab.h"
#include "target.h"

namespace epsball {

// What one call asks of the executor.
struct Job {
  const Kernels& kernels;
  ArenaPool& arenas;
  Interruption& interruption;
  Index rows = 0;
  Index floats_per_row = 0;   // working set of one row in a slab
  double multiply_adds = 0;   // of the whole call: decides whether threads are worth it
  Index largest_product = 0;  // multiply-adds of the largest layer: decides whether threads share a single row
  Index tile = 1;             // rows: slabs are multiples of it where they can be
  Index slab_rows = 0;        // fixed, and then the calling thread runs them all; 0: what suits caches and threads
  Index block = 1;            // rows that cost the same together, however few of them there are
};

// A call on `rows` rows that takes `passes` forward passes of each.
Job job_on(const Target& target, ArenaPool& arenas, Interruption& interruption, Index rows, Index floats_per_row,
           double passes);

// The slabs of a call: runs of blocks, as equal as they can be, then the few rows that no block is worth, shared out
// among the threads.
class Cut {
 public:
  Cut(Index rows, Index slab_rows);
  Cut(const Job& job, int threads);

  Index slabs() const { return runs_ + alone_; }
  Index most() const { return most_; }  // rows of the largest
  void slab(Index number, Index& first, Index& rows) const;

 private:
  Index rows_, block_;
  Index blocks_, runs_;          // blocks in all, and the slabs that they are cut into
  Index alone_ = 0, apart_ = 0;  // slabs of the few rows left over, and rows of each
  Index most_;
};

// One worker's view: its slabs, one after another.
class Worker {
 public:
  Worker(const Job& job, Arena& arena, Team* team, Tasks& tasks, const Cut& cut)
      : context{job.kernels, arena.stream(), team},
        arena(arena),
        interruption(job.interruption),
        slab_rows(cut.most()),
        tasks_(tasks),
        cut_(cut) {}

  const Context context;
  Arena& arena;
  Interruption& interruption;
  const Index slab_rows;  // the most rows a slab of this call has

  // The next slab as rows [first, first + rows); false when none is left.
  bool next(Index& first, Index& rows);

 private:
  Tasks& tasks_;
  const Cut& cut_;
};

// Calls work once per worker; it takes its buffers from the arena, then loops over next().
void for_slabs(const Job& job, const std::function<void(Worker&)>& work);

}  // namespace epsball

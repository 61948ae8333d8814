// What APGD decides per row: its best point, and at checkpoints whether to go back there with a smaller step.
#pragma once

#include "array.h"
#include "lane.h"

namespace epsball {

// Everything is (rows).
struct ApgdRows {
  const float* loss = nullptr;  // at the current iterate
  bool descend = false;
  bool first = false;      // iterate 0 of a run
  std::int32_t steps = 0;  // at a checkpoint: since the last one; 0: no checkpoint
  float features = 0.0f;
  const float* eps = nullptr;        // radius of the ball
  const float* changed = nullptr;    // L1, at a checkpoint: features of the best point that differ from x0
  float* best = nullptr;             // loss of the best point, higher being better
  float* last = nullptr;             // loss at the iterate before
  float* checked = nullptr;          // L-infinity, L2: `best` at the last checkpoint; L1: `changed` there
  float* size = nullptr;             // of the step
  float* top = nullptr;              // L1: features that share a step
  std::int32_t* rises = nullptr;     // iterates since the last checkpoint whose loss was above that before
  std::uint8_t* halved = nullptr;    // the last checkpoint halved the step
  std::uint8_t* improved = nullptr;  // this iterate is the run's best
  std::uint8_t* back = nullptr;      // go back to the best point
};

namespace EPSBALL_ISA {

// L-infinity and L2: halves the step where the loss rose at 75 % of the steps or fewer, or where neither step nor best
// loss changed since the last checkpoint; at the first checkpoint the second rule is not asked.
EPSBALL_HD void apgd_checkpoint(const ApgdRows& a, Index row) {
  const bool few = 4 * a.rises[row] <= 3 * a.steps;
  const bool stuck = !a.halved[row] && !(a.best[row] > a.checked[row]);
  a.back[row] = few || stuck;
  if (a.back[row]) a.size[row] *= 0.5f;
  a.halved[row] = a.back[row];
  a.checked[row] = a.best[row];
}

// L1: the steps get as sparse as the best point is; once its sparsity has settled they get shorter.
EPSBALL_HD void apgd_sparse_checkpoint(const ApgdRows& a, Index row) {
  const float changed = a.changed[row], eps = a.eps[row], shorter = a.size[row] / 1.5f;
  const bool sparser = changed < 0.95f * a.checked[row];
  a.back[row] = sparser;
  a.size[row] = sparser ? eps : shorter > 0.1f * eps ? shorter : 0.1f * eps;
  a.top[row] = changed > 1.5f ? changed / 1.5f : 1.0f;
  a.checked[row] = changed;
}

EPSBALL_HD void apgd_row(const ApgdRows& a, Index row) {
  const float loss = a.descend ? -a.loss[row] : a.loss[row];
  if (a.first) {
    a.rises[row] = 0;
    a.halved[row] = 1;
    a.checked[row] = a.top ? a.features : loss;
    a.size[row] = a.top ? a.eps[row] : 2.0f * a.eps[row];
    if (a.top) a.top[row] = 0.2f * a.features;
  } else {
    a.rises[row] += loss > a.last[row];
  }
  a.improved[row] = a.first || loss > a.best[row];
  if (a.improved[row]) a.best[row] = loss;
  a.last[row] = loss;
  a.back[row] = 0;
  if (a.steps == 0) return;
  if (a.top)
    apgd_sparse_checkpoint(a, row);
  else
    apgd_checkpoint(a, row);
  a.rises[row] = 0;
}

}  // namespace EPSBALL_ISA
}  // namespace epsball

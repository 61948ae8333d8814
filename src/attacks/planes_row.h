// Rival classes of a row, and which of their boundaries, as planes, is the nearest: DeepFool's and FAB's view of a
// model.
#pragma once

#include "array.h"
#include "lane.h"

namespace epsball {

// The `count` classes from rank `first` on of those that are not the label, in order of their logits, highest first,
// the first of equals; the one other class of a logistic model.
struct RankRivals {
  Index classes = 0, count = 0;
  const float* logits = nullptr;
  Index ld = 0;
  const std::int32_t* labels = nullptr;  // (rows)
  std::int32_t* rivals = nullptr;        // (rows, count)
  Index first = 0;
};

// dlogits of the rival's logit minus the label's; of the label's alone; or, without rivals, of the sum of all others.
struct LogitPair {
  Index classes = 0;
  const std::int32_t* labels = nullptr;  // (rows)
  const std::int32_t* rivals = nullptr;  // (rows) with stride rivals_ld, or null
  Index rivals_ld = 1;
  bool label_only = false;
  float* dlogits = nullptr;
  Index ld = 0;
};

// f = the rival's logit minus the label's has the slope ||df/dx|| in the dual norm: the plane is |f| / slope away.
struct NearestPlane {
  Index classes = 0;
  const float* logits = nullptr;
  Index ld = 0;
  const std::int32_t* labels = nullptr;  // (rows)
  const std::int32_t* rivals = nullptr;  // (rows) with stride rivals_ld
  Index rivals_ld = 1;
  const float* slope = nullptr;    // (rows)
  bool first = false;              // of the planes of this point
  float beyond = 0.0f;             // added to every distance
  float* away = nullptr;           // (rows) distance of the nearest plane so far
  float* value = nullptr;          // (rows) its f
  std::uint8_t* moving = nullptr;  // (rows) set to 1 where the slope is not 0
  std::uint8_t* nearer = nullptr;  // (rows) this plane is the nearest so far
};

namespace EPSBALL_ISA {

EPSBALL_HD void decide(const RankRivals& a, Index row) {
  const float* z = a.logits + row * a.ld;
  std::int32_t* rivals = a.rivals + row * a.count;
  const std::int32_t label = a.labels[row];
  if (a.classes == 1) {
    rivals[0] = 1 - label;
    return;
  }
  std::int32_t last = -1;
  for (Index rank = 0; rank < a.first + a.count; ++rank) {
    std::int32_t best = -1;
    for (std::int32_t j = 0; j < a.classes; ++j) {
      const bool taken = last >= 0 && (z[j] > z[last] || (z[j] == z[last] && j <= last));
      if (j != label && !taken && (best < 0 || z[j] > z[best])) best = j;
    }
    last = best;
    if (rank >= a.first) rivals[rank - a.first] = best;
  }
}

EPSBALL_HD void decide(const LogitPair& a, Index row) {
  float* d = a.dlogits + row * a.ld;
  const std::int32_t label = a.labels[row];
  if (a.classes == 1) {  // the logits are (0, z)
    const bool up = a.label_only == (label == 1);
    d[0] = up ? 1.0f : -1.0f;
    return;
  }
  const float others = a.rivals || a.label_only ? 0.0f : 1.0f;
  for (Index j = 0; j < a.classes; ++j) d[j] = others;
  if (a.rivals) {
    d[a.rivals[row * a.rivals_ld]] = 1.0f;
    d[label] = -1.0f;
  } else {
    d[label] = a.label_only ? 1.0f : 0.0f;
  }
}

EPSBALL_HD void decide(const NearestPlane& a, Index row) {
  const float* z = a.logits + row * a.ld;
  const std::int32_t label = a.labels[row];
  const float f = a.classes == 1 ? (label == 1 ? -z[0] : z[0]) : z[a.rivals[row * a.rivals_ld]] - z[label];
  const float away = a.slope[row] > 0.0f ? (f < 0.0f ? -f : f) / a.slope[row] + a.beyond : __builtin_inff();
  const bool nearer = a.first || away < a.away[row];
  a.nearer[row] = nearer;
  a.moving[row] |= a.slope[row] > 0.0f;
  if (!nearer) return;
  a.away[row] = away;
  a.value[row] = f;
}

}  // namespace EPSBALL_ISA
}  // namespace epsball

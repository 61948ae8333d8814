// Steps of L-BFGS within the box.
#include "attacks/lbfgs_row.h"
#include "table.h"

namespace epsball::EPSBALL_ISA {
namespace {

struct LaneOps {
  Index features;

  struct Place {
    Index i, n;
    EPSBALL_INLINE Vec load(const float* p) const { return EPSBALL_ISA::load(p + i, n); }
    EPSBALL_INLINE void store(float* p, Vec v) const { EPSBALL_ISA::store(p + i, v, n); }
  };
  template <class F>
  EPSBALL_INLINE void each(F f) const {
    for_lanes(features, [&](Index i, Index n) { f(Place{i, n}); });
  }
  template <class F>
  EPSBALL_INLINE double sum(F f) const {
    DVec total = {};
    for_lanes(features, [&](Index i, Index n) { total = total + to_double(f(Place{i, n})); });
    return EPSBALL_ISA::sum(total);
  }
  EPSBALL_INLINE bool leads() const { return true; }
};

void lbfgs(Stream, Index rows, const LbfgsRows& a) {
  const LaneOps ops{a.features};
  for (Index r = 0; r < rows; ++r) lbfgs_row(a, ops, r);
}

}  // namespace

void add_lbfgs(Kernels& k) { k.lbfgs = lbfgs; }

}  // namespace epsball::EPSBALL_ISA

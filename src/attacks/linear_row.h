// The exact worst case of a linear model within a norm ball and a box, in float64, one row at a time.
#pragma once

#include "array.h"
#include "formulas.h"

namespace epsball {

struct LinearCase {
  Norm norm = Norm::linf;
  Index rows = 0, features = 0, classes = 0;
  const float* x0 = nullptr;
  const float* lo = nullptr;  // box per row and feature, infinite where there is none
  const float* hi = nullptr;
  Index ld = 0;
  const float* weight = nullptr;  // (classes, features)
  const float* bias = nullptr;    // (classes) or null
  const std::int32_t* labels = nullptr;
  const double* eps = nullptr;  // (rows)
  float* x = nullptr;           // (rows, features) with stride ld: the worst point
  double* margin = nullptr;     // (rows): sup over the ball of (best other logit - label's logit); > 0: breakable
};

namespace EPSBALL_ISA {

// maximise sum c_i d_i over ||d|| <= eps and lo_i <= x0_i + d_i <= hi_i, where c = w_rival - w_label.
struct LinearRow {
  Norm norm;
  Index features;
  const float* x0;
  const float* lo;
  const float* hi;
  const float* rival;  // null: zeros (the logistic model's other class)
  const float* label;
  double eps;

  EPSBALL_HD double c(Index i) const {
    return (rival ? static_cast<double>(rival[i]) : 0.0) - (label ? static_cast<double>(label[i]) : 0.0);
  }
  EPSBALL_HD double room(Index i, double ci) const {
    const double from = x0[i], to = ci > 0.0 ? static_cast<double>(hi[i]) - from : from - static_cast<double>(lo[i]);
    return ci == 0.0 ? 0.0 : to;
  }
  EPSBALL_HD double most(double v, double limit) const { return v < limit ? v : limit; }

  // Length of feature i's move under the multiplier t: L2 moves t |c|, L1 fills where |c| > t, both up to the room.
  EPSBALL_HD double length(Index i, double t) const {
    const double ci = c(i), a = ci < 0.0 ? -ci : ci;
    if (norm == Norm::linf) return most(eps, room(i, ci));
    if (norm == Norm::l2) return most(t * a, room(i, ci));
    return a > t ? room(i, ci) : 0.0;
  }

  // Norm of the move (squared for L2) under t.
  EPSBALL_HD double size(double t) const {
    double s = 0.0;
    for (Index i = 0; i < features; ++i) {
      const double v = length(i, t);
      s += norm == Norm::l2 ? v * v : v;
    }
    return s;
  }

  // The multiplier at which the budget is spent, by bisection over the bits of a double.
  EPSBALL_HD double multiplier() const {
    if (norm == Norm::linf) return 0.0;
    const double budget = norm == Norm::l2 ? eps * eps : eps;
    std::int64_t fits, bursts;
    if (norm == Norm::l2) {  // the size grows with t
      fits = 0;
      bursts = __builtin_bit_cast(std::int64_t, 1e300);
      if (size(1e300) <= budget) return 1e300;
    } else {  // the size falls with t
      bursts = -1;
      fits = __builtin_bit_cast(std::int64_t, 1e300);
    }
    while ((fits > bursts ? fits - bursts : bursts - fits) > 1) {
      const std::int64_t middle = fits + (bursts - fits) / 2;
      (size(__builtin_bit_cast(double, middle)) <= budget ? fits : bursts) = middle;
    }
    return __builtin_bit_cast(double, fits);
  }

  // Calls move(i, d) for every feature and returns sum c_i d_i.
  template <class Move>
  EPSBALL_HD double worst(Move move) const {
    const double t = multiplier();
    // L1: features whose |c| equals the threshold share what is left, the first one first.
    double left = norm == Norm::l1 ? eps - size(t) : 0.0, gain = 0.0;
    for (Index i = 0; i < features; ++i) {
      const double ci = c(i), a = ci < 0.0 ? -ci : ci;
      double v = length(i, t);
      if (norm == Norm::l1 && a == t && a > 0.0) {
        v = most(left, room(i, ci));
        left -= v;
      }
      gain += a * v;
      move(i, ci < 0.0 ? -v : v);
    }
    return gain;
  }
};

// The row's label against one rival; a logistic model has one rival, the other sign.
EPSBALL_HD LinearRow rival_row(const LinearCase& a, Index row, Index rival) {
  const Index at = row * a.ld, label = a.labels[row];
  LinearRow r{a.norm, a.features, a.x0 + at, a.lo + at, a.hi + at, nullptr, nullptr, a.eps[row]};
  if (a.classes > 1) {
    r.rival = a.weight + rival * a.features;
    r.label = a.weight + label * a.features;
  } else {
    (label == 1 ? r.label : r.rival) = a.weight;
  }
  return r;
}

}  // namespace EPSBALL_ISA
}  // namespace epsball

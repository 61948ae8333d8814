// Sums of gradients whose sizes lie further apart than floats reach: each vector is what is stored times exp(a number).
#pragma once

#include "formulas.h"
#include "kernels.h"

namespace epsball {

// sum * exp(log_sum) + term * exp(log_term - loss) is keep * sum + add * term, times the exp of the new log_sum.
struct MixRows {
  const float* log_term = nullptr;  // (rows)
  const float* loss = nullptr;      // (rows), null: 0. exp(-loss) is the likelihood that weighs a term
  float* log_sum = nullptr;         // (rows)
  bool first = false;               // there is no sum yet
  float* keep = nullptr;            // (rows)
  float* add = nullptr;             // (rows)
};

namespace EPSBALL_ISA {

EPSBALL_HD void mix_row(const MixRows& a, Index row) {
  const float term = a.log_term[row] - (a.loss ? a.loss[row] : 0.0f);
  const float sum = a.first ? term : a.log_sum[row];
  const float top = term > sum ? term : sum;
  a.keep[row] = a.first ? 0.0f : exp(sum - top);
  a.add[row] = exp(term - top);
  a.log_sum[row] = top;
}

}  // namespace EPSBALL_ISA
}  // namespace epsball

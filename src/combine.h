// A sum of rows as Kernels::combine wants it.
#pragma once

#include <initializer_list>

#include "kernels.h"

namespace epsball {

// out = the sum of terms, not clipped; all are (rows, features).
inline CombineRows sum_of(std::initializer_list<Term> terms, Index rows, Index features, Rows out) {
  CombineRows sum;
  sum.rows = rows;
  sum.features = features;
  for (const Term& term : terms) sum.terms[sum.count++] = term;
  sum.out = out.data;
  sum.ld = out.ld;
  return sum;
}

}  // namespace epsball

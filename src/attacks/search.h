// What Carlini and Wagner's attacks and EAD share: every row's search for the constant that weighs success against
// distance.
#pragma once

#include "attacks/attack.h"
#include "attacks/search_row.h"

namespace epsball {

struct SearchSettings : AttackSettings {
  int steps = 1000;  // of a search
  int searches = 9;
  float constant = 1e-3f;  // of the first
  float rate = 0.01f;
  float beta = 0.0f;  // weight of the L1 distance
  bool abort_early = true;
};

class SearchAttack : public SlabAttack {
 public:
  static Index iterates(const SearchSettings& s) { return 1 + static_cast<Index>(s.searches) * (s.steps + 1); }

 protected:
  SearchAttack(const Target& target, const SearchSettings& settings, Worker& worker);

  // Every row before its first search, x having been judged.
  void begin_searches();
  // What the point evaluated last, and tracked, means for a row's search; `distance` is the objective's.
  SearchRows searched(const float* distance) const;

  const SearchSettings s_;
  Rows gradient_;
  float *constant_, *lower_, *upper_, *before_, *push_, *power1_, *power2_;
  std::int32_t *step_, *search_;
  std::uint8_t *found_, *restart_;
};

}  // namespace epsball

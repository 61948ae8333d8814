// What attacks that learn nothing but labels share: questions that are counted, a first adversarial point, the cut of
// the segment between it and the input.
#pragma once

#include <limits>

#include "attacks/attack.h"
#include "attacks/decision_row.h"

namespace epsball {

struct DecisionSettings : AttackSettings {
  std::int64_t queries = std::numeric_limits<std::int64_t>::max();  // the most that a row may cost
  int starts = 100;                                                 // random points tried, if none are given
};

// On a device their calls are given one by one, not replayed: how many samples a step has, and which points it asks
// about, changes from step to step.
class DecisionAttack : public SlabAttack {
 public:
  static Index floats_per_row(const Target& target) {
    return SlabAttack::floats_per_row(target) + 6 * padded(target.features());
  }

 protected:
  DecisionAttack(const Target& target, const DecisionSettings& settings, Worker& worker);

  // Asks `blocks` questions for every active row that waits (null: all of them) and has queries left; those of block b
  // begin at row b * active_ of `points`, and their answers at adversarial_ and unasked_. False if none was asked.
  bool ask(Rows points, Index blocks, const std::uint8_t* waiting);
  Index blocks_at_once() const { return k_.device ? 1 : capacity_ / active_; }
  // Judges x0 and looks for a point_ of every row that is not solved.
  void begin();
  // Takes point_ to the boundary, along the segment to x0; before_ is how far it lay from x0.
  void bisect(int cuts);
  // Makes point_ a row's result if it is the nearest so far.
  void note_nearest(Index column);
  // The same; then rows leave that are solved, failed or out of queries.
  void keep_nearest(Index column);

  // out = the sum of up to four terms, without limits.
  void add(std::initializer_list<Term> terms, Rows out) const;
  void copy_where(Rows from, Rows to, const std::uint8_t* keep) const;
  void zero(Rows rows) const;
  void norms(Rows x, const float* y, float* out) const;
  // A Gaussian direction for every active row, and its length over the features that can move.
  void draw_direction();

  const Index capacity_;  // of points asked about at once
  Rows point_;            // an adversarial point
  Rows noise_;
  float *before_, *length_;
  std::uint8_t *unasked_, *adversarial_;
  std::uint32_t draws_ = 0;
  std::uint32_t* draw_;  // the one that a direction is drawn by

 private:
  void judge_inputs();
  Rows gathered(Rows points, Index count, Index asked);

  const DecisionSettings s_;
  const std::unique_ptr<Pass> wide_;  // null where the attack's own pass is wide enough
  Rows sent_, near_;
  float *low_, *high_, *middle_, *rest_, *radius_of_cut_, *sent_loss_;
  std::int32_t *number_, *sent_predicted_, *no_label_;
  std::uint8_t* waiting_;
  std::vector<std::int32_t> numbers_;  // 0, 1, 2, ...
};

}  // namespace epsball

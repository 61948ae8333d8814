// The loop behind FGSM, R+FGSM, BIM, least-likely-class and PGD: start, step, keep the best point, leave when solved.
#pragma once

#include "attacks/track_best.h"
#include "slabs.h"
#include "target.h"

namespace epsball {

struct PgdSettings {
  Norm norm = Norm::linf;
  Loss loss = Loss::cross_entropy;
  bool descend = false;   // minimise the loss (towards a target) instead of maximising it
  bool targeted = false;  // a row succeeds when it is predicted as its judge label, not when it is not
  int steps = 40;
  int restarts = 1;
  bool random_start = true;
  Start start = Start::ball;
  bool keep_best = true;  // false: the last iterate is the result (single-step methods)
  bool judge = true;      // evaluate the result; false saves a single-step method's second forward pass
  bool early_stop = false;
  bool judge_again = false;  // as the last thing the stored points are judged in one batch: there are models that round
                             // a row's logits otherwise when rows have left
  std::uint64_t seed = 0;
};

// All per row of x. The float values are rounded so that they stay inside the exact ones.
struct PgdInputs {
  Array x;
  const std::int32_t* labels = nullptr;  // of the loss, or null and then
  const float* targets = nullptr;        // (rows, classes)
  const std::int32_t* judge = nullptr;   // labels that decide success
  const double* eps = nullptr;
  const float* radius = nullptr;        // eps as the largest float within
  const float* start_radius = nullptr;  // of the random start: eps, or R+FGSM's alpha
  const float* step_size = nullptr;
  const float* box_lo = nullptr;  // (features), infinite without a box
  const float* box_hi = nullptr;
  const double* exact_lo = nullptr;  // (features), null without a box
  const double* exact_hi = nullptr;
  const std::uint8_t* mask = nullptr;  // 1 where the attacker may change a feature; null: everywhere
  Index mask_ld = 0;                   // 0: one mask for all rows
  const Index* ids = nullptr;          // what keys each row's random numbers
};

// All per row of x; queries start at 0, a trace at NaN.
struct PgdOutputs {
  Array x_adv;
  std::uint8_t* success = nullptr;
  double* distance = nullptr;  // may be null
  std::int64_t* queries = nullptr;
  float* loss = nullptr;
  std::uint8_t* zero_gradient = nullptr;
  std::uint8_t* broken = nullptr;  // a logit was not finite
  float* trace = nullptr;          // (rows, restarts * (steps + 1)) or null
};

// One worker's attack: its buffers are cut once, then slab follows slab.
class PgdSlab {
 public:
  PgdSlab(const Target& target, const PgdSettings& settings, Worker& worker);

  // Attacks rows [first, first + rows) of `in` and writes the same rows of `out`.
  void run(const PgdInputs& in, const PgdOutputs& out, Index first, Index rows);

  // The slab's working set per row, in floats.
  static Index floats_per_row(const Target& target);

 private:
  void load(Index rows);
  void begin(int restart);
  void iterate(int restart);
  void evaluate(bool gradient);
  TrackBest tracked() const;
  void track(int restart, int step);
  void keep_improved();
  void move();
  void judge_stored(Index rows);

  const Kernels& k_;
  const PgdSettings s_;
  Worker& worker_;
  const std::unique_ptr<Pass> pass_;
  const Index features_, classes_;

  const PgdInputs* in_ = nullptr;
  const PgdOutputs* out_ = nullptr;
  Index first_ = 0;   // the slab's first row in in_ and out_
  Index active_ = 0;  // rows still in the slab; they stand at the front of every buffer

  Rows x_, x0_, lo_, hi_, best_, gradient_, targets_;
  std::int32_t *labels_, *judge_, *slot_, *predicted_;
  float *loss_, *radius_, *start_radius_, *step_size_;
  Index* ids_;
  std::uint8_t *improved_, *done_, *moving_;
  std::vector<std::int32_t> counting_;  // 0, 1, 2, ...
  std::vector<RowBuffer> leaving_;      // what moves up when rows leave
};

// Attacks every row of `in`.
void pgd(const Target& target, ArenaPool& arenas, const PgdSettings& settings, const PgdInputs& in,
         const PgdOutputs& out, Interruption& interruption);

}  // namespace epsball
